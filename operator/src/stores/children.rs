//! The metadata of the objects that we made, as the watches and our own writes show them. Whatever is newer stays: an answer
//! to a write is known before its watch event, and the event that comes late changes nothing.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ManagedFieldsEntry, ObjectMeta};

use crate::child::{ChildKind, ChildRef, Seen};
use crate::wake::{OwnerKind, Wake};

/// Labels by which children are looked up.
const INDEXED: [&str; 3] = [crds::REALM_LABEL, crds::TENANT_LABEL, crds::DEMO_LABEL];

/// An object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Its metadata.
    pub seen: Arc<Seen>,
    /// Its controller, when that is one of ours.
    pub controller: Option<(OwnerKind, String)>,
    /// Which entry of its managedFields is that of our POST, and by which manager. Server-side apply takes fields away only
    /// from an entry of its own kind, so that this one has to be renamed first.
    pub posted: Option<(usize, String)>,
}

impl Entry {
    /// From an object's metadata.
    #[must_use]
    pub fn of(meta: &ObjectMeta) -> Self {
        let controller = meta.owner_references.iter().flatten().find(|reference| reference.controller == Some(true));
        let seen = Seen {
            uid: meta.uid.clone().unwrap_or_default(),
            resource_version: meta.resource_version.clone().unwrap_or_default(),
            generation: meta.generation,
            controller: controller.map(|reference| reference.uid.clone()),
            labels: meta.labels.clone().unwrap_or_default(),
            annotations: meta.annotations.clone().unwrap_or_default(),
            deleting: meta.deletion_timestamp.is_some(),
        };
        let ours = controller.and_then(|reference| {
            let group = reference.api_version.split('/').next();
            Some((OwnerKind::named(&reference.kind).filter(|_| group == Some(crds::GROUP))?, reference.name.clone()))
        });
        let fields = meta.managed_fields.as_deref().unwrap_or_default();
        Self { seen: Arc::new(seen), controller: ours, posted: posted(fields) }
    }

    /// Whose work it is when this object changes: its controller's, or that of all whom its labels name.
    #[must_use]
    pub fn wakes(&self, namespace: &str) -> Vec<Wake> {
        if let Some((kind, name)) = &self.controller {
            return vec![Wake::new(*kind, namespace, name)];
        }
        let named = [
            (OwnerKind::Realm, crds::REALM_LABEL),
            (OwnerKind::Tenant, crds::TENANT_LABEL),
            (OwnerKind::DemoEnvironment, crds::DEMO_LABEL),
        ];
        let wake = |(kind, label): (OwnerKind, &str)| Some(Wake::new(kind, namespace, self.seen.labels.get(label)?));
        named.into_iter().filter_map(wake).collect()
    }
}

fn posted(fields: &[ManagedFieldsEntry]) -> Option<(usize, String)> {
    fields.iter().enumerate().find_map(|(at, entry)| {
        let manager = entry.manager.as_deref().filter(|manager| OwnerKind::by_manager(manager).is_some())?;
        let posted = entry.operation.as_deref() == Some("Update") && entry.subresource.is_none();
        posted.then(|| (at, manager.to_owned()))
    })
}

/// Which of two versions of an object is the newer one. They are numbers that count up; what is none is taken as new.
#[must_use]
pub fn is_newer(new: &str, old: &str) -> bool {
    match (new.parse::<u64>(), old.parse::<u64>()) {
        (Ok(new), Ok(old)) => new > old,
        _ => new != old,
    }
}

type LabelKey = (ChildKind, String, &'static str, String);

/// The table.
#[derive(Debug, Default)]
pub struct Children {
    entries: BTreeMap<ChildRef, Entry>,
    by_label: HashMap<LabelKey, BTreeSet<String>>,
}

impl Children {
    /// One object.
    #[must_use]
    pub fn get(&self, at: &ChildRef) -> Option<&Entry> {
        self.entries.get(at)
    }

    /// All of a kind in a namespace with a label.
    #[must_use]
    pub fn of(&self, kind: ChildKind, namespace: &str, (label, value): (&str, &str)) -> Vec<(ChildRef, Seen)> {
        let found = |at: ChildRef, entry: &Entry| (at, Seen::clone(&entry.seen));
        if let Some(indexed) = INDEXED.iter().find(|known| **known == label) {
            let names = self.by_label.get(&(kind, namespace.to_owned(), *indexed, value.to_owned()));
            let refs = names.into_iter().flatten().map(|name| ChildRef::new(kind, namespace, name.as_str()));
            return refs.filter_map(|at| Some(found(at.clone(), self.entries.get(&at)?))).collect();
        }
        let from = ChildRef::new(kind, namespace, "");
        self.entries
            .range(from..)
            .take_while(|(at, _)| at.kind == kind && at.namespace == namespace)
            .filter(|(_, entry)| entry.seen.labels.get(label).map(String::as_str) == Some(value))
            .map(|(at, entry)| found(at.clone(), entry))
            .collect()
    }

    /// An object as it is, or was. Whether that was news.
    pub fn put(&mut self, at: &ChildRef, entry: Entry) -> bool {
        if self.entries.get(at).is_some_and(|old| !is_newer(&entry.seen.resource_version, &old.seen.resource_version)) {
            return false;
        }
        self.take(at);
        for (label, value) in indexed(&entry.seen) {
            let key = (at.kind, at.namespace.clone(), label, value);
            self.by_label.entry(key).or_default().insert(at.name.clone());
        }
        self.entries.insert(at.clone(), entry);
        true
    }

    /// The object with this UID is gone. The answer is what it was.
    pub fn remove(&mut self, at: &ChildRef, uid: &str) -> Option<Entry> {
        // Another one with its name has been made meanwhile.
        if self.entries.get(at).is_some_and(|entry| entry.seen.uid != uid) {
            return None;
        }
        self.take(at)
    }

    /// These are all objects of a kind (in a namespace). The answer is those that changed or are gone.
    pub fn replace(
        &mut self,
        kind: ChildKind,
        namespace: Option<&str>,
        listed: Vec<(ChildRef, Entry)>,
    ) -> Vec<(ChildRef, Entry)> {
        let there: BTreeSet<&ChildRef> = listed.iter().map(|(at, _)| at).collect();
        let from = ChildRef::new(kind, namespace.unwrap_or_default(), "");
        let within = |at: &ChildRef| at.kind == kind && namespace.is_none_or(|namespace| at.namespace == namespace);
        let gone: Vec<ChildRef> = self
            .entries
            .range(from..)
            .map(|(at, _)| at)
            .take_while(|at| within(at))
            .filter(|at| !there.contains(at))
            .cloned()
            .collect();
        let mut changed: Vec<_> = gone.into_iter().filter_map(|at| Some((at.clone(), self.take(&at)?))).collect();
        for (at, entry) in listed {
            if self.put(&at, entry.clone()) {
                changed.push((at, entry));
            }
        }
        changed
    }

    fn take(&mut self, at: &ChildRef) -> Option<Entry> {
        let entry = self.entries.remove(at)?;
        for (label, value) in indexed(&entry.seen) {
            let key = (at.kind, at.namespace.clone(), label, value);
            if let Some(names) = self.by_label.get_mut(&key) {
                names.remove(&at.name);
                if names.is_empty() {
                    self.by_label.remove(&key);
                }
            }
        }
        Some(entry)
    }
}

fn indexed(seen: &Seen) -> impl Iterator<Item = (&'static str, String)> {
    INDEXED.into_iter().filter_map(|label| Some((label, seen.labels.get(label)?.clone())))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(name: &str) -> ChildRef {
        ChildRef::new(ChildKind::Secret, "ns", name)
    }

    fn entry(uid: &str, version: &str, realm: &str) -> Entry {
        let labels = BTreeMap::from([(crds::REALM_LABEL.to_owned(), realm.to_owned())]);
        let seen = Seen { uid: uid.into(), resource_version: version.into(), labels, ..Seen::default() };
        Entry { seen: Arc::new(seen), controller: None, posted: None }
    }

    fn names(children: &Children, realm: &str) -> Vec<String> {
        children.of(ChildKind::Secret, "ns", (crds::REALM_LABEL, realm)).into_iter().map(|(at, _)| at.name).collect()
    }

    #[test]
    fn the_newer_one_stays_whatever_comes_last() {
        let mut children = Children::default();
        assert!(children.put(&at("a"), entry("1", "10", "r")), "our own write");
        assert!(!children.put(&at("a"), entry("1", "9", "old")), "an event from before it");
        assert!(!children.put(&at("a"), entry("1", "10", "r")), "its own event");
        assert_eq!(names(&children, "r"), ["a"]);
        assert!(children.put(&at("a"), entry("1", "11", "s")));
        assert_eq!((names(&children, "r").len(), names(&children, "s").len()), (0, 1), "the index follows");
        assert!(children.remove(&at("a"), "0").is_none(), "its predecessor is gone, not it");
        assert!(children.remove(&at("a"), "1").is_some() && names(&children, "s").is_empty());
        assert!(children.by_label.is_empty(), "nothing stays behind");
    }

    /// A watch that broke may have missed ends: the list that follows shows them.
    #[test]
    fn a_list_shows_what_went_while_nobody_looked() {
        let mut children = Children::default();
        for name in ["a", "b", "c"] {
            children.put(&at(name), entry(name, "10", "r"));
        }
        let other = ChildRef::new(ChildKind::Secret, "other", "x");
        children.put(&other, entry("x", "10", "r"));
        let map = ChildRef::new(ChildKind::ConfigMap, "ns", "m");
        children.put(&map, entry("m", "10", "r"));
        let list = vec![(at("a"), entry("a", "10", "r")), (at("b"), entry("b", "12", "r"))];
        let changed: Vec<String> =
            children.replace(ChildKind::Secret, Some("ns"), list).into_iter().map(|(at, _)| at.name).collect();
        assert_eq!(changed, ["c", "b"]);
        assert!(children.get(&other).is_some() && children.get(&map).is_some());
        assert_eq!(children.replace(ChildKind::Secret, None, Vec::new()).len(), 3);
    }

    #[test]
    fn a_post_of_ours_is_found_in_the_managed_fields() {
        let entry = |manager: &str, operation: &str, subresource: Option<&str>| ManagedFieldsEntry {
            manager: Some(manager.to_owned()),
            operation: Some(operation.to_owned()),
            subresource: subresource.map(str::to_owned),
            ..ManagedFieldsEntry::default()
        };
        let fields =
            [entry("kube-controller-manager", "Update", Some("status")), entry("keyrealm-realm", "Update", None)];
        assert_eq!(posted(&fields), Some((1, "keyrealm-realm".to_owned())));
        let fields = [entry("keyrealm-realm", "Apply", None), entry("kubectl", "Update", None)];
        assert_eq!(posted(&fields), None);
    }

    #[test]
    fn a_childs_event_reaches_its_owner_by_reference_or_by_label() {
        let mut one = entry("1", "1", "r");
        assert_eq!(one.wakes("ns"), [Wake::new(OwnerKind::Realm, "ns", "r")]);
        one.controller = Some((OwnerKind::Tenant, "t".to_owned()));
        assert_eq!(
            one.wakes("ns"),
            [Wake::new(OwnerKind::Tenant, "ns", "t")],
            "the reference alone, when there is one"
        );
    }
}
