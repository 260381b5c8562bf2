//! The three kinds that people write, as what they have in common.

use std::fmt::Debug;

use crds::{Condition, ConditionStatus, DemoEnvironment, READY, Realm, STALLED, Tenant};
use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::{Resource, ResourceExt};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::Stores;
use super::feed::{Changed, Feed};
use crate::wake::{OwnerKind, Wake};

/// Realm, Tenant, DemoEnvironment.
pub trait Kind:
    Resource<DynamicType = (), Scope = NamespaceResourceScope>
    + Clone
    + Debug
    + Serialize
    + DeserializeOwned
    + Send
    + Sync
    + Unpin
    + 'static
{
    /// Which one.
    const KIND: OwnerKind;
    /// Its store.
    fn feed(stores: &Stores) -> &Feed<Self>;
    /// Its conditions.
    fn conditions(&self) -> &[Condition];
    /// Its status.
    fn status(&self) -> Value;
    /// What others look at in it: while this stays, none of them has to be woken.
    fn facet(&self) -> Facet;
    /// Whom its change concerns, besides itself and its controller.
    fn concerns(stores: &Stores, changed: &Changed<Self>) -> Vec<Wake>;
}

/// What others look at in an object.
#[derive(Debug, PartialEq, Eq)]
pub struct Facet {
    uid: Option<String>,
    generation: Option<i64>,
    deleting: bool,
    annotations: Vec<(String, String)>,
    conditions: Vec<(String, ConditionStatus, String)>,
    more: Vec<Option<String>>,
}

fn facet(meta: &ObjectMeta, conditions: &[Condition], more: &[&Option<String>]) -> Facet {
    let told = conditions.iter().filter(|condition| [READY, STALLED].contains(&condition.kind.as_str()));
    Facet {
        uid: meta.uid.clone(),
        generation: meta.generation,
        deleting: meta.deletion_timestamp.is_some(),
        annotations: meta.annotations.clone().unwrap_or_default().into_iter().collect(),
        conditions: told.map(|one| (one.kind.clone(), one.status, one.reason.clone())).collect(),
        more: more.iter().map(|text| (*text).clone()).collect(),
    }
}

impl Kind for Realm {
    const KIND: OwnerKind = OwnerKind::Realm;

    fn feed(stores: &Stores) -> &Feed<Self> {
        stores.realm_feed()
    }

    fn conditions(&self) -> &[Condition] {
        self.status.as_ref().map_or(&[], |status| &status.conditions)
    }

    fn status(&self) -> Value {
        serde_json::to_value(&self.status).unwrap_or(Value::Null)
    }

    fn facet(&self) -> Facet {
        let status = self.status.clone().unwrap_or_default();
        let more = [&status.deployment_id, &status.issuer, &status.kms_url, &status.trust_bundle];
        facet(self.meta(), &status.conditions, &more)
    }

    /// Its Tenants.
    fn concerns(stores: &Stores, changed: &Changed<Self>) -> Vec<Wake> {
        let Some(realm) = changed.after.as_ref().or(changed.before.as_ref()) else { return Vec::new() };
        let (namespace, name) = (realm.namespace().unwrap_or_default(), realm.name_any());
        let tenants = stores.tenants().state_filter(|tenant| realm_of(tenant) == (namespace.clone(), name.clone()));
        let wake =
            |tenant: &Tenant| Wake::new(OwnerKind::Tenant, &tenant.namespace().unwrap_or_default(), &tenant.name_any());
        tenants.iter().map(|tenant| wake(tenant)).collect()
    }
}

/// Namespace and name of a Tenant's Realm.
#[must_use]
pub fn realm_of(tenant: &Tenant) -> (String, String) {
    let reference = &tenant.spec.realm_ref;
    let namespace = reference.namespace.clone().or_else(|| tenant.namespace()).unwrap_or_default();
    (namespace, reference.name.clone())
}

impl Kind for Tenant {
    const KIND: OwnerKind = OwnerKind::Tenant;

    fn feed(stores: &Stores) -> &Feed<Self> {
        stores.tenant_feed()
    }

    fn conditions(&self) -> &[Condition] {
        self.status.as_ref().map_or(&[], |status| &status.conditions)
    }

    fn status(&self) -> Value {
        serde_json::to_value(&self.status).unwrap_or(Value::Null)
    }

    fn facet(&self) -> Facet {
        let status = self.status.clone().unwrap_or_default();
        facet(self.meta(), &status.conditions, &[&status.tenant_id, &status.slug])
    }

    /// Its Realm, which counts them.
    fn concerns(_: &Stores, changed: &Changed<Self>) -> Vec<Wake> {
        let mut realms: Vec<_> =
            [&changed.before, &changed.after].into_iter().flatten().map(|one| realm_of(one)).collect();
        realms.dedup();
        realms.iter().map(|(namespace, name)| Wake::new(OwnerKind::Realm, namespace, name)).collect()
    }
}

impl Kind for DemoEnvironment {
    const KIND: OwnerKind = OwnerKind::DemoEnvironment;

    fn feed(stores: &Stores) -> &Feed<Self> {
        stores.demo_feed()
    }

    fn conditions(&self) -> &[Condition] {
        self.status.as_ref().map_or(&[], |status| &status.conditions)
    }

    fn status(&self) -> Value {
        serde_json::to_value(&self.status).unwrap_or(Value::Null)
    }

    fn facet(&self) -> Facet {
        facet(self.meta(), Kind::conditions(self), &[])
    }

    fn concerns(_: &Stores, _: &Changed<Self>) -> Vec<Wake> {
        Vec::new()
    }
}

/// Whom a change concerns. `own` is whether we wrote it: then nothing but a change of somebody else's in between concerns the
/// object itself.
#[must_use]
pub fn wakes<K: Kind>(stores: &Stores, changed: &Changed<K>, own: bool) -> Vec<Wake> {
    let Some(object) = changed.after.as_ref().or(changed.before.as_ref()) else { return Vec::new() };
    let namespace = object.namespace().unwrap_or_default();
    let generation = |object: &Option<std::sync::Arc<K>>| object.as_ref().and_then(|object| object.meta().generation);
    let mut wakes = Vec::new();
    if !own || generation(&changed.before) != generation(&changed.after) {
        wakes.push(Wake::new(K::KIND, &namespace, &object.name_any()));
    }
    let facet = |object: &Option<std::sync::Arc<K>>| object.as_ref().map(|object| object.facet());
    if facet(&changed.before) != facet(&changed.after) {
        wakes.extend(K::concerns(stores, changed));
        let controller = object.owner_references().iter().find(|reference| reference.controller == Some(true));
        wakes.extend(controller.and_then(|reference| {
            let ours = reference.api_version.split('/').next() == Some(crds::GROUP);
            Some(Wake::new(OwnerKind::named(&reference.kind).filter(|_| ours)?, &namespace, &reference.name))
        }));
    }
    wakes
}
