//! A namespace, a database, and what stands in for nodes.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use crds::client::{Access, ApiServer, Retry};
use crds::{Condition, Realm, Tenant};
use k8s_openapi::api::core::v1::{Namespace, Secret};
use keyrealm_base::{ObjectId, SystemClock};
use keyrealm_crypto::SystemRandom;
use keyrealm_testkit::{On, PostgresServer, TestDatabase};
use kube::api::{Api, ApiResource, DeleteParams, DynamicObject, ListParams, Patch, PatchParams, PostParams};
use kube::{Client, ResourceExt};
use operator::config::Settings;
use serde_json::{Value, json};
use tokio::sync::OnceCell;
use tokio_util::task::AbortOnDropHandle;

pub(crate) const LIMIT: Duration = Duration::from_mins(3);

pub(crate) fn kubeconfig() -> PathBuf {
    let path = std::env::var_os("KEYREALM_TEST_KUBECONFIG").map(PathBuf::from);
    path.expect("KEYREALM_TEST_KUBECONFIG: a cluster of `cargo xtask cluster --control-plane-only NAME up`")
}

/// Whether what takes its time is given it.
pub(crate) fn is_full() -> bool {
    std::env::var_os("KEYREALM_TEST_FULL").is_some()
}

pub(crate) struct World {
    pub(crate) client: Client,
    pub(crate) namespace: String,
    pub(crate) database: TestDatabase,
    _nodes: AbortOnDropHandle<()>,
}

impl World {
    pub(crate) async fn new() -> Self {
        Self::on(TestDatabase::new(On::Postgres).await, None).await
    }

    /// With this database, which the operator and the servers reach at this port.
    pub(crate) async fn on(database: TestDatabase, port: Option<u16>) -> Self {
        static DEFINED: OnceCell<()> = OnceCell::const_new();
        let settings = Settings { kubeconfig: Some(kubeconfig()), ..Settings::default() };
        DEFINED.get_or_init(async || drop(operator::definitions::apply(&settings).await.unwrap())).await;
        let access = Access { kubeconfig: Some(kubeconfig()), context: None };
        let client = ApiServer::find(&access).await.unwrap().client(Retry::Bounded).unwrap();
        let namespace = format!("c-{}", ObjectId::new(&SystemClock, &SystemRandom));
        let object: Namespace = serde_json::from_value(json!({"metadata": {"name": namespace}})).unwrap();
        Api::<Namespace>::all(client.clone()).create(&PostParams::default(), &object).await.unwrap();
        let nodes = tokio::spawn(crate::servers::keep(client.clone(), namespace.clone()));
        let world = Self { client, namespace, database, _nodes: AbortOnDropHandle::new(nodes) };
        world.login(port).await;
        world
    }

    async fn login(&self, port: Option<u16>) {
        let server = self.database.server();
        let access = self.database.registrar_access();
        let secret: Secret = serde_json::from_value(json!({
            "metadata": {"name": "postgres"},
            "stringData": {
                "host": access.host, "port": port.unwrap_or(server.port).to_string(), "database": access.database,
                "user": access.user, "password": std::str::from_utf8(access.password.expose()).unwrap(),
                "ca.crt": access.ca_pem,
            },
        }))
        .unwrap();
        self.api::<Secret>().create(&PostParams::default(), &secret).await.unwrap();
        let people: Secret = serde_json::from_value(json!({
            "metadata": {"name": "people"}, "stringData": {"alice": "correct horse battery staple"},
        }))
        .unwrap();
        self.api::<Secret>().create(&PostParams::default(), &people).await.unwrap();
    }

    pub(crate) fn api<K>(&self) -> Api<K>
    where
        K: kube::Resource<DynamicType = (), Scope = k8s_openapi::NamespaceResourceScope>,
    {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    /// Makes or changes an object of ours; what was said before and is not said any more is taken out.
    pub(crate) async fn apply(&self, kind: &str, name: &str, annotations: Value, spec: Value) {
        let object = json!({
            "apiVersion": "keyrealm.dev/v1alpha1", "kind": kind,
            "metadata": {"name": name, "annotations": annotations}, "spec": spec,
        });
        self.dynamic(kind).patch(name, &PatchParams::apply("test").force(), &Patch::Apply(object)).await.unwrap();
    }

    pub(crate) fn dynamic(&self, kind: &str) -> Api<DynamicObject> {
        let resource = ApiResource {
            group: "keyrealm.dev".to_owned(),
            version: "v1alpha1".to_owned(),
            api_version: "keyrealm.dev/v1alpha1".to_owned(),
            kind: kind.to_owned(),
            plural: format!("{}s", kind.to_lowercase()),
        };
        Api::namespaced_with(self.client.clone(), &self.namespace, &resource)
    }

    pub(crate) async fn delete(&self, kind: &str, name: &str) {
        self.dynamic(kind).delete(name, &DeleteParams::default()).await.unwrap();
    }

    /// As somebody does who has no patience.
    pub(crate) async fn force_away(&self, kind: &str, name: &str) {
        let none = Patch::Merge(json!({"metadata": {"finalizers": null}}));
        self.dynamic(kind).patch(name, &PatchParams::default(), &none).await.unwrap();
        self.delete(kind, name).await;
        self.gone(kind, name).await;
    }

    pub(crate) async fn gone(&self, kind: &str, name: &str) {
        let api = self.dynamic(kind);
        until(&format!("{kind} {name} goes"), LIMIT, async || api.get_opt(name).await.is_ok_and(|one| one.is_none()))
            .await;
    }

    /// The Ready condition of this generation, if it was said.
    pub(crate) async fn ready(&self, kind: &str, name: &str) -> Option<Condition> {
        let object = self.dynamic(kind).get_opt(name).await.ok()??;
        let conditions = object.data.get("status")?.get("conditions")?.clone();
        let conditions: Vec<Condition> = serde_json::from_value(conditions).unwrap();
        conditions
            .into_iter()
            .find(|one| one.kind == crds::READY && Some(one.observed_generation) == object.metadata.generation)
    }

    /// Waits until Ready has this reason.
    pub(crate) async fn stands(&self, kind: &str, name: &str, reason: &str) {
        let began = Instant::now();
        loop {
            let ready = self.ready(kind, name).await;
            if ready.as_ref().is_some_and(|ready| ready.reason == reason) {
                return;
            }
            assert!(began.elapsed() < LIMIT, "{}: {kind} {name} is not {reason}: {ready:?}", self.namespace);
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    pub(crate) async fn deployment_id(&self, realm: &str) -> String {
        self.api::<Realm>().get(realm).await.unwrap().status.unwrap().deployment_id.unwrap()
    }

    pub(crate) async fn tenant_id(&self, tenant: &str) -> String {
        self.api::<Tenant>().get(tenant).await.unwrap().status.unwrap().tenant_id.unwrap()
    }

    /// All objects that are the operator's, as `Kind/name`.
    pub(crate) async fn objects(&self) -> BTreeSet<String> {
        let mut all = BTreeSet::new();
        let ours = ListParams::default().labels("app.kubernetes.io/managed-by=keyrealm-operator");
        for (group, version, kind, plural) in [
            ("", "v1", "Secret", "secrets"),
            ("", "v1", "ConfigMap", "configmaps"),
            ("", "v1", "Service", "services"),
            ("", "v1", "ServiceAccount", "serviceaccounts"),
            ("apps", "v1", "Deployment", "deployments"),
            ("apps", "v1", "StatefulSet", "statefulsets"),
            ("policy", "v1", "PodDisruptionBudget", "poddisruptionbudgets"),
            ("networking.k8s.io", "v1", "NetworkPolicy", "networkpolicies"),
            ("keyrealm.dev", "v1alpha1", "Realm", "realms"),
            ("keyrealm.dev", "v1alpha1", "Tenant", "tenants"),
        ] {
            let resource = ApiResource {
                group: group.to_owned(),
                version: version.to_owned(),
                api_version: if group.is_empty() { version.to_owned() } else { format!("{group}/{version}") },
                kind: kind.to_owned(),
                plural: plural.to_owned(),
            };
            let api = Api::<DynamicObject>::namespaced_with(self.client.clone(), &self.namespace, &resource);
            let list = api.list_metadata(&ours).await.unwrap();
            all.extend(list.items.iter().map(|one| format!("{kind}/{}", one.name_any())));
        }
        all
    }

    /// What the operator's Secrets hold, by `name/key`. Of a client's Secret the secret alone: it has an end for the former
    /// one, too, which comes.
    pub(crate) async fn secrets(&self) -> BTreeMap<String, Vec<u8>> {
        let ours = ListParams::default().labels("app.kubernetes.io/managed-by=keyrealm-operator");
        let list = self.api::<Secret>().list(&ours).await.unwrap();
        let mut all = BTreeMap::new();
        for secret in list.items {
            let name = secret.name_any();
            for (key, value) in secret.data.unwrap_or_default() {
                if key != "client_secret_previous" && key != "client_secret_previous_until" {
                    all.insert(format!("{name}/{key}"), value.0);
                }
            }
        }
        all
    }

    /// All schemas of the database that are not its own.
    pub(crate) async fn schemas(&self) -> BTreeSet<String> {
        let query = "SELECT nspname::text FROM pg_namespace WHERE nspname !~ '^(pg_|information_schema$|public$)'";
        self.texts(query).await.into_iter().collect()
    }

    /// All roles of a deployment.
    pub(crate) async fn roles(&self, deployment: &str) -> BTreeSet<String> {
        let suffix = &deployment[deployment.len() - 8..];
        let query = format!("SELECT rolname::text FROM pg_roles WHERE rolname::text LIKE '%\\_{suffix}'");
        self.texts(&query).await.into_iter().collect()
    }

    pub(crate) async fn texts(&self, query: &str) -> Vec<String> {
        let server: &PostgresServer = self.database.server();
        let mut connection = server.connect(self.database.name(), "postgres", &server.password).await;
        sqlx::query_scalar(sqlx::AssertSqlSafe(query.to_owned())).fetch_all(&mut connection).await.unwrap()
    }

    pub(crate) async fn end(self) {
        // No operator is there any more to let go of them.
        let none = Patch::Merge(json!({"metadata": {"finalizers": null}}));
        for kind in ["Tenant", "Realm"] {
            for one in self.dynamic(kind).list(&ListParams::default()).await.map(|list| list.items).unwrap_or_default()
            {
                let _ = self.dynamic(kind).patch(&one.name_any(), &PatchParams::default(), &none).await;
            }
        }
        let _ = Api::<Namespace>::all(self.client.clone()).delete(&self.namespace, &DeleteParams::default()).await;
    }
}

/// Waits until something is so.
pub(crate) async fn until(what: &str, limit: Duration, mut holds: impl AsyncFnMut() -> bool) {
    let began = Instant::now();
    while !holds().await {
        assert!(began.elapsed() < limit, "not within {limit:?}: {what}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}
