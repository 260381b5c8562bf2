//! A realm whose servers run in this process, and an operator that works on its Tenants.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crds::client::{Access, ApiServer, Retry};
use crds::{Realm, Tenant};
use http::{Method, header};
use k8s_openapi::api::core::v1::{Namespace, Secret};
use keyrealm_barrier::UnsealKey;
use keyrealm_base::{ObjectId, SystemClock};
use keyrealm_crypto::{SecretBytes, SystemRandom};
use keyrealm_http::client::{Answer, ClientOptions, HttpsClient};
use keyrealm_http::{Sockets, Tasks};
use keyrealm_registry::Registrar;
use keyrealm_store::{Database, Product, RegistrarAccess};
use keyrealm_testkit::{On, TestClock, TestDatabase, TestTls};
use kube::api::{Api, DeleteParams, Patch, PatchParams, PostParams};
use kube::{Client, ResourceExt};
use operator::config::Settings;
use operator::databases::{RealmDatabase, RealmKey};
use operator::failpoint::Failpoint;
use operator::run::{Deps, Parts};
use serde_json::{Value, json};
use tokio::sync::OnceCell;
use url::Url;

const PASSWORDS: [(Product, &str); 2] = [(Product::Kms, "kms-password"), (Product::Identity, "identity-password")];
pub(crate) const AUDIENCE: &str = "https://kms.example.org";

pub(crate) struct World {
    pub(crate) client: Client,
    pub(crate) namespace: String,
    pub(crate) test: TestDatabase,
    pub(crate) parts: Parts,
    /// The operator's.
    pub(crate) clock: TestClock,
    pub(crate) http: HttpsClient,
    pub(crate) issuer: Url,
    pub(crate) kms_url: Url,
    kms: Option<kms::Running>,
    identity: Option<identity::Running>,
    _tasks: Tasks,
    controllers: Tasks,
    _tls: TestTls,
}

fn kubeconfig() -> std::path::PathBuf {
    let path = std::env::var_os("KEYREALM_TEST_KUBECONFIG");
    path.expect("KEYREALM_TEST_KUBECONFIG: a cluster of `cargo xtask cluster --control-plane-only NAME up`").into()
}

impl World {
    pub(crate) async fn new() -> Self {
        Self::on(|access| access).await
    }

    /// With another way to the database for the operator.
    pub(crate) async fn on(way: impl FnOnce(RegistrarAccess) -> RegistrarAccess) -> Self {
        static DEFINED: OnceCell<()> = OnceCell::const_new();
        let mut settings = Settings { kubeconfig: Some(kubeconfig()), ..Settings::default() };
        DEFINED.get_or_init(async || drop(operator::definitions::apply(&settings).await.unwrap())).await;
        let access = Access { kubeconfig: Some(kubeconfig()), context: None };
        let client = ApiServer::find(&access).await.unwrap().client(Retry::None).unwrap();
        let namespace = format!("t-{}", ObjectId::new(&SystemClock, &SystemRandom));
        let object: Namespace = serde_json::from_value(json!({"metadata": {"name": namespace}})).unwrap();
        Api::<Namespace>::all(client.clone()).create(&PostParams::default(), &object).await.unwrap();

        let realm: Realm = serde_json::from_value(json!({
            "apiVersion": "keyrealm.dev/v1alpha1", "kind": "Realm", "metadata": {"name": "main"},
            "spec": {"hostnames": {"kms": "kms.example.org", "identity": "id.example.org"},
                "database": {"external": {"secretRef": {"name": "database"}}}},
        }))
        .unwrap();
        let realms = Api::<Realm>::namespaced(client.clone(), &namespace);
        let realm = realms.create(&PostParams::default(), &realm).await.unwrap();

        settings.watch.namespaces = vec![namespace.clone()];
        settings.lease.enabled = false;
        let clock = TestClock::default();
        let deps = Deps {
            clock: Arc::new(clock.clone()),
            random: Arc::new(SystemRandom),
            failpoint: Failpoint::none(),
            controllers: operator::controller::start,
            record: true,
            told: Some(crate::calls::keep),
        };
        let parts = Parts::new(settings, &deps).await.unwrap();
        let (mut tasks, mut controllers) = (Tasks::default(), Tasks::default());
        parts.watch(&mut tasks);
        let context = Arc::clone(&parts.context);
        tokio::time::timeout(Duration::from_secs(20), context.stores.wait_until_ready()).await.unwrap();
        tasks.spawn("databases", operator::controller::follow_databases(Arc::clone(&context)));

        let test = TestDatabase::new(On::Postgres).await;
        let key = RealmKey { namespace: namespace.clone(), name: "main".to_owned() };
        let uid = realm.uid().unwrap();
        let database = context.databases.ensure(&key, way(test.registrar_access()), &uid).await.unwrap();
        let passwords = PASSWORDS.map(|(product, text)| (product, SecretBytes::copy_of(text.as_bytes())));
        database.registrar.ensure_logins(&passwords).await.unwrap();
        database.registrar.ensure_realm_schemas().await.unwrap();
        database.refresh().await;

        let tls = TestTls::new();
        let http = tls.client();
        let (identity, issuer) = identity_server(&test, &tls, &database).await;
        let (kms, kms_url) = kms_server(&test, &tls, &database, &issuer).await;
        operator::controller::work::<Tenant, _, _, _>(&mut controllers, &context, operator::tenant::reconciler());
        Self {
            client,
            namespace,
            test,
            parts,
            clock,
            http,
            issuer,
            kms_url,
            kms: Some(kms),
            identity: Some(identity),
            _tasks: tasks,
            controllers,
            _tls: tls,
        }
    }

    /// Work on Tenants ends, the clock goes on, and work begins anew, without anything that was remembered.
    pub(crate) async fn restart(&mut self, away: Duration) {
        std::mem::take(&mut self.controllers).shutdown().await;
        self.clock.advance(away);
        let reconciler = operator::tenant::reconciler();
        operator::controller::work::<Tenant, _, _, _>(&mut self.controllers, &self.parts.context, reconciler);
    }

    pub(crate) fn tenants(&self) -> Api<Tenant> {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    pub(crate) fn secrets(&self) -> Api<Secret> {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    pub(crate) async fn apply(&self, name: &str, spec: Value) {
        let mut spec = spec;
        spec["realmRef"] = json!({"name": "main"});
        let object =
            json!({"apiVersion": "keyrealm.dev/v1alpha1", "kind": "Tenant", "metadata": {"name": name}, "spec": spec});
        self.tenants().patch(name, &PatchParams::apply("test").force(), &Patch::Apply(object)).await.unwrap();
    }

    pub(crate) async fn annotate(&self, name: &str, key: &str, value: &str) {
        let patch = Patch::Merge(json!({"metadata": {"annotations": {key: value}}}));
        self.tenants().patch(name, &PatchParams::default(), &patch).await.unwrap();
    }

    pub(crate) fn realm(&self) -> RealmKey {
        RealmKey { namespace: self.namespace.clone(), name: "main".to_owned() }
    }

    pub(crate) async fn delete(&self, name: &str) {
        self.tenants().delete(name, &DeleteParams::default()).await.unwrap();
        self.goes(name).await;
    }

    pub(crate) async fn goes(&self, name: &str) {
        until(&format!("{name} goes"), Duration::from_secs(30), async || {
            self.tenants().get_opt(name).await.unwrap().is_none()
        })
        .await;
    }

    /// Waits until Ready has this reason at the present generation.
    pub(crate) async fn stands(&self, name: &str, reason: &str) -> Tenant {
        let began = Instant::now();
        loop {
            let tenant = self.tenants().get(name).await.unwrap();
            let status = tenant.status.clone().unwrap_or_default();
            let ready = status.conditions.iter().find(|one| one.kind == "Ready");
            if status.observed_generation == tenant.metadata.generation && ready.is_some_and(|one| one.reason == reason)
            {
                return tenant;
            }
            assert!(began.elapsed() < Duration::from_secs(45), "{name} is not {reason}: {status:#?}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    pub(crate) async fn secret(&self, name: &str) -> Secret {
        self.secrets().get(name).await.unwrap()
    }

    /// A token of a client for itself.
    pub(crate) async fn token(&self, client_id: &str, secret: &str, scope: &str) -> Result<String, Answer> {
        let fields = [
            ("client_id", client_id),
            ("client_secret", secret),
            ("grant_type", "client_credentials"),
            ("scope", scope),
        ];
        let answer = self.http.post_form(&self.issuer.join("/oauth2/v1/token").unwrap(), &[], &fields).await.unwrap();
        if answer.status == 200 { Ok(answer.json()["access_token"].as_str().unwrap().to_owned()) } else { Err(answer) }
    }

    pub(crate) async fn kms(&self, token: &str, method: Method, path: &str, body: Option<Value>) -> Answer {
        let bearer = format!("Bearer {token}");
        let mut headers = vec![(header::AUTHORIZATION, bearer.as_str())];
        if body.is_some() {
            headers.push((header::CONTENT_TYPE, "application/json"));
        }
        let body = body.map(|body| body.to_string()).unwrap_or_default();
        self.http.send(method, &self.kms_url.join(path).unwrap(), &headers, body.into()).await.unwrap()
    }

    /// One number from the database, by its superuser.
    pub(crate) async fn count(&self, query: &str) -> i64 {
        let server = self.test.server();
        let mut connection = server.connect(self.test.name(), "postgres", &server.password).await;
        sqlx::query_scalar(sqlx::AssertSqlSafe(query.to_owned())).fetch_one(&mut connection).await.unwrap()
    }

    /// How many schemas a tenant has.
    pub(crate) async fn schemas(&self, id: &str) -> i64 {
        let hex = id.replace('-', "");
        self.count(&format!("SELECT count(*) FROM pg_namespace WHERE nspname LIKE '%{hex}'")).await
    }

    pub(crate) async fn end(mut self) {
        let _ = Api::<Namespace>::all(self.client.clone()).delete(&self.namespace, &DeleteParams::default()).await;
        if let Some(kms) = self.kms.take() {
            kms.shutdown().await;
        }
        if let Some(identity) = self.identity.take() {
            identity.shutdown().await;
        }
    }
}

/// A product under the login that the registrar made.
async fn product(
    test: &TestDatabase,
    realm: &RealmDatabase,
    product: Product,
) -> (Arc<Database>, keyrealm_config::Database) {
    let names = realm.registrar.login_names().unwrap();
    let login = &names.iter().find(|(own, _)| *own == product).unwrap().1;
    let password = PASSWORDS.iter().find(|(own, _)| *own == product).unwrap().1;
    let settings = test.settings_with(product, login, password);
    let database = Database::open(&settings, product, None).await.unwrap();
    let registrar = Registrar::new(Arc::clone(&database), Arc::new(SystemClock), Arc::new(SystemRandom));
    registrar.ensure_deployment("").await.unwrap();
    (database, settings)
}

async fn sockets() -> Sockets {
    Sockets::bind("127.0.0.1:0", "127.0.0.1:0", "127.0.0.1:0").await.unwrap()
}

async fn identity_server(test: &TestDatabase, tls: &TestTls, realm: &RealmDatabase) -> (identity::Running, Url) {
    let (database, settings) = product(test, realm, Product::Identity).await;
    let sockets = sockets().await;
    let issuer = format!("https://localhost:{}", sockets.addresses().unwrap().public.port());
    let mut config = identity::Config::default();
    config.server.public_url.clone_from(&issuer);
    config.tokens.audience = AUDIENCE.to_owned();
    (config.tls.certificate, config.tls.key, config.tls.ca) =
        (tls.path("cert.pem"), tls.path("key.pem"), tls.path("ca.pem"));
    config.database = settings;
    let unseal = UnsealKey::generate(&SystemRandom);
    config.barrier.unseal_key_file = tls.private_file("identity-unseal", unseal.expose());
    let deps = identity::Deps { database, clock: Arc::new(SystemClock), random: Arc::new(SystemRandom), sockets };
    let running = Box::pin(identity::Server::start(config, deps)).await.unwrap();
    (running, issuer.parse().unwrap())
}

async fn kms_server(test: &TestDatabase, tls: &TestTls, realm: &RealmDatabase, issuer: &Url) -> (kms::Running, Url) {
    let (database, settings) = product(test, realm, Product::Kms).await;
    let mut config = kms::Config::default();
    config.server.public_url = AUDIENCE.to_owned();
    (config.tls.certificate, config.tls.key, config.tls.ca) =
        (tls.path("cert.pem"), tls.path("key.pem"), tls.path("ca.pem"));
    config.database = settings;
    let unseal = UnsealKey::generate(&SystemRandom);
    config.barrier.unseal_key_file = tls.private_file("kms-unseal", unseal.expose());
    let text = issuer.as_str().trim_end_matches('/').to_owned();
    let jwks_url = format!("{text}/oauth2/v1/jwks");
    config.auth.issuers = vec![kms::Issuer { issuer: text, jwks_url: jwks_url.parse().unwrap() }];
    let deps = kms::Deps {
        database,
        clock: Arc::new(SystemClock),
        random: Arc::new(SystemRandom),
        sockets: sockets().await,
        client: ClientOptions::default(),
    };
    let running = Box::pin(kms::Server::start(config, deps)).await.unwrap();
    let url = format!("https://localhost:{}", running.addresses().public.port()).parse().unwrap();
    (running, url)
}

pub(crate) fn text(secret: &Secret, key: &str) -> Option<String> {
    let value = secret.data.as_ref()?.get(key)?;
    Some(String::from_utf8(value.0.clone()).unwrap())
}

/// Waits until something is so.
pub(crate) async fn until(what: &str, limit: Duration, mut holds: impl AsyncFnMut() -> bool) {
    let began = Instant::now();
    while !holds().await {
        assert!(began.elapsed() < limit, "not within {limit:?}: {what}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
