//! The store of one kind that people write, fed by one watch or by one for each namespace, and by our own writes.

use std::collections::{HashSet, VecDeque};
use std::sync::{Arc, Mutex};

use kube::ResourceExt;
use kube::runtime::reflector::ObjectRef;
use kube::runtime::reflector::store::{Store, Writer};
use kube::runtime::watcher::Event;

use super::children::is_newer;
use super::kind::Kind;

/// What became of an object: as it was, as it is.
#[derive(Debug, Clone)]
pub struct Changed<K> {
    /// As it was in the store.
    pub before: Option<Arc<K>>,
    /// As it is; none when it is gone.
    pub after: Option<Arc<K>>,
}

/// A store and its writer.
pub struct Feed<K: Kind> {
    store: Store<K>,
    writer: Mutex<Writer<K>>,
    /// UIDs of objects that a watch said are gone: the answer to our own last write may come after that.
    gone: Mutex<VecDeque<String>>,
}

/// As many as go while an answer is under way.
const GONE: usize = 1024;

impl<K: Kind> Default for Feed<K> {
    fn default() -> Self {
        let writer = Writer::default();
        Self { store: writer.as_reader(), writer: Mutex::new(writer), gone: Mutex::default() }
    }
}

impl<K: Kind> Feed<K> {
    /// The store.
    #[must_use]
    pub fn store(&self) -> &Store<K> {
        &self.store
    }

    /// An object as it is, or was: what is newer stays.
    pub fn put(&self, object: K) -> Option<Changed<K>> {
        if self.is_gone(&object.uid().unwrap_or_default()) {
            return None;
        }
        let mut writer = self.writer.lock().ok()?;
        let before = self.store.get(&ObjectRef::from_obj(&object));
        let version = |object: &K| object.resource_version().unwrap_or_default();
        if before.as_ref().is_some_and(|before| !is_newer(&version(&object), &version(before))) {
            return None;
        }
        let event = Event::Apply(object);
        writer.apply_watcher_event(&event);
        let Event::Apply(object) = event else { return None };
        Some(Changed { before, after: Some(Arc::new(object)) })
    }

    /// Whether a watch said that the object with this UID is gone.
    pub fn is_gone(&self, uid: &str) -> bool {
        self.gone.lock().is_ok_and(|gone| gone.iter().any(|one| one == uid))
    }

    /// An object is gone, and does not come back.
    pub fn remove(&self, object: K) -> Option<Changed<K>> {
        if let (Ok(mut gone), Some(uid)) = (self.gone.lock(), object.uid()) {
            gone.push_back(uid);
            if gone.len() > GONE {
                gone.pop_front();
            }
        }
        self.take_out(object)
    }

    fn take_out(&self, object: K) -> Option<Changed<K>> {
        let mut writer = self.writer.lock().ok()?;
        let before = self.store.get(&ObjectRef::from_obj(&object))?;
        // Another one with its name has been made meanwhile.
        if before.uid() != object.uid() {
            return None;
        }
        writer.apply_watcher_event(&Event::Delete(object));
        Some(Changed { before: Some(before), after: None })
    }

    /// These are all objects (of a namespace).
    pub fn replace(&self, namespace: Option<&str>, listed: Vec<K>) -> Vec<Changed<K>> {
        let there: HashSet<ObjectRef<K>> = listed.iter().map(ObjectRef::from_obj).collect();
        let within = |object: &K| namespace.is_none() || object.namespace().as_deref() == namespace;
        let gone = self.store.state_filter(|object| within(object) && !there.contains(&ObjectRef::from_obj(object)));
        let mut changed: Vec<Changed<K>> =
            gone.into_iter().filter_map(|object| self.take_out(K::clone(&object))).collect();
        changed.extend(listed.into_iter().filter_map(|object| self.put(object)));
        changed
    }

    /// Every list was read once: who waits for the store may begin.
    pub fn ready(&self) {
        let Ok(mut writer) = self.writer.lock() else { return };
        writer.apply_watcher_event(&Event::Init);
        for object in self.store.state() {
            writer.apply_watcher_event(&Event::InitApply(K::clone(&object)));
        }
        writer.apply_watcher_event(&Event::InitDone);
    }
}

#[cfg(test)]
mod tests {
    use crds::Tenant;
    use serde_json::json;

    use super::*;

    fn tenant(name: &str, uid: &str, version: &str) -> Tenant {
        serde_json::from_value(json!({
            "apiVersion": "keyrealm.dev/v1alpha1", "kind": "Tenant",
            "metadata": {"name": name, "namespace": "ns", "uid": uid, "resourceVersion": version},
            "spec": {"realmRef": {"name": "r"}, "slug": name, "displayName": name},
        }))
        .unwrap()
    }

    #[test]
    fn late_events_change_nothing_and_a_list_shows_what_went() {
        let feed = Feed::<Tenant>::default();
        assert!(feed.put(tenant("a", "1", "10")).is_some());
        assert!(feed.put(tenant("a", "1", "9")).is_none() && feed.put(tenant("a", "1", "10")).is_none());
        assert!(feed.remove(tenant("a", "0", "11")).is_none(), "its predecessor");
        let changed = feed.replace(Some("ns"), vec![tenant("b", "2", "12")]);
        assert_eq!(changed.len(), 2);
        assert!(changed[0].after.is_none() && changed[1].before.is_none());
        feed.ready();
        assert_eq!(feed.store().len(), 1);
        assert!(feed.replace(Some("other"), Vec::new()).is_empty(), "another namespace's list");
    }

    /// The write that takes the last finalizer off is answered after the watch has told of the end: a Tenant that came back
    /// so would hold its slug for ever.
    #[test]
    fn what_a_watch_said_is_gone_does_not_come_back() {
        let feed = Feed::<Tenant>::default();
        feed.put(tenant("a", "1", "10"));
        assert!(feed.remove(tenant("a", "1", "12")).is_some());
        assert!(feed.put(tenant("a", "1", "11")).is_none() && feed.is_gone("1"));
        assert!(feed.put(tenant("a", "2", "13")).is_some(), "another one of its name");
        // A list may be older than what we made since.
        feed.replace(None, Vec::new());
        assert!(feed.put(tenant("a", "2", "13")).is_some());
        for uid in 10..10 + 2 * GONE {
            feed.remove(tenant("b", &uid.to_string(), "14"));
        }
        assert!(feed.gone.lock().unwrap().len() == GONE);
    }
}
