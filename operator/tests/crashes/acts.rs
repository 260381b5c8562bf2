//! What happens in a realm's life. Each act is prepared while no operator runs; then one is killed at a point of it, and
//! another one, which nobody disturbs, has to bring it to its end.

use std::collections::{BTreeMap, BTreeSet};

use crds::Realm;
use k8s_openapi::api::apps::v1::{Deployment, StatefulSet};
use k8s_openapi::api::core::v1::{Pod, Secret};
use kube::ResourceExt;
use kube::api::{Api, Patch, PatchParams};
use serde_json::{Value, json};

use crate::world::{LIMIT, World, until};

/// In the order in which they happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Act {
    /// A Realm and four Tenants are made.
    Made,
    /// Each is changed, and its schemas are tampered with.
    Changed,
    /// Realm and a Tenant are lost without having been let go, and taken over by new ones.
    Adopted,
    /// Tenants of each policy are deleted.
    TenantsEnd,
    /// The Realm is, with all that is in its database.
    RealmEnds,
    /// And then a Tenant that it left.
    LeftEnds,
    /// A Realm with a database of its own, which nobody can reach here.
    Managed,
    /// A demonstration with one tenant.
    Demo,
    /// One more.
    DemoGrows,
    /// One less.
    DemoShrinks,
    /// New passwords and ids.
    DemoResets,
    /// Its time is over.
    DemoEnds,
}

impl Act {
    pub(crate) const REALM: [Self; 6] =
        [Self::Made, Self::Changed, Self::Adopted, Self::TenantsEnd, Self::RealmEnds, Self::LeftEnds];
    pub(crate) const DEMO: [Self; 5] =
        [Self::Demo, Self::DemoGrows, Self::DemoShrinks, Self::DemoResets, Self::DemoEnds];

    /// The steps that it needs.
    pub(crate) const fn steps(self) -> &'static [&'static str] {
        match self {
            Self::Made => &[
                "realm.add-finalizer",
                "realm.create-root-ca",
                "realm.create-unseal-key",
                "realm.create-database-role",
                "realm.prepare-database",
                "realm.mark-used",
                "realm.issue-leaf",
                "realm.ensure-config-map",
                "realm.ensure-service",
                "realm.ensure-service-account",
                "realm.ensure-deployment",
                "realm.ensure-pod-disruption-budget",
                "realm.ensure-network-policy",
                "tenant.add-finalizer",
                "tenant.create",
                "tenant.make-secret",
                "tenant.hash-passwords",
                "tenant.declare",
            ],
            Self::Changed => &[
                "realm.remove-child",
                "tenant.rename",
                "tenant.ensure-schemas",
                "tenant.rotate-secret",
                "tenant.refresh-secret",
                "tenant.delete-secret",
            ],
            Self::Adopted => &["realm.adopt-secret", "tenant.release", "tenant.adopt"],
            Self::TenantsEnd => {
                &["tenant.disable", "tenant.retain", "tenant.archive", "tenant.destroy", "tenant.remove-finalizer"]
            }
            Self::RealmEnds => &["realm.remove-child", "realm.drop-database", "realm.remove-secret", "realm.release"],
            Self::LeftEnds => &["tenant.leave-behind"],
            Self::Managed => &["realm.create-admin", "realm.ensure-stateful-set"],
            Self::Demo => &["demo.create-credentials", "demo.ensure-realm", "demo.ensure-tenant"],
            Self::DemoGrows => &["demo.complete-credentials"],
            Self::DemoShrinks => &["demo.delete-tenant"],
            Self::DemoResets => &["demo.delete-credentials"],
            Self::DemoEnds => &["demo.delete-self"],
        }
    }
}

/// What is known of a life so far.
#[derive(Default)]
pub(crate) struct Life {
    pub(crate) deployment: String,
    pub(crate) tenants: BTreeMap<&'static str, String>,
    archived: bool,
}

const TENANTS: [(&str, &str); 4] = [("one", "Delete"), ("two", "Retain"), ("three", "Archive"), ("four", "Retain")];

fn realm(policy: &str, policies: bool) -> Value {
    json!({
        "hostnames": {"kms": "kms.acme.test", "identity": "id.acme.test"},
        "database": {"external": {"secretRef": {"name": "postgres"}}},
        "deletionPolicy": policy, "networkPolicy": {"enabled": policies}, "kms": {"replicas": 2},
    })
}

fn client(name: &str) -> Value {
    json!({
        "name": name, "type": "confidential", "grants": ["client_credentials"], "scopes": ["kms:encrypt"],
        "secret": {"overlap": "1s"}, "onRemove": "delete",
    })
}

fn tenant(name: &str, policy: &str) -> Value {
    let mut spec =
        json!({"realmRef": {"name": "main"}, "slug": name, "displayName": "First", "deletionPolicy": policy});
    if name == "one" {
        spec["keys"] = json!([{"name": "seal", "algorithm": "A256GCM/dir"}]);
        spec["clients"] = json!([client("app"), client("old")]);
        spec["users"] = json!([{"name": "alice", "passwordSecretRef": {"name": "people", "key": "alice"}}]);
    }
    spec
}

fn demo(tenants: i32, more: Value) -> Value {
    let mut spec = json!({
        "tenants": tenants,
        "realm": {"database": {"external": {"secretRef": {"name": "postgres"}}}},
    });
    for (key, value) in more.as_object().unwrap() {
        spec[key] = value.clone();
    }
    spec
}

impl World {
    /// While no operator runs.
    pub(crate) async fn prepare(&self, act: Act, life: &Life) {
        match act {
            Act::Made => {
                self.apply("Realm", "main", json!({}), realm("Retain", true)).await;
                for (name, policy) in TENANTS {
                    self.apply("Tenant", name, json!({}), tenant(name, policy)).await;
                }
            }
            Act::Changed => {
                self.apply("Realm", "main", json!({}), realm("Retain", false)).await;
                let mut spec = tenant("one", "Delete");
                (spec["displayName"], spec["clients"]) = (json!("Second"), json!([client("app")]));
                self.apply("Tenant", "one", json!({}), spec).await;
                let rotate = Patch::Merge(json!({"metadata": {"annotations": {"keyrealm.dev/rotate": "1"}}}));
                self.api::<Secret>().patch("one-client-app", &PatchParams::default(), &rotate).await.unwrap();
                let schema = format!("kms_{}", life.tenants["one"].replace('-', ""));
                let user = format!("{schema}_{}", &life.deployment[life.deployment.len() - 8..]);
                self.database.run(&format!("REVOKE USAGE ON SCHEMA {schema} FROM {user}")).await;
            }
            Act::Adopted => {
                self.force_away("Tenant", "two").await;
                let adopt = json!({"keyrealm.dev/adopt": life.tenants["two"]});
                self.apply("Tenant", "two", adopt, tenant("two", "Retain")).await;
                self.force_away("Realm", "main").await;
                // What went with it is collected first, else it would be in the way for a while.
                until("the servers go", LIMIT, async || {
                    self.objects().await.iter().all(|one| one.starts_with("Secret/"))
                })
                .await;
                let adopt = json!({"keyrealm.dev/adopt": life.deployment});
                self.apply("Realm", "main", adopt, realm("Delete", false)).await;
            }
            Act::TenantsEnd => {
                for name in ["one", "two", "three"] {
                    self.delete("Tenant", name).await;
                }
            }
            Act::RealmEnds => self.delete("Realm", "main").await,
            Act::LeftEnds => self.delete("Tenant", "four").await,
            Act::Managed => {
                let spec = json!({
                    "hostnames": {"kms": "kms.acme.test", "identity": "id.acme.test"}, "database": {"managed": {}},
                    "deletionPolicy": "Delete",
                });
                self.apply("Realm", "main", json!({}), spec).await;
            }
            Act::Demo => self.apply("DemoEnvironment", "shop", json!({}), demo(1, json!({}))).await,
            Act::DemoGrows => self.apply("DemoEnvironment", "shop", json!({}), demo(2, json!({}))).await,
            Act::DemoShrinks => self.apply("DemoEnvironment", "shop", json!({}), demo(1, json!({}))).await,
            Act::DemoResets => {
                self.apply("DemoEnvironment", "shop", json!({}), demo(1, json!({"resetToken": "again"}))).await;
            }
            Act::DemoEnds => {
                let spec = demo(1, json!({"resetToken": "again", "ttl": "1m"}));
                self.apply("DemoEnvironment", "shop", json!({}), spec).await;
            }
        }
    }

    /// Waits for the end of an act, and looks whether exactly what shall be there is.
    pub(crate) async fn settles(&self, act: Act, life: &mut Life) {
        match act {
            Act::Made | Act::Changed | Act::Adopted => self.realm_is_ready(act, life).await,
            Act::TenantsEnd => {
                for name in ["one", "two", "three"] {
                    self.gone("Tenant", name).await;
                }
                life.archived = true;
                let left = life.tenants["two"].replace('-', "");
                life.tenants.retain(|name, _| ["two", "four"].contains(name));
                let rows = self.texts("SELECT slug::text FROM keyrealm.tenants WHERE owner = '' AND enabled = 0").await;
                assert_eq!(rows, ["two"], "{left}");
                assert_eq!(self.texts("SELECT count(*)::text FROM keyrealm.archives").await, ["2"]);
                self.exactly(life, false).await;
            }
            Act::RealmEnds => {
                self.gone("Realm", "main").await;
                until("all is collected", LIMIT, async || self.objects().await.is_empty()).await;
                assert_eq!(self.schemas().await, BTreeSet::new());
                assert_eq!(self.roles(&life.deployment).await, BTreeSet::new());
            }
            Act::LeftEnds => self.gone("Tenant", "four").await,
            Act::Managed => {
                until("the database's pod is made", LIMIT, async || {
                    self.api::<Pod>().get_opt("main-postgres-0").await.is_ok_and(|pod| pod.is_some())
                        && self.ready("Realm", "main").await.is_some()
                })
                .await;
                let names = [
                    "Secret/main-root-ca",
                    "Secret/main-postgres-admin",
                    "Secret/main-postgres-tls",
                    "ConfigMap/main-postgres",
                    "ConfigMap/main-trust-bundle",
                    "Service/main-postgres",
                    "ServiceAccount/main-postgres",
                    "NetworkPolicy/main-postgres",
                    "StatefulSet/main-postgres",
                ];
                assert_eq!(self.objects().await, names.iter().map(ToString::to_string).collect());
                assert!(self.api::<StatefulSet>().get("main-postgres").await.unwrap().uid().is_some());
            }
            Act::Demo | Act::DemoGrows | Act::DemoShrinks | Act::DemoResets => self.demo_is_ready(act, life).await,
            Act::DemoEnds => {
                self.gone("DemoEnvironment", "shop").await;
                self.gone("Realm", "shop").await;
                until("all is collected", LIMIT, async || {
                    let objects = self.objects().await;
                    objects.iter().all(|one| one.starts_with("Secret/shop-") && !one.contains("demo-credentials"))
                })
                .await;
            }
        }
    }

    async fn realm_is_ready(&self, act: Act, life: &mut Life) {
        self.stands("Realm", "main", "Ready").await;
        for (name, _) in TENANTS {
            self.stands("Tenant", name, "Ready").await;
        }
        let deployment = self.deployment_id("main").await;
        let mut tenants = BTreeMap::new();
        for (name, _) in TENANTS {
            tenants.insert(name, self.tenant_id(name).await);
        }
        if act == Act::Made {
            (life.deployment, life.tenants) = (deployment, tenants);
        } else {
            assert_eq!((&deployment, &tenants), (&life.deployment, &life.tenants), "they are the same for ever");
        }
        if act == Act::Changed {
            let names = self.texts("SELECT display_name::text FROM keyrealm.tenants WHERE slug = 'one'").await;
            assert_eq!(names, ["Second"]);
            until("the overlap ends", LIMIT, async || {
                let secret = self.api::<Secret>().get("one-client-app").await.unwrap();
                !secret.data.unwrap().contains_key("client_secret_previous")
            })
            .await;
            self.stands("Tenant", "one", "Ready").await;
        }
        self.exactly(life, act == Act::Made).await;
    }

    /// No orphan: exactly these objects, schemas and roles.
    async fn exactly(&self, life: &Life, first: bool) {
        let mut names: BTreeSet<String> =
            ["Secret/main-root-ca", "ConfigMap/main-trust-bundle", "PodDisruptionBudget/main-kms"]
                .iter()
                .map(ToString::to_string)
                .collect();
        for part in ["kms", "identity"] {
            names.extend(["unseal", "database", "tls"].map(|secret| format!("Secret/main-{part}-{secret}")));
            let kinds = ["ConfigMap", "Service", "ServiceAccount", "Deployment"];
            names.extend(kinds.map(|kind| format!("{kind}/main-{part}")));
            if first {
                names.insert(format!("NetworkPolicy/main-{part}"));
            }
        }
        if life.tenants.contains_key("one") {
            names.insert("Secret/one-client-app".to_owned());
            if first {
                names.insert("Secret/one-client-old".to_owned());
            }
        }
        // What goes with its owner is collected in its own time.
        let mut now = BTreeSet::new();
        let began = std::time::Instant::now();
        while now != names && began.elapsed() < LIMIT / 3 {
            now = self.objects().await;
        }
        assert_eq!(now, names);
        let suffix = &life.deployment[life.deployment.len() - 8..];
        let mut schemas = BTreeSet::from(["keyrealm".to_owned()]);
        let mut roles = BTreeSet::new();
        for product in ["kms", "identity"] {
            roles.insert(format!("{product}_login_{suffix}"));
            let tenants = life.tenants.values().map(|id| format!("{product}_{}", id.replace('-', "")));
            for space in tenants.chain([format!("{product}_realm")]) {
                roles.insert(format!("{space}_own_{suffix}"));
                if !space.ends_with("_realm") {
                    roles.insert(format!("{space}_{suffix}"));
                }
                schemas.insert(space);
            }
        }
        let archive = |name: &String| !(life.archived && name.starts_with("zz_"));
        let now: BTreeSet<String> = self.schemas().await.into_iter().filter(archive).collect();
        assert_eq!(now, schemas);
        let now: BTreeSet<String> = self.roles(&life.deployment).await.into_iter().filter(archive).collect();
        assert_eq!(now, roles);
    }

    async fn demo_is_ready(&self, act: Act, life: &mut Life) {
        self.stands("DemoEnvironment", "shop", "Ready").await;
        let count = if act == Act::DemoGrows { 2 } else { 1 };
        until("as many Tenants as it says", LIMIT, async || {
            self.objects().await.iter().filter(|one| one.starts_with("Tenant/")).count() == count
        })
        .await;
        self.stands("DemoEnvironment", "shop", "Ready").await;
        let first = self.tenant_id("shop-1").await;
        let (deployment, known) = (self.deployment_id("shop").await, life.tenants.insert("shop-1", first.clone()));
        if let Some(known) = known {
            assert_eq!(known == first, act != Act::DemoResets);
            assert_eq!(deployment, life.deployment);
        }
        life.deployment = deployment;
        let schemas = self.schemas().await;
        assert_eq!(schemas.len(), 3 + 2 * count, "{schemas:?}");
        assert!(self.api::<Deployment>().get("shop-kms").await.is_ok());
        let realm = Api::<Realm>::namespaced(self.client.clone(), &self.namespace).get("shop").await.unwrap();
        assert!(realm.uid().is_some());
    }
}
