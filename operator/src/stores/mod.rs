//! What is known of the cluster: filled by the watches and by our own writes, read by every pass. Whatever changes wakes those
//! whom it concerns.

mod children;
mod feed;
mod kind;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex, RwLock};

use crds::{DemoEnvironment, Realm, Tenant};
use k8s_openapi::api::apps::v1::{Deployment, StatefulSet};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::runtime::reflector::store::Store;
use tokio::sync::watch;

pub use children::{Children, Entry, is_newer};
pub use feed::{Changed, Feed};
pub use kind::{Facet, Kind, realm_of, wakes};

use crate::applied::AppliedMemory;
use crate::child::{ChildKind, ChildRef, Seen};
use crate::wake::{OwnerKind, Queues, Wake};

/// The label by which people say that a Secret of theirs is looked at when it changes.
pub const WATCH_LABEL: &str = "keyrealm.dev/watch";

/// All stores.
#[derive(Clone)]
pub struct Stores(Arc<Inner>);

struct Inner {
    realms: Feed<Realm>,
    tenants: Feed<Tenant>,
    demo_environments: Feed<DemoEnvironment>,
    children: RwLock<Children>,
    deployments: RwLock<HashMap<(String, String), Arc<Deployment>>>,
    stateful_sets: RwLock<HashMap<(String, String), Arc<StatefulSet>>>,
    namespaces: RwLock<BTreeMap<String, BTreeMap<String, String>>>,
    /// Secrets of others with [`WATCH_LABEL`]: their resourceVersions.
    watched: RwLock<HashMap<(String, String), Arc<Seen>>>,
    queues: Queues,
    applied: AppliedMemory,
    /// Watches that have not given their first list.
    missing: Mutex<BTreeSet<String>>,
    ready: watch::Sender<bool>,
}

impl Stores {
    /// Empty ones, for watches of these names; what changes goes into these queues.
    #[must_use]
    pub fn new(watches: impl IntoIterator<Item = String>, queues: Queues, applied: AppliedMemory) -> Self {
        let missing: BTreeSet<String> = watches.into_iter().collect();
        Self(Arc::new(Inner {
            realms: Feed::default(),
            tenants: Feed::default(),
            demo_environments: Feed::default(),
            children: RwLock::default(),
            deployments: RwLock::default(),
            stateful_sets: RwLock::default(),
            namespaces: RwLock::default(),
            watched: RwLock::default(),
            queues,
            applied,
            missing: Mutex::new(missing),
            ready: watch::Sender::new(false),
        }))
    }

    /// Realms.
    #[must_use]
    pub fn realms(&self) -> &Store<Realm> {
        self.0.realms.store()
    }

    /// Tenants.
    #[must_use]
    pub fn tenants(&self) -> &Store<Tenant> {
        self.0.tenants.store()
    }

    /// DemoEnvironments.
    #[must_use]
    pub fn demo_environments(&self) -> &Store<DemoEnvironment> {
        self.0.demo_environments.store()
    }

    /// An object that we made. What we wrote ourselves is seen at once, not when the watch tells of it.
    #[must_use]
    pub fn seen(&self, at: &ChildRef) -> Option<Seen> {
        self.entry(at).map(|entry| Seen::clone(&entry.seen))
    }

    pub(crate) fn entry(&self, at: &ChildRef) -> Option<Entry> {
        self.0.children.read().ok()?.get(at).cloned()
    }

    /// All objects that we made, of a kind, in a namespace, with a label.
    #[must_use]
    pub fn children_of(&self, kind: ChildKind, namespace: &str, label: (&str, &str)) -> Vec<(ChildRef, Seen)> {
        self.0.children.read().map(|children| children.of(kind, namespace, label)).unwrap_or_default()
    }

    /// A Deployment of ours, as the watch showed it last: compare `status.observedGeneration` with [`Stores::seen`]'s
    /// generation, which may be ahead.
    #[must_use]
    pub fn deployment(&self, namespace: &str, name: &str) -> Option<Arc<Deployment>> {
        self.0.deployments.read().ok()?.get(&(namespace.to_owned(), name.to_owned())).cloned()
    }

    /// A StatefulSet of ours, as [`Stores::deployment`].
    #[must_use]
    pub fn stateful_set(&self, namespace: &str, name: &str) -> Option<Arc<StatefulSet>> {
        self.0.stateful_sets.read().ok()?.get(&(namespace.to_owned(), name.to_owned())).cloned()
    }

    /// The labels of a namespace; none when only some namespaces are looked at.
    #[must_use]
    pub fn namespace_labels(&self, name: &str) -> Option<BTreeMap<String, String>> {
        self.0.namespaces.read().ok()?.get(name).cloned()
    }

    /// A Secret of others that carries [`WATCH_LABEL`].
    #[must_use]
    pub fn watched_secret(&self, namespace: &str, name: &str) -> Option<Arc<Seen>> {
        self.0.watched.read().ok()?.get(&(namespace.to_owned(), name.to_owned())).cloned()
    }

    /// Waits until every watch gave its first list.
    pub async fn wait_until_ready(&self) {
        let mut ready = self.0.ready.subscribe();
        // It fails only when the sender is gone, and that lives in here.
        let _ = ready.wait_for(|ready| *ready).await;
    }

    /// The watches that have not given their first list.
    #[must_use]
    pub fn missing(&self) -> Vec<String> {
        self.0.missing.lock().map(|missing| missing.iter().cloned().collect()).unwrap_or_default()
    }

    /// This watch gave its first list.
    pub(crate) fn listed(&self, watch: &str) {
        let Ok(mut missing) = self.0.missing.lock() else { return };
        if missing.remove(watch) && missing.is_empty() {
            self.0.realms.ready();
            self.0.tenants.ready();
            self.0.demo_environments.ready();
            self.0.ready.send_replace(true);
        }
    }

    pub(crate) fn realm_feed(&self) -> &Feed<Realm> {
        &self.0.realms
    }

    pub(crate) fn tenant_feed(&self) -> &Feed<Tenant> {
        &self.0.tenants
    }

    pub(crate) fn demo_feed(&self) -> &Feed<DemoEnvironment> {
        &self.0.demo_environments
    }

    /// Everything that there is of a kind is looked at.
    pub fn wake_all(&self, kind: OwnerKind) {
        fn wakes<K: Kind>(stores: &Stores) -> Vec<Wake> {
            use kube::ResourceExt as _;
            let objects = K::feed(stores).store().state();
            objects
                .iter()
                .map(|one| Wake::new(K::KIND, &one.namespace().unwrap_or_default(), &one.name_any()))
                .collect()
        }
        self.0.queues.wake(match kind {
            OwnerKind::Realm => wakes::<Realm>(self),
            OwnerKind::Tenant => wakes::<Tenant>(self),
            OwnerKind::DemoEnvironment => wakes::<DemoEnvironment>(self),
        });
    }

    /// How many objects of a kind wait for a pass.
    #[must_use]
    pub fn queues_depth(&self, kind: OwnerKind) -> usize {
        self.0.queues.of(kind).depth()
    }

    pub(crate) fn queues(&self) -> &Queues {
        &self.0.queues
    }

    /// The answer to a write of ours.
    pub(crate) fn wrote_child(&self, at: &ChildRef, meta: &ObjectMeta) -> Entry {
        let entry = Entry::of(meta);
        if let Ok(mut children) = self.0.children.write() {
            children.put(at, entry.clone());
        }
        entry
    }

    /// A write of ours found that an object is not there, or that it is not ours.
    pub(crate) fn forget_child(&self, at: &ChildRef, uid: &str) {
        if let Ok(mut children) = self.0.children.write() {
            children.remove(at, uid);
        }
        self.0.applied.forget(at);
    }

    /// The answer to a write of ours to an object of people's.
    pub(crate) fn wrote<K: Kind>(&self, object: K) {
        self.put(object, true);
    }

    /// An object of people's, as a watch shows it.
    pub(crate) fn put<K: Kind>(&self, mut object: K, own: bool) {
        let entry = Entry::of(object.meta());
        if K::feed(self).is_gone(&entry.seen.uid) {
            return;
        }
        object.meta_mut().managed_fields = None;
        self.put_as_child(K::KIND, &entry, object.meta());
        if let Some(changed) = K::feed(self).put(object) {
            self.0.queues.wake(wakes(self, &changed, own));
        }
    }

    /// An object of people's is gone.
    pub(crate) fn remove<K: Kind>(&self, object: K) {
        let (uid, at) = (object.meta().uid.clone().unwrap_or_default(), child_ref(K::KIND, object.meta()));
        if let Some(at) = at {
            self.forget_child(&at, &uid);
        }
        if let Some(changed) = K::feed(self).remove(object) {
            self.0.queues.wake(wakes(self, &changed, false));
        }
    }

    /// All objects of people's of a kind (in a namespace).
    pub(crate) fn replace<K: Kind>(&self, namespace: Option<&str>, mut listed: Vec<K>) {
        let mut entries = Vec::new();
        for object in &mut listed {
            let entry = Entry::of(object.meta());
            object.meta_mut().managed_fields = None;
            entries.extend(child_ref(K::KIND, object.meta()).filter(|_| is_made(&entry.seen)).map(|at| (at, entry)));
        }
        if let (Some(kind), Ok(mut children)) = (child_kind(K::KIND), self.0.children.write()) {
            for (at, _) in children.replace(kind, namespace, entries) {
                if children.get(&at).is_none() {
                    self.0.applied.forget(&at);
                }
            }
        }
        for changed in K::feed(self).replace(namespace, listed) {
            self.0.queues.wake(wakes(self, &changed, false));
        }
    }

    fn put_as_child(&self, kind: OwnerKind, entry: &Entry, meta: &ObjectMeta) {
        if let (Some(at), true) = (child_ref(kind, meta), is_made(&entry.seen))
            && let Ok(mut children) = self.0.children.write()
        {
            children.put(&at, entry.clone());
        }
    }

    /// A child, as a watch shows it.
    pub(crate) fn put_child(&self, at: &ChildRef, entry: Entry) {
        let wakes = entry.wakes(&at.namespace);
        if self.0.children.write().is_ok_and(|mut children| children.put(at, entry)) {
            self.0.queues.wake(wakes);
        }
    }

    /// A child is gone.
    pub(crate) fn remove_child(&self, at: &ChildRef, uid: &str) {
        let gone = self.0.children.write().ok().and_then(|mut children| children.remove(at, uid));
        self.0.applied.forget(at);
        if let Some(entry) = gone {
            self.0.queues.wake(entry.wakes(&at.namespace));
        }
    }

    /// All children of a kind (in a namespace).
    pub(crate) fn replace_children(&self, kind: ChildKind, namespace: Option<&str>, listed: Vec<(ChildRef, Entry)>) {
        let Ok(mut children) = self.0.children.write() else { return };
        let changed = children.replace(kind, namespace, listed);
        let gone: Vec<bool> = changed.iter().map(|(at, _)| children.get(at).is_none()).collect();
        drop(children);
        for ((at, entry), gone) in changed.into_iter().zip(gone) {
            if gone {
                self.0.applied.forget(&at);
            }
            self.0.queues.wake(entry.wakes(&at.namespace));
        }
    }

    pub(crate) fn put_deployment(&self, key: (String, String), deployment: Option<Deployment>) {
        put_full(&self.0.deployments, key, deployment);
    }

    pub(crate) fn put_stateful_set(&self, key: (String, String), set: Option<StatefulSet>) {
        put_full(&self.0.stateful_sets, key, set);
    }

    /// A namespace; Tenants in it may have become allowed, or not allowed any more.
    pub(crate) fn put_namespace(&self, name: &str, labels: Option<BTreeMap<String, String>>) {
        let Ok(mut namespaces) = self.0.namespaces.write() else { return };
        if namespaces.get(name) == labels.as_ref() {
            return;
        }
        match labels {
            Some(labels) => drop(namespaces.insert(name.to_owned(), labels)),
            None => drop(namespaces.remove(name)),
        }
        drop(namespaces);
        use kube::ResourceExt as _;
        let there = self.tenants().state_filter(|tenant| tenant.namespace().as_deref() == Some(name));
        self.0.queues.wake(there.iter().map(|tenant| Wake::new(OwnerKind::Tenant, name, &tenant.name_any())));
    }

    pub(crate) fn namespaces(&self) -> Vec<String> {
        self.0.namespaces.read().map(|namespaces| namespaces.keys().cloned().collect()).unwrap_or_default()
    }

    /// A Secret of others with [`WATCH_LABEL`]: whoever in its namespace may use it looks.
    pub(crate) fn put_watched(&self, key: (String, String), seen: Option<Arc<Seen>>) {
        let Ok(mut watched) = self.0.watched.write() else { return };
        let before = match &seen {
            Some(seen) => watched.insert(key.clone(), Arc::clone(seen)),
            None => watched.remove(&key),
        };
        drop(watched);
        if before.map(|before| before.resource_version.clone()) == seen.map(|seen| seen.resource_version.clone()) {
            return;
        }
        use kube::ResourceExt as _;
        let namespace = key.0;
        let there = |other: Option<String>| other.as_deref() == Some(namespace.as_str());
        let realms = self.realms().state_filter(|realm| there(realm.namespace()));
        let tenants = self.tenants().state_filter(|tenant| there(tenant.namespace()));
        self.0.queues.wake(realms.iter().map(|one| Wake::new(OwnerKind::Realm, &namespace, &one.name_any())));
        self.0.queues.wake(tenants.iter().map(|one| Wake::new(OwnerKind::Tenant, &namespace, &one.name_any())));
    }

    pub(crate) fn watched(&self, namespace: Option<&str>) -> Vec<(String, String)> {
        let within = |key: &&(String, String)| namespace.is_none_or(|namespace| key.0 == namespace);
        self.0.watched.read().map(|watched| watched.keys().filter(within).cloned().collect()).unwrap_or_default()
    }

    pub(crate) fn full_keys(&self, kind: ChildKind, namespace: Option<&str>) -> Vec<(String, String)> {
        let within = |key: &&(String, String)| namespace.is_none_or(|namespace| key.0 == namespace);
        match kind {
            ChildKind::Deployment => {
                self.0.deployments.read().map(|all| all.keys().filter(within).cloned().collect()).unwrap_or_default()
            }
            _ => {
                self.0.stateful_sets.read().map(|all| all.keys().filter(within).cloned().collect()).unwrap_or_default()
            }
        }
    }
}

fn put_full<K>(table: &RwLock<HashMap<(String, String), Arc<K>>>, key: (String, String), object: Option<K>) {
    let Ok(mut table) = table.write() else { return };
    match object {
        Some(object) => drop(table.insert(key, Arc::new(object))),
        None => drop(table.remove(&key)),
    }
}

fn is_made(seen: &Seen) -> bool {
    seen.labels.get(crds::MANAGED_BY).map(String::as_str) == Some(crds::OPERATOR)
}

fn child_kind(kind: OwnerKind) -> Option<ChildKind> {
    match kind {
        OwnerKind::Realm => Some(ChildKind::Realm),
        OwnerKind::Tenant => Some(ChildKind::Tenant),
        OwnerKind::DemoEnvironment => None,
    }
}

fn child_ref(kind: OwnerKind, meta: &ObjectMeta) -> Option<ChildRef> {
    let (namespace, name) = (meta.namespace.clone().unwrap_or_default(), meta.name.clone().unwrap_or_default());
    Some(ChildRef::new(child_kind(kind)?, &namespace, name))
}
