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
    let changes = facet(&changed.before) != facet(&changed.after);
    if changes {
        wakes.extend(K::concerns(stores, changed));
    }
    wakes.extend(controller(object.as_ref()).filter(|_| changes || said(&changed.before) != said(&changed.after)));
    wakes
}

/// What made an object, if that is one of ours.
fn controller<K: Kind>(object: &K) -> Option<Wake> {
    let reference = object.owner_references().iter().find(|reference| reference.controller == Some(true))?;
    let ours = reference.api_version.split('/').next() == Some(crds::GROUP);
    let kind = OwnerKind::named(&reference.kind).filter(|_| ours)?;
    Some(Wake::new(kind, &object.namespace().unwrap_or_default(), &reference.name))
}

/// What its controller hands on. Nobody else is woken for it: messages change often, and a Realm has many Tenants.
fn said<K: Kind>(object: &Option<std::sync::Arc<K>>) -> Option<(&str, i64)> {
    let ready = object.as_ref()?.conditions().iter().find(|condition| condition.kind == READY)?;
    Some((&ready.message, ready.observed_generation))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use serde_json::json;

    use super::*;
    use crate::applied::AppliedMemory;
    use crate::report::Report;
    use crate::wake::Queues;

    fn tenant(maker: Option<&str>, report: &Report, generation: i64) -> Arc<Tenant> {
        let conditions = report.conditions(generation, &[], "2026-01-01T00:00:00Z");
        let owners = maker.map(|kind| {
            json!([{"apiVersion": "keyrealm.dev/v1alpha1", "kind": kind, "name": "shop", "uid": "u", "controller": true}])
        });
        let tenant = json!({
            "apiVersion": "keyrealm.dev/v1alpha1", "kind": "Tenant",
            "metadata": {"name": "shop-1", "namespace": "team", "ownerReferences": owners},
            "spec": {"realmRef": {"name": "main"}}, "status": {"conditions": conditions},
        });
        Arc::new(serde_json::from_value(tenant).unwrap())
    }

    #[test]
    fn a_new_message_is_told_to_who_hands_it_on_and_to_nobody_else() {
        let stores = Stores::new([], Queues::default(), AppliedMemory::default());
        let woken = |maker, after: (&Report, i64)| {
            let before = tenant(maker, &Report::stalled("SecretMissing", "there is no Secret a"), 1);
            let changed = Changed { before: Some(before), after: Some(tenant(maker, after.0, after.1)) };
            wakes(&stores, &changed, true)
        };
        let demo = Wake::new(OwnerKind::DemoEnvironment, "team", "shop");
        let (same, other) = (
            Report::stalled("SecretMissing", "there is no Secret a"),
            Report::stalled("SecretMissing", "there is no Secret b"),
        );
        assert_eq!(woken(Some("DemoEnvironment"), (&other, 1)), std::slice::from_ref(&demo));
        assert_eq!(
            woken(Some("DemoEnvironment"), (&same, 2)),
            std::slice::from_ref(&demo),
            "it is of the newest generation now"
        );
        assert_eq!(woken(Some("DemoEnvironment"), (&same, 1)), []);
        assert_eq!(woken(None, (&other, 2)), [], "a thousand Tenants do not wake their Realm for that");
        assert_eq!(woken(Some("Pod"), (&other, 2)), []);
        let realm = Wake::new(OwnerKind::Realm, "team", "main");
        let reason = Report::stalled("EntriesFailed", "there is no Secret a");
        assert_eq!(woken(Some("DemoEnvironment"), (&reason, 1)), [realm.clone(), demo]);
        assert_eq!(woken(None, (&reason, 1)), [realm]);
    }
}
