//! What is there of a realm: from the watches, from the realm's database, and from Secrets whose content is not known yet.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use crds::{Realm, RealmDeletionPolicy, Tenant};
use k8s_openapi::api::core::v1::Secret;
use keyrealm_base::Timestamp;
use kube::ResourceExt;

use super::contents;
use super::error::Error;
use super::facts::{DatabaseState, Deletion, Kept, LeafFacts, LeafSeen, Observed, Rollout, RootFacts};
use super::memory::{Content, Memory};
use super::plan::RESYNC;
use crate::child::{ChildKind, ChildRef, Ownership, Seen};
use crate::children::{Home, Part, secret};
use crate::context::Context;
use crate::databases::{RealmDatabase, RealmKey, lock};
use crate::stores::realm_of;

/// One look at a Realm.
pub struct Pass<'a> {
    /// What the operator has.
    pub context: &'a Context,
    /// The Realm.
    pub realm: &'a Realm,
    /// Where its objects are.
    pub home: Home<'a>,
    /// Its place.
    pub key: RealmKey,
    /// What is known of earlier passes.
    pub memory: Arc<Mutex<Memory>>,
}

/// All that a plan looks at, and the database if it is open.
pub(super) async fn observe(pass: &Pass<'_>) -> Result<(Observed, Option<Arc<RealmDatabase>>), Error> {
    let (context, home, realm) = (pass.context, &pass.home, pass.realm);
    let deletion = deletion(pass);
    let keeps = home.spec.deletion_policy == RealmDeletionPolicy::Retain;
    let is_ending = deletion.is_some();
    let mut observed = Observed {
        images: context.settings.images.clone(),
        operator_namespace: context.settings.pod.namespace.clone(),
        finalizer: realm.finalizers().iter().any(|one| one == crds::FINALIZER),
        conflict: if is_ending { None } else { conflict(pass) },
        adopts: realm.annotations().contains_key(crds::ADOPT),
        known_before: realm.status.as_ref().is_some_and(|status| status.deployment_id.is_some()),
        managed_exists: pass.own(&home.at(ChildKind::StatefulSet, Part::Postgres.name())).is_some(),
        deletion,
        root: Kept::Missing,
        admin: Kept::Missing,
        unseal: BTreeMap::new(),
        roles: BTreeMap::new(),
        leaves: BTreeMap::new(),
        database: DatabaseState::Starting("the database is looked for".to_owned()),
        rollouts: BTreeMap::new(),
        optional: Vec::new(),
    };
    // The way out asks for as little as it can.
    if (is_ending && (keeps || home.is_managed())) || observed.conflict.is_some() {
        return Ok((observed, None));
    }
    if !is_ending {
        observed.root = pass.root().await?;
        if home.is_managed() {
            observed.admin = pass.admin();
        }
        for part in Part::SERVERS {
            observed.unseal.insert(part, pass.unseal(part).await?);
            observed.roles.insert(part, pass.role(part).await?);
            observed.rollouts.extend(pass.rollout(part).map(|rollout| (part, rollout)));
        }
        let managed = home.is_managed().then_some(Part::Postgres);
        for part in Part::SERVERS.into_iter().chain(managed) {
            observed.leaves.insert(part, pass.leaf(part).await?);
        }
        observed.optional = pass.optional();
    }
    let database = super::database::observe(pass, &mut observed).await?;
    Ok((observed, database))
}

/// The UID of what made an object.
fn controller<K: ResourceExt>(object: &K) -> Option<&str> {
    let reference = object.owner_references().iter().find(|reference| reference.controller == Some(true));
    reference.map(|reference| reference.uid.as_str())
}

/// Whether a Tenant has use for its Realm's database before that goes: it is being deleted, or it goes with what made both,
/// of which the garbage collection takes now the one and now the other first.
fn ends_first(realms_controller: Option<&str>, tenant: &Tenant) -> bool {
    let deleting = tenant.metadata.deletion_timestamp.is_some() && !tenant.finalizers().is_empty();
    deleting || (realms_controller.is_some() && controller(tenant) == realms_controller)
}

fn deletion(pass: &Pass<'_>) -> Option<Deletion> {
    let at = pass.realm.metadata.deletion_timestamp.as_ref()?;
    let (stores, home) = (&pass.context.stores, &pass.home);
    let place = (home.namespace.to_owned(), home.name.to_owned());
    let controller = controller(pass.realm);
    let ending = stores.tenants().state_filter(|tenant| realm_of(tenant) == place && ends_first(controller, tenant));
    let servers = Part::SERVERS.map(|part| home.at(ChildKind::Deployment, part.name()));
    let marker = Ownership::Marker { uid: home.uid.to_owned() };
    let secrets = stores.children_of(ChildKind::Secret, home.namespace, (crds::REALM_LABEL, home.name));
    let ours = |(at, seen): (ChildRef, Seen)| (seen.belongs_to(&marker) && !seen.deleting).then_some(at);
    Some(Deletion {
        since: Timestamp::from_millis(at.0.as_millisecond()),
        tenants_ending: ending.len(),
        servers: servers.into_iter().filter(|at| pass.own(at).is_some()).collect(),
        keepsakes: secrets.into_iter().filter_map(ours).collect(),
    })
}

/// Of two Realms that name the same Secret, the older one has the database.
fn conflict(pass: &Pass<'_>) -> Option<String> {
    let secret = |realm: &Realm| realm.spec.database.external.as_ref().map(|external| external.secret_ref.name.clone());
    let own = secret(pass.realm)?;
    let age = |realm: &Realm| (realm.metadata.creation_timestamp.clone().map(|time| time.0), realm.uid());
    let older = pass.context.stores.realms().state_filter(|other| {
        other.namespace().as_deref() == Some(pass.home.namespace)
            && other.uid().as_deref() != Some(pass.home.uid)
            && secret(other).as_ref() == Some(&own)
            && age(other) < age(pass.realm)
    });
    older.first().map(|older| format!("{}/{}", pass.home.namespace, older.name_any()))
}

impl Pass<'_> {
    /// An object that goes with this Realm.
    fn own(&self, at: &ChildRef) -> Option<Seen> {
        let seen = self.context.stores.seen(at)?;
        (seen.controller.as_deref() == Some(self.home.uid) && !seen.deleting).then_some(seen)
    }

    /// Changes with everything at which a Secret of somebody else's is to be read again.
    pub(super) fn source_version(&self, name: &str) -> String {
        let watched = self.context.stores.watched_secret(self.home.namespace, name);
        let version = watched.map(|seen| seen.resource_version.clone()).unwrap_or_default();
        format!("{}/{version}", self.realm.metadata.generation.unwrap_or_default())
    }

    /// Whether what was read then is still believed.
    pub(super) fn is_recent(&self, at: Timestamp) -> bool {
        self.context.clock.now().since(at) < RESYNC
    }

    /// One of our irreplaceable Secrets.
    pub(super) fn kept(&self, suffix: &str) -> Kept<Seen> {
        let at = self.home.at(ChildKind::Secret, suffix);
        let Some(seen) = self.context.stores.seen(&at) else { return Kept::Missing };
        let ours = Ownership::Marker { uid: self.home.uid.to_owned() };
        let of_this_name = seen.labels.get(crds::REALM_LABEL).map(String::as_str) == Some(self.home.name);
        match seen.belongs_to(&ours) {
            true if seen.deleting => Kept::Ending,
            true => Kept::There(seen),
            false if seen.controller.is_none() && of_this_name && seen.annotations.contains_key(crds::OWNER_UID) => {
                Kept::Left
            }
            false => Kept::Foreign,
        }
    }

    /// The content of a Secret in this version, read once.
    async fn content(
        &self,
        suffix: &str,
        seen: &Seen,
        read: impl FnOnce(&Secret) -> Content,
    ) -> Result<Option<Content>, Error> {
        let at = self.home.at(ChildKind::Secret, suffix);
        let known = lock(&self.memory).contents.get(&at.name).cloned();
        if let Some((_, content)) = known.filter(|(version, _)| *version == seen.resource_version) {
            return Ok(Some(content));
        }
        let Some(secret) = self.context.read_secret(&at.namespace, &at.name).await? else { return Ok(None) };
        let content = read(&secret);
        let version = secret.metadata.resource_version.unwrap_or_default();
        lock(&self.memory).contents.insert(at.name, (version, content.clone()));
        Ok(Some(content))
    }

    async fn root(&self) -> Result<Kept<RootFacts>, Error> {
        if let Some(source) = &self.home.spec.tls.root {
            return self.foreign_root(&source.secret_ref.name).await;
        }
        let seen = match self.kept(secret::root_ca::SUFFIX) {
            Kept::There(seen) => seen,
            other => return Ok(not_there(other)),
        };
        let found =
            self.content(secret::root_ca::SUFFIX, &seen, |secret| Content::Root(contents::root(secret))).await?;
        Ok(match found {
            Some(Content::Root(Ok(root))) => Kept::There(root),
            Some(Content::Root(Err(why))) => Kept::Unusable(why),
            _ => Kept::Missing,
        })
    }

    async fn foreign_root(&self, name: &str) -> Result<Kept<RootFacts>, Error> {
        let version = self.source_version(name);
        let known = lock(&self.memory).foreign_root.clone();
        let known = known.filter(|(at, known, _)| *known == version && self.is_recent(*at));
        let root = match known {
            Some((_, _, root)) => root,
            None => {
                let Some(secret) = self.context.read_secret(self.home.namespace, name).await? else {
                    lock(&self.memory).foreign_root = None;
                    return Ok(Kept::Missing);
                };
                let root = contents::root(&secret);
                lock(&self.memory).foreign_root = Some((self.context.clock.now(), version, root.clone()));
                root
            }
        };
        Ok(root.map_or_else(Kept::Unusable, Kept::There))
    }

    fn admin(&self) -> Kept<()> {
        match self.kept(secret::admin::SUFFIX) {
            Kept::There(_) => Kept::There(()),
            other => not_there(other),
        }
    }

    async fn unseal(&self, part: Part) -> Result<Kept<String>, Error> {
        let suffix = secret::unseal::suffix(part);
        let seen = match self.kept(&suffix) {
            Kept::There(seen) => seen,
            other => return Ok(not_there(other)),
        };
        let found = self.content(&suffix, &seen, |secret| Content::Unseal(contents::unseal_check(secret))).await?;
        Ok(match found {
            Some(Content::Unseal(Ok(check))) => Kept::There(check),
            Some(Content::Unseal(Err(why))) => Kept::Unusable(why),
            _ => Kept::Missing,
        })
    }

    async fn role(&self, part: Part) -> Result<Kept<()>, Error> {
        let suffix = secret::role::suffix(part);
        let seen = match self.kept(&suffix) {
            Kept::There(seen) => seen,
            other => return Ok(not_there(other)),
        };
        let found = self.content(&suffix, &seen, |secret| Content::Role(contents::password(secret).map(drop))).await?;
        Ok(match found {
            Some(Content::Role(Ok(()))) => Kept::There(()),
            Some(Content::Role(Err(why))) => Kept::Unusable(why),
            _ => Kept::Missing,
        })
    }

    async fn leaf(&self, part: Part) -> Result<LeafSeen, Error> {
        let suffix = secret::leaf::suffix(part);
        let at = self.home.at(ChildKind::Secret, &suffix);
        let Some(seen) = self.context.stores.seen(&at) else { return Ok(LeafSeen::Missing) };
        if seen.controller.as_deref() != Some(self.home.uid) {
            return Ok(LeafSeen::Foreign);
        }
        if seen.deleting {
            return Ok(LeafSeen::Ending);
        }
        // What we wrote ourselves and nobody touched since needs no look.
        let applied = self.context.applied.get(&at);
        let untouched = applied.is_some_and(|applied| {
            applied.uid == seen.uid
                && applied.version == seen.resource_version
                && seen.annotations.get(crds::APPLIED_HASH) == Some(&applied.hash)
        });
        let intact = untouched || {
            let annotations = seen.annotations.clone();
            let read = |secret: &Secret| Content::Leaf(contents::leaf_is_intact(secret, &annotations));
            match self.content(&suffix, &seen, read).await? {
                Some(Content::Leaf(intact)) => intact,
                _ => return Ok(LeafSeen::Missing),
            }
        };
        let said = |key: &str| seen.annotations.get(key).cloned().unwrap_or_default();
        let time = |key: &str| Timestamp::parse(&said(key)).ok();
        let (not_after, renewal) = (time(secret::leaf::NOT_AFTER), time(secret::leaf::RENEWAL));
        Ok(LeafSeen::Ours(LeafFacts {
            names_hash: said(secret::leaf::NAMES_HASH),
            intact: intact && not_after.is_some() && renewal.is_some(),
            not_after: not_after.unwrap_or_default(),
            renewal: renewal.unwrap_or_default(),
            chain_sha256: said(secret::leaf::CHAIN_SHA256),
            bundle_sha256: said(secret::leaf::BUNDLE_SHA256),
        }))
    }

    fn rollout(&self, part: Part) -> Option<Rollout> {
        let at = self.home.at(ChildKind::Deployment, part.name());
        let seen = self.own(&at)?;
        let deployment = self.context.stores.deployment(&at.namespace, &at.name);
        let spec = deployment.as_ref().and_then(|deployment| deployment.spec.as_ref());
        let status = deployment.as_ref().and_then(|deployment| deployment.status.as_ref());
        let count = |count: Option<i32>| count.unwrap_or_default();
        let hindrance = status.and_then(|status| {
            let conditions = status.conditions.iter().flatten();
            let hinders = |kind: &str, holds: &str| {
                matches!((kind, holds), ("ReplicaFailure", "True") | ("Progressing", "False"))
            };
            let mut found = conditions.filter(|condition| hinders(&condition.type_, &condition.status));
            found.find_map(|condition| condition.message.clone())
        });
        Some(Rollout {
            generation: seen.generation.unwrap_or_default(),
            observed: status.and_then(|status| status.observed_generation).unwrap_or_default(),
            wanted: spec.and_then(|spec| spec.replicas).unwrap_or(1),
            total: status.map(|status| count(status.replicas)).unwrap_or_default(),
            updated: status.map(|status| count(status.updated_replicas)).unwrap_or_default(),
            available: status.map(|status| count(status.available_replicas)).unwrap_or_default(),
            hindrance,
        })
    }

    fn optional(&self) -> Vec<ChildRef> {
        let kinds = [ChildKind::PodDisruptionBudget, ChildKind::NetworkPolicy];
        let label = (crds::REALM_LABEL, self.home.name);
        let all = kinds.into_iter().flat_map(|kind| self.context.stores.children_of(kind, self.home.namespace, label));
        all.filter(|(_, seen)| seen.controller.as_deref() == Some(self.home.uid) && !seen.deleting)
            .map(|(at, _)| at)
            .collect()
    }
}

fn not_there<T>(kept: Kept<Seen>) -> Kept<T> {
    match kept {
        Kept::Left => Kept::Left,
        Kept::Foreign => Kept::Foreign,
        Kept::Ending => Kept::Ending,
        Kept::Unusable(why) => Kept::Unusable(why),
        Kept::Missing | Kept::There(_) => Kept::Missing,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn tenant(metadata: Value) -> Tenant {
        let mut tenant = Tenant::new("acme", serde_json::from_value(json!({"realmRef": {"name": "main"}})).unwrap());
        tenant.metadata = serde_json::from_value(metadata).unwrap();
        tenant
    }

    #[test]
    fn tenants_that_go_with_what_made_the_realm_end_first() {
        let maker = |uid: &str, controller: bool| {
            json!({"ownerReferences": [{"apiVersion": "keyrealm.dev/v1alpha1", "kind": "DemoEnvironment", "name": "shop",
                "uid": uid, "controller": controller}]})
        };
        let shop = tenant(maker("shop-uid", true));
        assert!(ends_first(Some("shop-uid"), &shop), "not deleted yet, but about to be");
        assert!(!ends_first(Some("other-uid"), &shop) && !ends_first(None, &shop));
        assert!(!ends_first(Some("shop-uid"), &tenant(maker("shop-uid", false))));
        assert!(!ends_first(None, &tenant(json!({}))), "without makers they have none in common");
        let deleted =
            |finalizers: Value| tenant(json!({"deletionTimestamp": "2026-01-01T00:00:00Z", "finalizers": finalizers}));
        assert!(ends_first(None, &deleted(json!(["keyrealm.dev/operator"]))));
        assert!(!ends_first(None, &deleted(json!([]))));
    }
}
