//! An identity server over TLS, and a browser for its pages.
#![allow(dead_code, reason = "each test file uses its part")]

use std::collections::BTreeMap;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::{Method, header};
use identity::seed::{DemoCredentials, REDIRECT_URI, declare_demo};
use identity::{Config, Deps, Running, Server};
use keyrealm_barrier::UnsealKey;
use keyrealm_base::{SharedClock, TenantId};
use keyrealm_crypto::{SystemRandom, sha256};
use keyrealm_http::Sockets;
use keyrealm_http::client::{Answer, HttpsClient};
use keyrealm_jose::b64;
use keyrealm_registry::Registrar;
use keyrealm_store::{Database, Product, Sql, StatementHook};
use keyrealm_testkit::{On, TestClock, TestDatabase, TestTls};
use scraper::{Html, Selector};
use serde_json::Value;
use url::Url;

pub(crate) const WEB: &str = "demo-confidential-client";
pub(crate) const VERIFIER: &str = "abcdefghijklmnopqrstuvwxyz-0123456789._~ABCDEF";

pub(crate) struct Realm {
    pub(crate) tls: TestTls,
    pub(crate) clock: TestClock,
    pub(crate) database: Arc<Database>,
    pub(crate) client: HttpsClient,
    pub(crate) credentials: DemoCredentials,
    pub(crate) tenants: Vec<TenantId>,
    pub(crate) issuer: Url,
    pub(crate) running: Option<Running>,
    pub(crate) config: Config,
    pub(crate) test: TestDatabase,
    pub(crate) unseal: Vec<u8>,
}

impl Realm {
    pub(crate) async fn start(on: On) -> Self {
        Self::start_with(on, None).await
    }

    pub(crate) async fn start_with(on: On, hook: Option<StatementHook>) -> Self {
        Self::start_changed(on, hook, |_| ()).await
    }

    pub(crate) async fn start_changed(on: On, hook: Option<StatementHook>, change: impl FnOnce(&mut Config)) -> Self {
        let (tls, clock, test) = (TestTls::new(), TestClock::default(), TestDatabase::new(on).await);
        let shared: SharedClock = Arc::new(clock.clone());
        let database = test.open(Product::Identity, hook).await;
        let registrar = Registrar::new(Arc::clone(&database), Arc::clone(&shared), Arc::new(SystemRandom));
        registrar.ensure_deployment("").await.unwrap();
        let credentials = DemoCredentials::documented();
        let tenants = declare_demo(&registrar, &credentials, &SystemRandom).await.unwrap();
        let tenants = tenants.iter().map(|tenant| tenant.id).collect();
        let sockets = Sockets::bind("127.0.0.1:0", "127.0.0.1:0", "127.0.0.1:0").await.unwrap();
        let issuer = format!("https://localhost:{}", sockets.addresses().unwrap().public.port());
        let mut config = Config::default();
        config.server.public_url.clone_from(&issuer);
        config.tokens.audience = "https://kms.keyrealm.local".to_owned();
        config.tls.certificate = tls.path("cert.pem");
        config.tls.key = tls.path("key.pem");
        config.tls.ca = tls.path("ca.pem");
        config.database = test.settings(Product::Identity);
        let unseal = UnsealKey::generate(&SystemRandom).expose().to_vec();
        config.barrier.unseal_key_file = tls.private_file("unseal", &unseal);
        change(&mut config);
        let deps = Deps { database: Arc::clone(&database), clock: shared, random: Arc::new(SystemRandom), sockets };
        let running = Some(Server::start(config.clone(), deps).await.unwrap());
        let client = tls.client();
        let issuer = issuer.parse().unwrap();
        Self { tls, clock, database, client, credentials, tenants, issuer, running, config, test, unseal }
    }

    /// Another process on the database of `test`: the same realm at the same address.
    pub(crate) async fn attach(test: TestDatabase, unseal: Vec<u8>, port: u16, hook: StatementHook) -> Self {
        let (tls, clock) = (TestTls::new(), TestClock::default());
        let database = test.open(Product::Identity, Some(hook)).await;
        let mut config = Config::default();
        config.server.public_url = format!("https://localhost:{port}");
        config.tokens.audience = "https://kms.keyrealm.local".to_owned();
        config.tls.certificate = tls.path("cert.pem");
        config.tls.key = tls.path("key.pem");
        config.tls.ca = tls.path("ca.pem");
        config.database = test.settings(Product::Identity);
        config.barrier.unseal_key_file = tls.private_file("unseal", &unseal);
        let public = format!("127.0.0.1:{port}");
        let sockets = Sockets::bind(&public, "127.0.0.1:0", "127.0.0.1:0").await.unwrap();
        let random = Arc::new(SystemRandom);
        let deps = Deps { database: Arc::clone(&database), clock: Arc::new(clock.clone()), random, sockets };
        let running = Some(Server::start(config.clone(), deps).await.unwrap());
        let (client, credentials) = (tls.client(), DemoCredentials::documented());
        let issuer = config.server.public_url.parse().unwrap();
        let mut tx = database.control().await.unwrap();
        let tenants = keyrealm_registry::tenants::list(&mut tx).await.unwrap().iter().map(|tenant| tenant.id).collect();
        drop(tx);
        Self { tls, clock, database, client, credentials, tenants, issuer, running, config, test, unseal }
    }

    /// Ends the server and lets go of the database, runs `meanwhile`, which may start another process on it, and starts again.
    pub(crate) async fn suspend(&mut self, meanwhile: impl AsyncFnOnce(&Self)) {
        self.restart(async |realm| {
            realm.database.close().await;
            // The folder's lock goes with the last handle.
            let empty = tempfile::tempdir().unwrap();
            realm.database = Database::open_sqlite(empty.path(), None).unwrap();
            meanwhile(realm).await;
            realm.database = realm.test.open(Product::Identity, None).await;
            // A database that was opened is bound to its deployment by the registrar.
            realm.registrar().ensure_deployment("").await.unwrap();
        })
        .await;
    }

    /// Ends the server, runs `meanwhile`, and starts it again at the same address with what `meanwhile` made of its settings.
    pub(crate) async fn restart(&mut self, meanwhile: impl AsyncFnOnce(&mut Self)) {
        let addresses = self.running.as_ref().unwrap().addresses();
        self.running.take().unwrap().shutdown().await;
        meanwhile(self).await;
        let sockets = Sockets::bind(&addresses.public.to_string(), "127.0.0.1:0", "127.0.0.1:0").await.unwrap();
        let clock: SharedClock = Arc::new(self.clock.clone());
        let deps = Deps { database: Arc::clone(&self.database), clock, random: Arc::new(SystemRandom), sockets };
        self.running = Some(Server::start(self.config.clone(), deps).await.unwrap());
        // The connections of before are gone.
        self.client = self.tls.client();
    }

    pub(crate) fn registrar(&self) -> Registrar {
        Registrar::new(Arc::clone(&self.database), Arc::new(self.clock.clone()), Arc::new(SystemRandom))
    }

    /// Declares one object of a tenant.
    pub(crate) async fn declare(&self, tenant: usize, kind: &'static str, name: &str, spec: Value) {
        let entries = [(kind, name.to_owned(), spec)];
        self.registrar().declare(self.tenants[tenant], Product::Identity, entries).await.unwrap();
    }

    /// What is declared of an object.
    pub(crate) async fn declared(&self, tenant: usize, name: &str) -> Value {
        let sql = Sql::new("SELECT spec FROM {s}desired WHERE tenant = $1 AND name = $2 AND product = 'identity'");
        let mut tx = self.database.control().await.unwrap();
        let row = tx.fetch_one(sql.bind(self.tenants[tenant]).bind(name)).await.unwrap().unwrap();
        serde_json::from_str(&row.get::<String>("spec").unwrap()).unwrap()
    }

    /// Declares an object with some members changed, and waits until it is so.
    pub(crate) async fn change(&self, tenant: usize, kind: &'static str, name: &str, members: Value) {
        let mut spec = self.declared(tenant, name).await;
        spec.as_object_mut().unwrap().extend(members.as_object().unwrap().clone());
        let hash = keyrealm_registry::spec_hash(&spec, keyrealm_crypto::sha256_hex);
        self.declare(tenant, kind, name, spec).await;
        self.observed(tenant, name, |seen| seen["spec_hash"] == hash.as_str() && seen["status"] == "ready").await;
    }

    /// Waits until what is observed of an object is as it should be.
    pub(crate) async fn observed(&self, tenant: usize, name: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        let columns = ["spec_hash", "status", "reason", "message", "object_id"];
        let began = std::time::Instant::now();
        loop {
            let sql = Sql::new(
                "SELECT spec_hash, status, reason, message, object_id FROM {s}observed WHERE tenant = $1 AND name = $2",
            );
            let mut tx = self.database.control().await.unwrap();
            let row = tx.fetch_one(sql.bind(self.tenants[tenant]).bind(name)).await.unwrap();
            drop(tx);
            let seen: Value = row.map_or(Value::Null, |row| {
                let text = |name: &&'static str| ((*name).to_owned(), row.get::<Option<String>>(name).unwrap().into());
                Value::Object(columns.iter().map(text).collect())
            });
            if wanted(&seen) {
                return seen;
            }
            assert!(began.elapsed() < std::time::Duration::from_secs(30), "{name}: {seen}");
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    }

    pub(crate) fn url(&self, path: &str) -> Url {
        self.issuer.join(path).unwrap()
    }

    pub(crate) fn browser(&self) -> Browser<'_> {
        Browser { realm: self, cookies: BTreeMap::new() }
    }

    /// An authorization request with some parameters changed (an empty value leaves one out).
    pub(crate) fn authorize(&self, client_id: &str, change: &[(&str, &str)]) -> Url {
        let challenge = b64::encode(sha256(VERIFIER.as_bytes()));
        let base = [
            ("client_id", client_id),
            ("redirect_uri", REDIRECT_URI),
            ("response_type", "code"),
            ("scope", "openid profile email kms:read"),
            ("state", "the state"),
            ("nonce", "the nonce"),
            ("code_challenge", &challenge),
            ("code_challenge_method", "S256"),
        ];
        let mut url = self.url("/oauth2/v1/authorize");
        for (name, value) in base.iter().filter(|(name, _)| !change.iter().any(|(own, _)| own == name)).chain(change) {
            if !value.is_empty() {
                url.query_pairs_mut().append_pair(name, value);
            }
        }
        url
    }

    pub(crate) fn basic(&self, client_id: &str) -> String {
        format!("Basic {}", STANDARD.encode(format!("{client_id}:{}", self.credentials.secret(client_id))))
    }

    pub(crate) async fn post(&self, path: &str, client_id: &str, fields: &[(&str, &str)]) -> Answer {
        let basic = self.basic(client_id);
        self.client.post_form(&self.url(path), &[(header::AUTHORIZATION, &basic)], fields).await.unwrap()
    }

    pub(crate) async fn redeem(&self, code: &str) -> Answer {
        let fields = [
            ("grant_type", "authorization_code"),
            ("code", code),
            ("redirect_uri", REDIRECT_URI),
            ("code_verifier", VERIFIER),
        ];
        self.post("/oauth2/v1/token", WEB, &fields).await
    }

    pub(crate) async fn refresh(&self, token: &str) -> Answer {
        self.post("/oauth2/v1/token", WEB, &[("grant_type", "refresh_token"), ("refresh_token", token)]).await
    }

    /// Tokens of demo-admin.
    pub(crate) async fn tokens(&self) -> Value {
        let code = self.browser().code(&self.authorize(WEB, &[]), "demo-admin").await;
        let answer = self.redeem(&code).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        answer.json()
    }

    pub(crate) async fn userinfo(&self, token: &str) -> Answer {
        let bearer = format!("Bearer {token}");
        self.client
            .send(Method::GET, &self.url("/oidc/v1/userinfo"), &[(header::AUTHORIZATION, &bearer)], "".into())
            .await
            .unwrap()
    }

    pub(crate) async fn is_active(&self, token: &str) -> bool {
        let answer = self.post("/oauth2/v1/introspect", WEB, &[("token", token)]).await;
        let body = answer.json();
        if body["active"] == false {
            assert_eq!(body.as_object().unwrap().len(), 1, "nothing more is said of an inactive token");
        }
        body["active"] == true
    }
}

pub(crate) struct Browser<'r> {
    pub(crate) realm: &'r Realm,
    pub(crate) cookies: BTreeMap<String, String>,
}

impl Browser<'_> {
    pub(crate) async fn send(&mut self, method: Method, url: &Url, form: Option<&BTreeMap<String, String>>) -> Answer {
        let cookies = self.cookies.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join("; ");
        let mut headers = vec![(header::COOKIE, cookies.as_str())];
        let mut body = String::new();
        if let Some(form) = form {
            headers.push((header::CONTENT_TYPE, "application/x-www-form-urlencoded"));
            body = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(form).finish();
        }
        let answer = self.realm.client.send(method, url, &headers, body.into()).await.unwrap();
        for set in answer.headers.get_all(header::SET_COOKIE) {
            let text = set.to_str().unwrap();
            assert!(text.starts_with("__Host-") && text.contains("; Path=/; Secure; HttpOnly; SameSite=Lax"), "{text}");
            let (name, value) = text.split(';').next().unwrap().split_once('=').unwrap();
            self.cookies.insert(name.to_owned(), value.to_owned());
        }
        answer
    }

    pub(crate) async fn get(&mut self, url: &Url) -> Answer {
        self.send(Method::GET, url, None).await
    }

    /// The page that a request leads to, with its address.
    pub(crate) async fn page(&mut self, begin: &Url) -> (Url, Answer) {
        let answer = self.get(begin).await;
        let at = location(begin, &answer);
        let page = self.get(&at).await;
        (at, page)
    }

    /// The session's cookie of a tenant.
    pub(crate) fn session(&self, tenant: usize) -> (String, String) {
        let name = format!("__Host-keyrealm-session-{}", self.realm.tenants[tenant].to_string().replace('-', ""));
        let value = self.cookies.get(&name).cloned().unwrap_or_default();
        (name, value)
    }

    /// What `prompt=none` says: the error, or nothing when a code came.
    pub(crate) async fn silent(&mut self, client: &str) -> Option<String> {
        let url = self.realm.authorize(client, &[("prompt", "none")]);
        query(&location(&url, &self.get(&url).await), "error")
    }

    /// Logs in (and agrees where asked) until the browser is sent to the client.
    pub(crate) async fn walk(&mut self, begin: &Url, user: &str) -> Url {
        let mut at = location(begin, &self.get(begin).await);
        while !at.as_str().starts_with("http://localhost:3000/") {
            let page = self.get(&at).await;
            let mut form = form(&page);
            if form.contains_key("password") {
                form.insert("username".into(), user.into());
                form.insert("password".into(), self.realm.credentials.password(user).into());
            } else {
                form.insert("action".into(), "approve".into());
            }
            let answer = self.send(Method::POST, &at, Some(&form)).await;
            at = location(&at, &answer);
        }
        at
    }

    pub(crate) async fn code(&mut self, begin: &Url, user: &str) -> String {
        query(&self.walk(begin, user).await, "code").unwrap()
    }
}

/// Where a redirect leads; never by 307, never without encoding.
pub(crate) fn location(from: &Url, answer: &Answer) -> Url {
    assert_eq!(answer.status, 303, "{}", answer.text());
    from.join(answer.header(&header::LOCATION)).unwrap()
}

pub(crate) fn query(url: &Url, name: &str) -> Option<String> {
    url.query_pairs().find(|(own, _)| own == name).map(|(_, value)| value.into_owned())
}

/// The fields of a page's form.
pub(crate) fn form(page: &Answer) -> BTreeMap<String, String> {
    assert_eq!(page.status, 200, "{}", page.text());
    let html = Html::parse_document(&page.text());
    let inputs = Selector::parse("form input").unwrap();
    html.select(&inputs)
        .map(|input| (input.attr("name").unwrap().to_owned(), input.attr("value").unwrap_or_default().to_owned()))
        .collect()
}

pub(crate) fn error(answer: &Answer) -> String {
    answer.json()["error"].as_str().unwrap_or_default().to_owned()
}
