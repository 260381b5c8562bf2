//! The watches: each is a task with its own backoff, so that one that is refused slows no other. A list that follows a break
//! shows what went meanwhile.

use std::collections::HashSet;
use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use k8s_openapi::api::apps::v1::{Deployment, StatefulSet};
use k8s_openapi::api::core::v1::Namespace;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use keyrealm_base::SharedClock;
use keyrealm_http::Tasks;
use kube::api::{Api, ApiResource, PartialObjectMeta};
use kube::core::{DeserializeGuard, DynamicObject, GroupVersionKind};
use kube::runtime::WatchStreamExt;
use kube::runtime::watcher::{Config, Event, watcher};
use kube::{Client, Resource};
use serde::de::DeserializeOwned;

use crate::child::{ChildKind, ChildRef, Seen};
use crate::metrics::Metrics;
use crate::stores::{Entry, Kind, Stores, WATCH_LABEL};

/// Load balancers of clouds cut idle connections after 240 s: the server ends the watch before that.
const TIMEOUT: u32 = 200;
/// The longest pause within a list.
const LIST: Duration = Duration::from_secs(90);
/// Children whose metadata is all that is looked at.
const METADATA: [ChildKind; 6] = [
    ChildKind::Secret,
    ChildKind::ConfigMap,
    ChildKind::Service,
    ChildKind::ServiceAccount,
    ChildKind::PodDisruptionBudget,
    ChildKind::NetworkPolicy,
];

/// Watches that there are once for each namespace, or once for all.
const SCOPED: [&str; 12] = [
    "Realm",
    "Tenant",
    "DemoEnvironment",
    "Secret",
    "ConfigMap",
    "Service",
    "ServiceAccount",
    "PodDisruptionBudget",
    "NetworkPolicy",
    "Deployment",
    "StatefulSet",
    "Secret of others",
];
const NAMESPACE: &str = "Namespace";

/// What a watch needs.
#[derive(Clone)]
pub struct Watches {
    /// The API server.
    pub client: Client,
    /// What is filled.
    pub stores: Stores,
    /// Figures.
    pub metrics: Metrics,
    /// For the figures.
    pub clock: SharedClock,
}

fn name_of(watch: &str, namespace: Option<&str>) -> String {
    namespace.map_or_else(|| watch.to_owned(), |namespace| format!("{watch} in {namespace}"))
}

fn scopes(namespaces: &[String]) -> Vec<Option<String>> {
    if namespaces.is_empty() { vec![None] } else { namespaces.iter().cloned().map(Some).collect() }
}

/// The names of all watches for these namespaces (all, when there are none): what the stores wait for.
#[must_use]
pub fn names(namespaces: &[String]) -> Vec<String> {
    let scopes = scopes(namespaces);
    let scoped = scopes.iter().flat_map(|scope| SCOPED.iter().map(|watch| name_of(watch, scope.as_deref())));
    // Labels of namespaces are looked at only by who may look at all of them.
    scoped.chain(namespaces.is_empty().then(|| NAMESPACE.to_owned())).collect()
}

impl Watches {
    /// Starts them all.
    pub fn start(&self, namespaces: &[String], tasks: &mut Tasks) {
        for scope in scopes(namespaces) {
            let namespace = scope.as_deref();
            self.spawn(tasks, "Realm", namespace, "", self.api::<DeserializeGuard<crds::Realm>>(namespace), Own);
            self.spawn(tasks, "Tenant", namespace, "", self.api::<DeserializeGuard<crds::Tenant>>(namespace), Own);
            let demos = self.api::<DeserializeGuard<crds::DemoEnvironment>>(namespace);
            self.spawn(tasks, "DemoEnvironment", namespace, "", demos, Own);
            let ours = format!("{}={}", crds::MANAGED_BY, crds::OPERATOR);
            for kind in METADATA {
                self.spawn(tasks, kind.api().1, namespace, &ours, self.metadata(kind, namespace), Made(kind));
            }
            self.spawn(tasks, "Deployment", namespace, &ours, self.api::<Deployment>(namespace), Workloads::new());
            self.spawn(tasks, "StatefulSet", namespace, &ours, self.api::<StatefulSet>(namespace), Workloads::new());
            let others = format!("{WATCH_LABEL}=true,{}!={}", crds::MANAGED_BY, crds::OPERATOR);
            let secrets = self.metadata(ChildKind::Secret, namespace);
            self.spawn(tasks, "Secret of others", namespace, &others, secrets, Others);
        }
        if namespaces.is_empty() {
            let api = Api::<PartialObjectMeta<Namespace>>::all(self.client.clone());
            self.spawn(tasks, NAMESPACE, None, "", api, Namespaces);
        }
    }

    fn api<K>(&self, namespace: Option<&str>) -> Api<K>
    where
        K: Resource<DynamicType = (), Scope = k8s_openapi::NamespaceResourceScope>,
    {
        match namespace {
            Some(namespace) => Api::namespaced(self.client.clone(), namespace),
            None => Api::all(self.client.clone()),
        }
    }

    fn metadata(&self, kind: ChildKind, namespace: Option<&str>) -> Api<PartialObjectMeta<DynamicObject>> {
        let (api_version, kind, plural) = kind.api();
        let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
        let resource = ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk(group, version, kind), plural);
        match namespace {
            Some(namespace) => Api::namespaced_with(self.client.clone(), namespace, &resource),
            None => Api::all_with(self.client.clone(), &resource),
        }
    }

    fn spawn<K, S>(
        &self,
        tasks: &mut Tasks,
        kind: &'static str,
        namespace: Option<&str>,
        labels: &str,
        api: Api<K>,
        sink: S,
    ) where
        K: Resource + Clone + DeserializeOwned + Debug + Send + 'static,
        K::DynamicType: Send + Sync,
        S: Sink<K>,
    {
        let config = Config::default().timeout(TIMEOUT);
        let config = if labels.is_empty() { config } else { config.labels(labels) };
        let watch = Watch { all: self.clone(), kind, namespace: namespace.map(str::to_owned) };
        tasks.spawn(kind, watch.follow(api, config, sink));
    }
}

/// One watch.
struct Watch {
    all: Watches,
    kind: &'static str,
    namespace: Option<String>,
}

impl Watch {
    async fn follow<K, S>(self, api: Api<K>, config: Config, sink: S)
    where
        K: Resource + Clone + DeserializeOwned + Debug + Send + 'static,
        S: Sink<K>,
    {
        let (name, stores) = (name_of(self.kind, self.namespace.as_deref()), &self.all.stores);
        let open = || Box::pin(watcher(api.clone(), config.clone()).default_backoff());
        let (mut events, mut listing, mut broken) = (open(), None, false);
        loop {
            // A list that stops half-way says nothing more by itself.
            let event = if listing.is_some() {
                tokio::time::timeout(LIST, events.next()).await
            } else {
                // A watch has a limit of its own, and nothing to say of an unchanged cluster.
                Ok(events.next().await)
            };
            let Ok(event) = event else {
                tracing::warn!(watch = %name, seconds = LIST.as_secs(), "a list stopped half-way; it is asked for again");
                self.all.metrics.watch_error(self.kind);
                (events, listing) = (open(), None);
                continue;
            };
            let event = match event {
                Some(Ok(event)) => event,
                // It has no end but that of the task.
                None => return,
                Some(Err(error)) => {
                    self.all.metrics.watch_error(self.kind);
                    if broken {
                        tracing::debug!(watch = %name, %error, "the watch is still broken");
                    } else {
                        tracing::warn!(watch = %name, %error, "the watch broke; it is opened again");
                    }
                    broken = true;
                    continue;
                }
            };
            match event {
                Event::Init => listing = Some(Vec::new()),
                Event::InitApply(object) => listing.get_or_insert_default().extend(sink.read(object)),
                Event::InitDone => {
                    sink.replace(stores, self.namespace.as_deref(), listing.take().unwrap_or_default());
                    stores.listed(&name);
                }
                Event::Apply(object) => {
                    if let Some(item) = sink.read(object) {
                        sink.put(stores, item);
                    }
                }
                Event::Delete(object) => {
                    if let Some(item) = sink.read(object) {
                        sink.remove(stores, item);
                    }
                }
            }
            if std::mem::take(&mut broken) {
                tracing::info!(watch = %name, "the watch is back");
            }
            self.all.metrics.watch_ok(self.kind, self.all.clock.now().seconds());
        }
    }
}

/// Where the objects of a watch go.
trait Sink<K>: Send + Sync + 'static {
    /// What is kept of one.
    type Item: Send;
    fn read(&self, object: K) -> Option<Self::Item>;
    fn put(&self, stores: &Stores, item: Self::Item);
    fn remove(&self, stores: &Stores, item: Self::Item);
    fn replace(&self, stores: &Stores, namespace: Option<&str>, items: Vec<Self::Item>);
}

fn key(meta: &ObjectMeta) -> (String, String) {
    (meta.namespace.clone().unwrap_or_default(), meta.name.clone().unwrap_or_default())
}

/// What people write. An object that cannot be read (an older operator let it pass) stops no other one.
struct Own;

impl<K: Kind> Sink<DeserializeGuard<K>> for Own {
    type Item = K;

    fn read(&self, object: DeserializeGuard<K>) -> Option<K> {
        match object.0 {
            Ok(object) => Some(object),
            Err(invalid) => {
                let (namespace, name) = key(&invalid.metadata);
                let kind = K::KIND.name();
                tracing::error!(kind, namespace, name, error = %invalid.error, "this object cannot be read and is left alone");
                None
            }
        }
    }

    fn put(&self, stores: &Stores, item: K) {
        stores.put(item, false);
    }

    fn remove(&self, stores: &Stores, item: K) {
        stores.remove(item);
    }

    fn replace(&self, stores: &Stores, namespace: Option<&str>, items: Vec<K>) {
        stores.replace(namespace, items);
    }
}

/// What we made.
struct Made(ChildKind);

impl Sink<PartialObjectMeta<DynamicObject>> for Made {
    type Item = (ChildRef, Entry);

    fn read(&self, object: PartialObjectMeta<DynamicObject>) -> Option<Self::Item> {
        let (namespace, name) = key(&object.metadata);
        Some((ChildRef::new(self.0, &namespace, name), Entry::of(&object.metadata)))
    }

    fn put(&self, stores: &Stores, (at, entry): Self::Item) {
        stores.put_child(&at, entry);
    }

    fn remove(&self, stores: &Stores, (at, entry): Self::Item) {
        stores.remove_child(&at, &entry.seen.uid);
    }

    fn replace(&self, stores: &Stores, namespace: Option<&str>, items: Vec<Self::Item>) {
        stores.replace_children(self.0, namespace, items);
    }
}

/// What runs pods: whole, but for what we asked for ourselves.
struct Workloads<K>(std::marker::PhantomData<fn() -> K>);

impl<K> Workloads<K> {
    fn new() -> Self {
        Self(std::marker::PhantomData)
    }
}

/// Deployment and StatefulSet.
trait Workload: Resource<DynamicType = ()> + 'static {
    const KIND: ChildKind;
    fn prune(&mut self);
    fn store(stores: &Stores, key: (String, String), object: Option<Self>)
    where
        Self: Sized;
}

impl Workload for Deployment {
    const KIND: ChildKind = ChildKind::Deployment;

    fn prune(&mut self) {
        if let Some(spec) = &mut self.spec {
            spec.template.spec = None;
        }
    }

    fn store(stores: &Stores, key: (String, String), object: Option<Self>) {
        stores.put_deployment(key, object);
    }
}

impl Workload for StatefulSet {
    const KIND: ChildKind = ChildKind::StatefulSet;

    fn prune(&mut self) {
        if let Some(spec) = &mut self.spec {
            spec.template.spec = None;
            spec.volume_claim_templates = None;
        }
    }

    fn store(stores: &Stores, key: (String, String), object: Option<Self>) {
        stores.put_stateful_set(key, object);
    }
}

impl<K: Workload + Send> Sink<K> for Workloads<K> {
    type Item = (ChildRef, Entry, K);

    fn read(&self, mut object: K) -> Option<Self::Item> {
        let (namespace, name) = key(object.meta());
        let entry = Entry::of(object.meta());
        object.meta_mut().managed_fields = None;
        object.prune();
        Some((ChildRef::new(K::KIND, &namespace, name), entry, object))
    }

    fn put(&self, stores: &Stores, (at, entry, object): Self::Item) {
        K::store(stores, (at.namespace.clone(), at.name.clone()), Some(object));
        stores.put_child(&at, entry);
    }

    fn remove(&self, stores: &Stores, (at, entry, _): Self::Item) {
        K::store(stores, (at.namespace.clone(), at.name.clone()), None);
        stores.remove_child(&at, &entry.seen.uid);
    }

    fn replace(&self, stores: &Stores, namespace: Option<&str>, items: Vec<Self::Item>) {
        let mut gone: HashSet<_> = stores.full_keys(K::KIND, namespace).into_iter().collect();
        let mut entries = Vec::new();
        for (at, entry, object) in items {
            let key = (at.namespace.clone(), at.name.clone());
            gone.remove(&key);
            K::store(stores, key, Some(object));
            entries.push((at, entry));
        }
        gone.into_iter().for_each(|key| K::store(stores, key, None));
        stores.replace_children(K::KIND, namespace, entries);
    }
}

/// Secrets of others that are referenced, and say that they want to be looked at.
struct Others;

impl Sink<PartialObjectMeta<DynamicObject>> for Others {
    type Item = ((String, String), Arc<Seen>);

    fn read(&self, object: PartialObjectMeta<DynamicObject>) -> Option<Self::Item> {
        Some((key(&object.metadata), Entry::of(&object.metadata).seen))
    }

    fn put(&self, stores: &Stores, (key, seen): Self::Item) {
        stores.put_watched(key, Some(seen));
    }

    fn remove(&self, stores: &Stores, (key, _): Self::Item) {
        stores.put_watched(key, None);
    }

    fn replace(&self, stores: &Stores, namespace: Option<&str>, items: Vec<Self::Item>) {
        let mut gone: HashSet<_> = stores.watched(namespace).into_iter().collect();
        for (key, seen) in items {
            gone.remove(&key);
            stores.put_watched(key, Some(seen));
        }
        gone.into_iter().for_each(|key| stores.put_watched(key, None));
    }
}

struct Namespaces;

impl Sink<PartialObjectMeta<Namespace>> for Namespaces {
    type Item = (String, std::collections::BTreeMap<String, String>);

    fn read(&self, object: PartialObjectMeta<Namespace>) -> Option<Self::Item> {
        Some((object.metadata.name?, object.metadata.labels.unwrap_or_default()))
    }

    fn put(&self, stores: &Stores, (name, labels): Self::Item) {
        stores.put_namespace(&name, Some(labels));
    }

    fn remove(&self, stores: &Stores, (name, _): Self::Item) {
        stores.put_namespace(&name, None);
    }

    fn replace(&self, stores: &Stores, _: Option<&str>, items: Vec<Self::Item>) {
        let mut gone: HashSet<String> = stores.namespaces().into_iter().collect();
        for (name, labels) in items {
            gone.remove(&name);
            stores.put_namespace(&name, Some(labels));
        }
        gone.iter().for_each(|name| stores.put_namespace(name, None));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_namespace_has_its_own_watches_and_no_look_at_namespaces() {
        assert_eq!(names(&[]).len(), SCOPED.len() + 1);
        let two = names(&["a".to_owned(), "b".to_owned()]);
        assert_eq!(two.len(), 2 * SCOPED.len());
        assert!(two.contains(&"Secret in b".to_owned()) && !two.iter().any(|name| name == NAMESPACE));
    }
}
