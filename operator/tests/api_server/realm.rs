//! A Realm on a real API server and a real PostgreSQL. The pods are played: each is said to be ready, and processes say
//! of themselves what real ones say, under their own logins.
#![allow(clippy::indexing_slicing, reason = "helpers of tests fail the test")]

use std::sync::{Arc, Mutex};
use std::time::Duration;

use crds::{ConditionStatus, READY, Realm, STALLED, Tenant};
use k8s_openapi::api::apps::v1::{Deployment, StatefulSet};
use k8s_openapi::api::core::v1::{ConfigMap, Namespace, Pod, Secret, Service};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use keyrealm_base::{InstanceId, SystemClock, Timestamp};
use keyrealm_config::{Database as Settings, Postgres};
use keyrealm_crypto::SystemRandom;
use keyrealm_http::Tasks;
use keyrealm_registry::{Instance, instances, meta};
use keyrealm_store::{Database, Notice, Product};
use keyrealm_testkit::{On, SilentProxy, TestDatabase};
use kube::ResourceExt;
use kube::api::{Api, DeleteParams, ListParams, Patch, PatchParams, PostParams};
use operator::journal::Call;
use operator::run::Parts;
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::support::{Place, until};

/// An API server, a database, an operator, and pods that are played.
struct World {
    place: Place,
    database: TestDatabase,
    parts: Parts,
    _tasks: Tasks,
    /// Processes that are played.
    voices: Mutex<JoinSet<()>>,
}

impl World {
    async fn new() -> Self {
        let world = Self::without_login().await;
        world.apply_login(world.database.server().port).await;
        world
    }

    async fn without_login() -> Self {
        let place = Place::new().await;
        // A pod that is less than restricted is not made, and then nothing gets ready.
        let labels = json!({"metadata": {"labels": {"pod-security.kubernetes.io/enforce": "restricted"}}});
        let namespaces = Api::<Namespace>::all(place.client.clone());
        namespaces.patch(&place.namespace, &PatchParams::default(), &Patch::Merge(&labels)).await.unwrap();
        let database = TestDatabase::new(On::Postgres).await;
        let (mut parts, mut tasks) = place.real_parts().await;
        let events = std::mem::replace(&mut parts.events, operator::events::Events::new().1);
        tasks.spawn("events", events.run(parts.context.client.clone(), "test".to_owned()));
        operator::controller::work::<Realm, _, _, _>(&mut tasks, &parts.context, operator::realm::reconcile);
        tasks.spawn("databases", operator::controller::follow_databases(Arc::clone(&parts.context)));
        tasks.spawn("kubelet", kubelet(Api::namespaced(place.client.clone(), &place.namespace)));
        Self { place, database, parts, _tasks: tasks, voices: Mutex::default() }
    }

    async fn apply_login(&self, port: u16) {
        let server = self.database.server();
        let ca = std::fs::read_to_string(server.ca()).unwrap();
        let password = std::fs::read_to_string(self.database.password_file()).unwrap();
        let secret: Secret = serde_json::from_value(json!({
            "metadata": {"name": "postgres"},
            "stringData": {
                "host": server.host.to_string(), "port": port.to_string(), "database": self.database.name(),
                "user": self.database.login(None), "password": password, "ca.crt": ca,
            },
        }))
        .unwrap();
        self.api::<Secret>().create(&PostParams::default(), &secret).await.unwrap();
    }

    fn api<K>(&self) -> Api<K>
    where
        K: kube::Resource<DynamicType = (), Scope = k8s_openapi::NamespaceResourceScope>,
    {
        Api::namespaced(self.place.client.clone(), &self.place.namespace)
    }

    async fn create(&self, name: &str, more: Value) -> Realm {
        let mut realm = json!({
            "apiVersion": "keyrealm.dev/v1alpha1", "kind": "Realm", "metadata": {"name": name},
            "spec": {
                "hostnames": {"kms": "kms.acme.test", "identity": "id.acme.test"},
                "database": {"external": {"secretRef": {"name": "postgres"}}},
            },
        });
        for (section, fields) in more.as_object().unwrap() {
            for (key, value) in fields.as_object().unwrap() {
                realm[section][key] = value.clone();
            }
        }
        let realm: Realm = serde_json::from_value(realm).unwrap();
        self.api::<Realm>().create(&PostParams::default(), &realm).await.unwrap()
    }

    async fn realm(&self, name: &str) -> Realm {
        self.api::<Realm>().get(name).await.unwrap()
    }

    async fn settled(&self, name: &str, kind: &str, reason: &str) -> Realm {
        let mut last = None;
        until(&format!("{name} {kind} {reason}"), Duration::from_secs(60), async || {
            let realm = self.realm(name).await;
            let found = realm.status.iter().flat_map(|status| &status.conditions).any(|condition| {
                condition.kind == kind && condition.status == ConditionStatus::True && condition.reason == reason
            });
            if !found {
                let now = realm.status.clone().map(|status| status.conditions);
                if last != now {
                    eprintln!("{name}: {:?}", now.iter().flatten().next());
                    last = now;
                }
            }
            found
        })
        .await;
        self.realm(name).await
    }

    /// Plays the pods of a realm: once there is a Deployment, a process of the server speaks.
    async fn play(&self, name: &str) {
        for product in Product::ALL {
            let deployment = format!("{name}-{product}");
            until(&format!("Deployment {deployment}"), Duration::from_secs(60), async || {
                self.api::<Deployment>().get_opt(&deployment).await.unwrap().is_some()
            })
            .await;
            self.speak(name, product).await;
        }
    }

    /// What a process says of itself, under the login that its pod would have, with the certificate of its Secret.
    async fn speak(&self, name: &str, product: Product) {
        let secret = |suffix: &str| format!("{name}-{product}-{suffix}");
        let role = self.api::<Secret>().get(&secret("database")).await.unwrap();
        let text = |key: &str| String::from_utf8(role.data.as_ref().unwrap()[key].0.clone()).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let (password, ca) = (folder.path().join("password"), folder.path().join("ca"));
        keyrealm_tls::write_private(&password, text("password").as_bytes()).unwrap();
        keyrealm_tls::write_public(&ca, text("ca.crt").as_bytes()).unwrap();
        let postgres = Postgres {
            host: text("host"),
            port: text("port").parse().unwrap(),
            database: text("database"),
            user: text("user"),
            password_file: password,
            ca,
            ..Postgres::default()
        };
        let settings = Settings { postgres: Some(postgres), ..Settings::default() };
        let database = Database::open(&settings, product, None).await.unwrap();
        let (secrets, name) = (self.api::<Secret>(), secret("tls"));
        let id = InstanceId::new(&SystemClock, &SystemRandom);
        let voice = async move {
            let _keep = folder;
            loop {
                // As a pod does that takes a new certificate in.
                let Ok(leaf) = secrets.get(&name).await else { return };
                let said = |key: &str| leaf.annotations()[key].clone();
                let Ok(mut tx) = database.control_read().await else { return };
                let Ok(seen) = meta::generation(&mut tx).await else { return };
                drop(tx);
                let instance = Instance {
                    id,
                    product: product.name().to_owned(),
                    ready: true,
                    chain_sha256: said("keyrealm.dev/chain-sha256"),
                    bundle_sha256: said("keyrealm.dev/bundle-sha256"),
                    schema_version: 1,
                    heartbeat: Timestamp::from_seconds(0),
                    seen,
                };
                let Ok(mut tx) = database.control().await else { return };
                instances::write(&mut tx, &instance).await.unwrap();
                tx.notify(Notice::Instances);
                tx.commit().await.unwrap();
                tokio::time::sleep(Duration::from_secs(2)).await;
            }
        };
        self.voices.lock().unwrap().spawn(voice);
    }

    /// Writes of the operator from now on, for so long.
    async fn writes(&self, time: Duration) -> Vec<String> {
        self.parts.journal.take();
        tokio::time::sleep(time).await;
        self.calls()
    }

    /// The operator's calls since the last time, watches left out, and what it tells people of the last transition when there
    /// is time for it.
    fn calls(&self) -> Vec<String> {
        let calls = self.parts.journal.take();
        let counts = |call: &&Call| call.verb != "watch" && call.resource != "events";
        calls.iter().filter(counts).map(|call| format!("{call:?}")).collect()
    }

    async fn run(&self, realm: &Realm) {
        operator::realm::reconcile(Arc::new(realm.clone()), Arc::clone(&self.parts.context)).await.unwrap();
    }
}

/// Every pod runs and is ready, at once.
async fn kubelet(pods: Api<Pod>) {
    let status = json!({"status": {"phase": "Running", "conditions": [
        {"type": "Ready", "status": "True", "lastTransitionTime": "2026-01-01T00:00:00Z"},
    ]}});
    loop {
        for pod in pods.list(&ListParams::default()).await.map(|list| list.items).unwrap_or_default() {
            if pod.status.as_ref().and_then(|status| status.phase.as_deref()) != Some("Running") {
                let _ = pods.patch_status(&pod.name_any(), &PatchParams::default(), &Patch::Merge(&status)).await;
            }
        }
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_realm_is_made_kept_and_restored() {
    let world = World::new().await;
    world.create("main", json!({})).await;
    world.settled("main", "Reconciling", "RolloutInProgress").await;
    world.play("main").await;
    let realm = world.settled("main", READY, "Ready").await;
    let status = realm.status.clone().unwrap();
    assert_eq!(status.issuer.as_deref(), Some("https://id.acme.test"));
    assert_eq!(status.kms.unwrap().serving, 1);
    assert_eq!(status.pki.unwrap().leaves.len(), 2);
    // What servers would be given is what they take: the settings are theirs.
    let map = world.api::<ConfigMap>().get("main-kms").await.unwrap();
    let config: Value = serde_json::from_str(&map.data.unwrap()["config.yml"]).unwrap();
    assert_eq!(config["database"]["postgres"]["password_file"], "/database/password");
    // A second pass neither reads nor writes.
    tokio::time::sleep(Duration::from_secs(1)).await;
    world.parts.journal.take();
    for _ in 0..3 {
        world.run(&realm).await;
    }
    let calls = world.calls();
    assert!(calls.is_empty(), "{calls:?}");
    // A deleted child and an edited one.
    world.api::<Service>().delete("main-kms", &DeleteParams::default()).await.unwrap();
    let edit = json!({"spec": {"template": {"spec": {"enableServiceLinks": true}}}});
    let deployments = world.api::<Deployment>();
    deployments.patch("main-identity", &PatchParams::default(), &Patch::Merge(&edit)).await.unwrap();
    let edit = json!({"data": {"tls.crt": "AAAA"}});
    world.api::<Secret>().patch("main-kms-tls", &PatchParams::default(), &Patch::Merge(&edit)).await.unwrap();
    until("all is as it was", Duration::from_secs(30), async || {
        let service = world.api::<Service>().get_opt("main-kms").await.unwrap();
        let deployment = deployments.get("main-identity").await.unwrap();
        let links = deployment.spec.unwrap().template.spec.unwrap().enable_service_links;
        let leaf = world.api::<Secret>().get("main-kms-tls").await.unwrap();
        service.is_some() && links == Some(false) && leaf.data.unwrap()["tls.crt"].0.len() > 100
    })
    .await;
    world.settled("main", READY, "Ready").await;
    let writes = world.writes(Duration::from_secs(3)).await;
    assert!(writes.is_empty(), "{writes:?}");
    // What is optional comes and goes.
    let budgets = world.api::<PodDisruptionBudget>();
    let count = async || budgets.list(&ListParams::default()).await.unwrap().items.len();
    let spec = |spec: Value| Patch::Merge(json!({ "spec": spec }));
    let realms = world.api::<Realm>();
    realms.patch("main", &PatchParams::default(), &spec(json!({"kms": {"replicas": 2}}))).await.unwrap();
    until("several pods have a budget", Duration::from_secs(20), async || count().await == 1).await;
    let less = spec(json!({"kms": {"replicas": 1}, "networkPolicy": {"enabled": false}}));
    realms.patch("main", &PatchParams::default(), &less).await.unwrap();
    until("both are gone", Duration::from_secs(20), async || {
        let policies = world.api::<NetworkPolicy>().list(&ListParams::default()).await.unwrap();
        count().await == 0 && policies.items.is_empty()
    })
    .await;
    world.place.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_unseal_key_stalls_until_it_is_restored() {
    let world = World::new().await;
    world.create("main", json!({})).await;
    world.play("main").await;
    world.settled("main", READY, "Ready").await;
    let secrets = world.api::<Secret>();
    let mut backup = secrets.get("main-kms-unseal").await.unwrap();
    assert!(backup.owner_references().is_empty());
    secrets.delete("main-kms-unseal", &DeleteParams::default()).await.unwrap();
    let realm = world.settled("main", STALLED, "UnsealKeyMissing").await;
    let message = realm.status.unwrap().conditions[0].message.clone();
    assert!(message.contains("kubectl apply") && message.contains("main-kms-unseal"), "{message}");
    assert!(secrets.get_opt("main-kms-unseal").await.unwrap().is_none(), "it is not made anew");
    // Another key does not do.
    backup.metadata.resource_version = None;
    backup.metadata.uid = None;
    backup.metadata.managed_fields = None;
    let mut other = backup.clone();
    let mut bytes = vec![7; 31];
    bytes.push(8);
    other.data.as_mut().unwrap().insert("key".to_owned(), k8s_openapi::ByteString(bytes));
    secrets.create(&PostParams::default(), &other).await.unwrap();
    until("another key is told", Duration::from_secs(20), async || {
        let realm = world.realm("main").await;
        realm.status.unwrap().conditions[0].message.contains("another key")
    })
    .await;
    secrets.delete("main-kms-unseal", &DeleteParams::default()).await.unwrap();
    secrets.create(&PostParams::default(), &backup).await.unwrap();
    world.settled("main", READY, "Ready").await;
    world.place.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_foreign_object_is_named_and_a_second_realm_refused() {
    let world = World::new().await;
    let theirs: Service = serde_json::from_value(json!({
        "metadata": {"name": "main-kms"}, "spec": {"ports": [{"port": 1}]},
    }))
    .unwrap();
    world.api::<Service>().create(&PostParams::default(), &theirs).await.unwrap();
    world.create("main", json!({})).await;
    let realm = world.settled("main", STALLED, "ForeignObject").await;
    let message = realm.status.unwrap().conditions[0].message.clone();
    assert!(message.contains("Service") && message.contains("/main-kms"), "{message}");
    let left = world.api::<Service>().get("main-kms").await.unwrap();
    assert_eq!(left.spec.unwrap().ports.unwrap()[0].port, 1);
    // The same database in another Realm, once it is the first one's.
    until("the database is taken", Duration::from_secs(20), async || world.is_taken().await).await;
    world.create("second", json!({})).await;
    let second = world.settled("second", STALLED, "DatabaseInUse").await;
    assert!(second.finalizers().is_empty(), "who loses has no finalizer");
    world.api::<Realm>().delete("second", &DeleteParams::default()).await.unwrap();
    until("the second is gone", Duration::from_secs(20), async || {
        world.api::<Realm>().get_opt("second").await.unwrap().is_none()
    })
    .await;
    world.place.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_retained_is_adopted_and_what_is_deleted_is_gone() {
    let world = World::new().await;
    world.create("main", json!({})).await;
    world.play("main").await;
    let first = world.settled("main", READY, "Ready").await;
    let deployment_id = first.status.unwrap().deployment_id.unwrap();
    let secrets = world.api::<Secret>();
    let key = secrets.get("main-kms-unseal").await.unwrap().data;
    world.gone("main").await;
    assert_eq!(secrets.get("main-kms-unseal").await.unwrap().data, key, "it is retained");
    // Without a word the data is somebody else's.
    world.create("main", json!({})).await;
    world.settled("main", STALLED, "DatabaseInUse").await;
    world.gone("main").await;
    let policy = json!({
        "metadata": {"annotations": {"keyrealm.dev/adopt": deployment_id}}, "spec": {"deletionPolicy": "Delete"},
    });
    world.create("main", policy).await;
    world.play("main").await;
    let adopted = world.settled("main", READY, "Ready").await;
    assert_eq!(adopted.status.unwrap().deployment_id.as_ref(), Some(&deployment_id));
    assert_eq!(secrets.get("main-kms-unseal").await.unwrap().data, key);
    // Delete: schemas, roles and Secrets.
    world.gone("main").await;
    for name in ["main-root-ca", "main-kms-unseal", "main-identity-database"] {
        assert!(secrets.get_opt(name).await.unwrap().is_none(), "{name}");
    }
    let server = world.database.server();
    let mut connection = server.connect(world.database.name(), "postgres", &server.password).await;
    let schemas: Vec<String> = sqlx::query_scalar(
        "SELECT nspname::text FROM pg_namespace WHERE nspname IN ('keyrealm', 'kms_realm', 'identity_realm')",
    )
    .fetch_all(&mut connection)
    .await
    .unwrap();
    assert_eq!(schemas, Vec::<String>::new());
    let suffix = &deployment_id[deployment_id.len() - 8..];
    let roles: Vec<String> =
        sqlx::query_scalar("SELECT rolname::text FROM pg_roles WHERE right(rolname::text, 8) = $1")
            .bind(suffix)
            .fetch_all(&mut connection)
            .await
            .unwrap();
    assert_eq!(roles, Vec::<String>::new());
    world.place.end().await;
}

impl World {
    /// Whether a Realm has taken the database.
    async fn is_taken(&self) -> bool {
        let server = self.database.server();
        let mut connection = server.connect(self.database.name(), "postgres", &server.password).await;
        let taken = "SELECT count(*) FROM keyrealm.meta WHERE realm_uid <> ''";
        // There is no such table before.
        sqlx::query_scalar::<_, i64>(taken).fetch_one(&mut connection).await.is_ok_and(|rows| rows == 1)
    }

    async fn gone(&self, name: &str) {
        let voices = std::mem::take(&mut *self.voices.lock().unwrap());
        drop(voices);
        // It may be on its way already.
        let _ = self.api::<Realm>().delete(name, &DeleteParams::default()).await;
        until(&format!("{name} is gone"), Duration::from_secs(90), async || {
            self.api::<Realm>().get_opt(name).await.unwrap().is_none()
        })
        .await;
        // What goes with it is collected by the controllers.
        until("its Deployments are gone", Duration::from_secs(60), async || {
            let list = self.api::<Deployment>().list(&ListParams::default()).await.unwrap();
            list.items.iter().all(|one| !one.name_any().starts_with(name))
        })
        .await;
    }
}

/// Nobody can reach it here, since there are no pods: but what is made of it is taken, its pod too, and it can be deleted.
#[tokio::test(flavor = "multi_thread")]
async fn a_managed_database_is_made_and_goes_with_its_realm() {
    let world = World::new().await;
    let spec = json!({"spec": {"database": {"managed": {}}, "deletionPolicy": "Delete"}});
    world.create("main", spec).await;
    until("its pod is made", Duration::from_secs(60), async || {
        world.api::<Pod>().get_opt("main-postgres-0").await.unwrap().is_some()
    })
    .await;
    let realm = world.realm("main").await;
    assert!(realm.finalizers().contains(&crds::FINALIZER.to_owned()));
    let secrets = world.api::<Secret>();
    for name in ["main-root-ca", "main-postgres-admin", "main-postgres-tls"] {
        assert!(secrets.get_opt(name).await.unwrap().is_some(), "{name}");
    }
    assert!(secrets.get_opt("main-kms-unseal").await.unwrap().is_none(), "nothing before the registry was asked");
    world.gone("main").await;
    until("all is gone", Duration::from_secs(60), async || {
        let set = world.api::<StatefulSet>().get_opt("main-postgres").await.unwrap();
        let names = secrets.list(&ListParams::default()).await.unwrap().items;
        set.is_none() && names.iter().all(|secret| !secret.name_any().starts_with("main-"))
    })
    .await;
    world.place.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_falls_silent_is_told_and_found_again() {
    let world = World::without_login().await;
    world.create("main", json!({})).await;
    let realm = world.settled("main", STALLED, "DatabaseSecretMissing").await;
    assert!(realm.status.unwrap().conditions[0].message.contains("Secret"));
    let proxy = SilentProxy::start(world.database.server().port).await;
    world.apply_login(proxy.port).await;
    world.play("main").await;
    world.settled("main", READY, "Ready").await;
    proxy.fall_silent();
    world.settled("main", "Reconciling", "DatabaseUnreachable").await;
    proxy.speak_again();
    for product in Product::ALL {
        world.speak("main", product).await;
    }
    world.settled("main", READY, "Ready").await;
    world.place.end().await;
}

/// What is collected with a DemoEnvironment goes in no order: the Realm waits for a Tenant of the same maker that nobody has
/// deleted yet.
#[tokio::test(flavor = "multi_thread")]
async fn a_realm_that_goes_waits_for_tenants_of_its_maker() {
    let world = World::new().await;
    let maker: ConfigMap = serde_json::from_value(json!({"metadata": {"name": "maker"}})).unwrap();
    let maker = world.api::<ConfigMap>().create(&PostParams::default(), &maker).await.unwrap();
    let owners =
        json!([{"apiVersion": "v1", "kind": "ConfigMap", "name": "maker", "uid": maker.uid(), "controller": true}]);
    let more = json!({"metadata": {"ownerReferences": owners}, "spec": {"deletionPolicy": "Delete"}});
    world.create("main", more).await;
    world.settled("main", "Reconciling", "RolloutInProgress").await;
    let tenant: Tenant = serde_json::from_value(json!({
        "apiVersion": "keyrealm.dev/v1alpha1", "kind": "Tenant", "spec": {"realmRef": {"name": "main"}},
        "metadata": {"name": "main-1", "ownerReferences": owners},
    }))
    .unwrap();
    world.api::<Tenant>().create(&PostParams::default(), &tenant).await.unwrap();
    world.api::<Realm>().delete("main", &DeleteParams::default()).await.unwrap();
    let realm = world.settled("main", "Reconciling", "Deleting").await;
    let message = realm.status.unwrap().conditions[0].message.clone();
    assert!(message.contains("Tenants of this Realm"), "{message}");
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert!(world.api::<Deployment>().get_opt("main-kms").await.unwrap().is_some(), "its servers still serve");
    world.api::<Tenant>().delete("main-1", &DeleteParams::default()).await.unwrap();
    world.gone("main").await;
    world.place.end().await;
}

/// A Tenant may be applied together with its Realm: until the servers' logins are there it waits, does nothing in the database
/// and is no failure; then it is made at once.
#[tokio::test(flavor = "multi_thread")]
async fn a_tenant_waits_for_the_logins_of_its_realm_and_is_made_once_they_are_there() {
    let world = World::new().await;
    let mut tasks = Tasks::default();
    operator::controller::work::<Tenant, _, _, _>(&mut tasks, &world.parts.context, operator::tenant::reconciler());
    // Somebody's Secret where a password belongs: the database is open, and no login can be made in it.
    let theirs: Secret = serde_json::from_value(json!({"metadata": {"name": "main-identity-database"}})).unwrap();
    world.api::<Secret>().create(&PostParams::default(), &theirs).await.unwrap();
    let tenant = json!({
        "apiVersion": "keyrealm.dev/v1alpha1", "kind": "Tenant", "metadata": {"name": "acme"},
        "spec": {"realmRef": {"name": "main"}},
    });
    world.api::<Tenant>().create(&PostParams::default(), &serde_json::from_value(tenant).unwrap()).await.unwrap();
    world.create("main", json!({})).await;
    world.settled("main", STALLED, "ForeignObject").await;
    let stands = async || {
        let status = world.api::<Tenant>().get("acme").await.unwrap().status.unwrap_or_default();
        let ready = status.conditions.into_iter().find(|one| one.kind == READY);
        (status.tenant_id, ready.map(|ready| (ready.reason, ready.message)).unwrap_or_default())
    };
    until("it says what it waits for", Duration::from_secs(10), async || {
        let (id, (reason, message)) = stands().await;
        id.is_none() && reason == "RealmNotReady" && message.contains("logins") && message.contains("/main")
    })
    .await;
    world.parts.journal.take();
    tokio::time::sleep(Duration::from_secs(3)).await;
    let calls = world.parts.journal.take();
    let calls: Vec<_> = calls.iter().filter(|call| call.resource == "tenants" && call.verb != "watch").collect();
    assert!(calls.is_empty(), "it rests: {calls:?}");

    world.api::<Secret>().delete("main-identity-database", &DeleteParams::default()).await.unwrap();
    let look = Patch::Merge(json!({"metadata": {"annotations": {"test": "look"}}}));
    world.api::<Realm>().patch("main", &PatchParams::default(), &look).await.unwrap();
    let key = operator::databases::RealmKey::new(&world.place.namespace, "main");
    let opened = world.parts.context.databases.get(&key).unwrap();
    until("the logins are there", Duration::from_secs(30), async || opened.registrar.has_logins().await.unwrap()).await;
    until("it is made at once", Duration::from_secs(2), async || stands().await.0.is_some()).await;
    let figures = world.parts.context.metrics.render();
    let failed = "keyrealm_operator_reconcile_total{kind=\"Tenant\",outcome=\"error\"}";
    assert!(!figures.contains(failed), "{figures}");

    // Somebody drops a login: the Realm makes it again, and nobody has to touch anything.
    let login = opened.registrar.login_names().unwrap()[1].1.clone();
    world.database.run(&format!("DROP OWNED BY {login}; DROP ROLE {login}")).await;
    until("it is there again", Duration::from_secs(20), async || opened.registrar.has_logins().await.unwrap()).await;
    tasks.shutdown().await;
    world.place.end().await;
}
