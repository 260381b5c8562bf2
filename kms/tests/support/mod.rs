//! A KMS over TLS with an issuer beside it.
#![allow(dead_code, reason = "each test file uses its part")]

use std::sync::Arc;

use http::{Method, header};
use keyrealm_barrier::UnsealKey;
use keyrealm_base::{SharedClock, TenantId};
use keyrealm_crypto::{SecretBytes, SystemRandom};
use keyrealm_http::Sockets;
use keyrealm_http::client::{Answer, ClientOptions, HttpsClient};
use keyrealm_registry::Registrar;
use keyrealm_store::{Database, Product, StatementHook};
use keyrealm_testkit::{On, TestClock, TestDatabase, TestIssuer, TestTls};
use kms::{Config, Deps, Issuer, Running, Server};
use serde_json::{Value, json};
use url::Url;

pub(crate) const AUDIENCE: &str = "https://kms.keyrealm.local";

pub(crate) struct Kms {
    pub(crate) tls: TestTls,
    pub(crate) clock: TestClock,
    pub(crate) issuer: TestIssuer,
    pub(crate) database: Arc<Database>,
    pub(crate) running: Option<Running>,
    pub(crate) client: HttpsClient,
    pub(crate) tenants: Vec<TenantId>,
    pub(crate) test: TestDatabase,
    pub(crate) unseal: SecretBytes,
}

impl Kms {
    pub(crate) async fn start(on: On) -> Self {
        Self::start_with(on, None).await
    }

    pub(crate) async fn start_with(on: On, hook: Option<StatementHook>) -> Self {
        Self::attach(TestDatabase::new(on).await, UnsealKey::generate(&SystemRandom), hook).await
    }

    /// On PostgreSQL with another lease.
    pub(crate) async fn start_leased(seconds: u32) -> Self {
        let mut test = TestDatabase::new(On::Postgres).await;
        test.lease_seconds = seconds;
        Self::attach(test, UnsealKey::generate(&SystemRandom), None).await
    }

    /// On a database that may have been used before, such as by the parent of this process.
    pub(crate) async fn attach(test: TestDatabase, unseal: SecretBytes, hook: Option<StatementHook>) -> Self {
        let (tls, clock) = (TestTls::new(), TestClock::default());
        let shared: SharedClock = Arc::new(clock.clone());
        let issuer = TestIssuer::start(&tls, shared, AUDIENCE).await;
        let database = test.open(Product::Kms, hook).await;
        let client = tls.client();
        let mut kms = Self { tls, clock, issuer, database, running: None, client, tenants: vec![], test, unseal };
        kms.launch().await;
        kms
    }

    async fn launch(&mut self) {
        let clock: SharedClock = Arc::new(self.clock.clone());
        let registrar = Registrar::new(Arc::clone(&self.database), Arc::clone(&clock), Arc::new(SystemRandom));
        registrar.ensure_deployment("").await.unwrap();
        self.tenants = kms::seed::declare_demo(&registrar).await.unwrap().iter().map(|tenant| tenant.id).collect();
        self.running = Some(self.server(Arc::clone(&self.database)).await);
    }

    pub(crate) async fn server(&self, database: Arc<Database>) -> Running {
        let deps = Deps {
            database,
            clock: Arc::new(self.clock.clone()),
            random: Arc::new(SystemRandom),
            sockets: Sockets::bind("127.0.0.1:0", "127.0.0.1:0", "127.0.0.1:0").await.unwrap(),
            client: ClientOptions::default(),
        };
        // On the heap: unoptimised, the future is too large for a stack in a stack.
        Box::pin(Server::start(self.config(), deps)).await.unwrap()
    }

    /// A second process on the same database (PostgreSQL); the answer is where it listens.
    pub(crate) async fn replica(&self) -> (Running, Url) {
        let running = self.server(self.test.open(Product::Kms, None).await).await;
        let url = format!("https://localhost:{}", running.addresses().public.port()).parse().unwrap();
        (running, url)
    }

    pub(crate) fn config(&self) -> Config {
        let mut config = Config::default();
        config.server.public_url = AUDIENCE.to_owned();
        config.tls.certificate = self.tls.path("cert.pem");
        config.tls.key = self.tls.path("key.pem");
        config.tls.ca = self.tls.path("ca.pem");
        config.database = self.test.settings(Product::Kms);
        config.barrier.unseal_key_file = self.tls.private_file("unseal", self.unseal.expose());
        config.auth.issuers =
            vec![Issuer { issuer: self.issuer.issuer.clone(), jwks_url: self.issuer.jwks_url.clone() }];
        config
    }

    /// Stops, closes the database, does something to it, and starts again.
    pub(crate) async fn restart(&mut self, between: impl AsyncFnOnce(&TestDatabase)) {
        self.suspend(async |kms| between(&kms.test).await).await;
    }

    /// As `restart`; what is done may start another process on the same database.
    pub(crate) async fn suspend(&mut self, between: impl AsyncFnOnce(&Self)) {
        self.stop().await;
        between(self).await;
        self.database = self.test.open(Product::Kms, None).await;
        Box::pin(self.launch()).await;
    }

    async fn stop(&mut self) {
        self.running.take().unwrap().shutdown().await;
        self.database.close().await;
        // The folder's lock goes with the last handle.
        let empty = tempfile::tempdir().unwrap();
        self.database = Database::open_sqlite(empty.path(), None).unwrap();
    }

    pub(crate) fn url(&self, path: &str) -> Url {
        let port = self.running.as_ref().unwrap().addresses().public.port();
        format!("https://localhost:{port}{path}").parse().unwrap()
    }

    pub(crate) fn token(&self, scope: &str) -> String {
        self.issuer.token(self.tenants[0], scope)
    }

    pub(crate) async fn call(&self, token: &str, method: Method, path: &str, body: Option<Value>) -> Answer {
        self.call_at(&self.url(path), token, method, body).await
    }

    pub(crate) async fn call_at(&self, url: &Url, token: &str, method: Method, body: Option<Value>) -> Answer {
        let bearer = format!("Bearer {token}");
        let mut headers = vec![(header::AUTHORIZATION, bearer.as_str())];
        if body.is_some() {
            headers.push((header::CONTENT_TYPE, "application/json"));
        }
        let body = body.map(|body| body.to_string()).unwrap_or_default();
        self.client.send(method, url, &headers, body.into()).await.unwrap()
    }

    pub(crate) async fn post(&self, path: &str, body: Value) -> Answer {
        self.call(&self.token("kms:admin"), Method::POST, path, Some(body)).await
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.call(&self.token("kms:admin"), Method::GET, path, None).await
    }

    /// `/readyz`, with everything that it tells who has a certificate.
    pub(crate) async fn ready(&self) -> Answer {
        let port = self.running.as_ref().unwrap().addresses().admin.port();
        let url = format!("https://localhost:{port}/readyz").parse().unwrap();
        self.tls.client_with_certificate().get(&url).await.unwrap()
    }

    pub(crate) async fn key(&self, name: &str, algorithm: &str) -> String {
        let answer = self.post("/api/v1/keys", json!({"name": name, "algorithm": algorithm})).await;
        assert_eq!(answer.status, 201, "{}", answer.text());
        answer.json()["key_id"].as_str().unwrap().to_owned()
    }
}

pub(crate) fn code(answer: &Answer) -> String {
    answer.json()["type"].as_str().unwrap_or_default().trim_start_matches("/problems/").to_owned()
}
