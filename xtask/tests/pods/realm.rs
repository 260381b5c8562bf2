//! KMS and Identity of one realm in a namespace of its own: made once, used by every test.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use http::{Method, header};
use identity::seed::DemoCredentials;
use keyrealm_barrier::UnsealKey;
use keyrealm_base::{Clock, ObjectId, SystemClock};
use keyrealm_crypto::SystemRandom;
use keyrealm_http::client::{Answer, ClientOptions, HttpsClient};
use keyrealm_pki::{CaChain, ChainSpec, LeafSpec, LeafUsage, NameStyle};
use keyrealm_store::Product;
use keyrealm_testkit::{PostgresServer, TestDatabase};
use keyrealm_tls::{TrustBundle, client_config, write_private, write_public};
use serde_json::{Value, json};
use tempfile::TempDir;
use url::Url;

use crate::cluster::Cluster;
use crate::manifests::{deployment, namespace, service, texts};

/// Identity first: the KMS reads its key set.
pub(crate) const PRODUCTS: [&str; 2] = ["identity", "kms"];
/// The demo's web application may do anything with keys.
const CLIENT: &str = "demo-confidential-client";

/// The name that callers know a product by.
pub(crate) fn host(product: &str) -> String {
    format!("{}.demo.localhost", if product == "kms" { "kms" } else { "id" })
}

/// The port of a product's URL and Service.
pub(crate) fn service_port(product: &str) -> u16 {
    if product == "kms" { 8081 } else { 8082 }
}

/// The port of its public listener in the pod.
pub(crate) fn container_port(product: &str) -> u16 {
    if product == "kms" { 8080 } else { 8082 }
}

/// A realm that runs.
pub(crate) struct Realm {
    pub(crate) cluster: Cluster,
    pub(crate) namespace: String,
    folder: TempDir,
    chain: CaChain,
    database: TestDatabase,
    credentials: DemoCredentials,
    services: HashMap<String, SocketAddr>,
}

impl Realm {
    /// The realm of this run; made by the first test that asks.
    pub(crate) fn get() -> &'static Self {
        static REALM: OnceLock<Realm> = OnceLock::new();
        REALM.get_or_init(|| {
            // Apart from the runtime of the test that happens to be the first.
            std::thread::spawn(|| tokio::runtime::Runtime::new().unwrap().block_on(Self::make())).join().unwrap()
        })
    }

    async fn make() -> Self {
        let cluster = Cluster::new();
        let namespace = format!("realm-{}", ObjectId::new(&SystemClock, &SystemRandom));
        let folder = tempfile::tempdir().unwrap();
        let style = NameStyle::Fqdn { prefix: "demo.keyrealm.local".to_owned() };
        let chain = CaChain::generate(&ChainSpec::new(style), &SystemClock, &SystemRandom).unwrap();
        write_public(&folder.path().join("ca.pem"), chain.trust_bundle_pem().as_bytes()).unwrap();
        let credentials = DemoCredentials::generate(&SystemRandom);
        let text = serde_json::to_string(&credentials).unwrap();
        write_private(&folder.path().join("credentials.json"), text.as_bytes()).unwrap();
        let server = PostgresServer::at(&cluster.folder().join("postgres")).unwrap();
        let database = TestDatabase::on_server(server).await;
        let mut realm = Self { cluster, namespace, folder, chain, database, credentials, services: HashMap::new() };
        realm.apply(&text);
        for product in PRODUCTS {
            realm.rolled_out(product);
            let service = realm.cluster.json(&["--namespace", &realm.namespace, "get", "service", product]);
            let address: IpAddr = service["spec"]["clusterIP"].as_str().unwrap().parse().unwrap();
            let port = service_port(product);
            realm.services.insert(format!("{}:{port}", host(product)), SocketAddr::new(address, port));
        }
        realm
    }

    fn apply(&self, credentials: &str) {
        let name = &self.namespace;
        let mut objects =
            vec![namespace(name), texts("Secret", name, "demo", &[("credentials.json", credentials.to_owned())])];
        for product in PRODUCTS {
            let unseal = String::from_utf8(UnsealKey::generate(&SystemRandom).expose().to_vec()).unwrap();
            let database = std::fs::read_to_string(self.database.settings(of(product)).postgres.unwrap().ca).unwrap();
            let password = std::fs::read_to_string(self.database.password_file()).unwrap();
            objects.push(texts("ConfigMap", name, product, &[("config.yml", self.config(product).to_string())]));
            objects.push(self.certificate(product));
            objects.push(texts("Secret", name, &format!("{product}-unseal"), &[("key", unseal)]));
            let files = [("ca.crt", database), ("password", password)];
            objects.push(texts("Secret", name, &format!("{product}-database"), &files));
            objects.push(service(name, product));
        }
        self.cluster.apply(&objects);
        let demo: &[&str] = &["--demo", "--demo-credentials", "/demo-credentials/credentials.json"];
        self.cluster.apply(&[deployment(name, "identity", demo), deployment(name, "kms", &["--demo"])]);
    }

    /// JSON is YAML.
    fn config(&self, product: &str) -> Value {
        let any = |port: u16| json!({"address": format!("0.0.0.0:{port}")});
        let mut settings = self.database.settings(of(product));
        if let Some(postgres) = &mut settings.postgres {
            (postgres.password_file, postgres.ca) = ("/database/password".into(), "/database/ca.crt".into());
        }
        if let Some(registrar) = &mut settings.registrar {
            registrar.password_file = "/database/password".into();
        }
        let mtls = if product == "kms" { 8443 } else { 8444 };
        let mut config = json!({
            "server": {"public_url": self.url(product), "public": any(container_port(product)), "mtls": any(mtls),
                "admin": any(9090)},
            "tls": {"certificate": "/tls/tls.crt", "key": "/tls/tls.key", "ca": "/tls/ca.crt"},
            "database": settings, "barrier": {"unseal_key_file": "/unseal/key"},
            "telemetry": {"format": "json"},
        });
        if product == "kms" {
            // By the name of the Service: the issuer's own name means nothing in here.
            let jwks = format!("https://identity.{}.svc:8444/oauth2/v1/jwks", self.namespace);
            config["auth"] = json!({"issuers": [{"issuer": self.url("identity"), "jwks_url": jwks}]});
        } else {
            config["tokens"] = json!({"audience": self.url("kms")});
        }
        config
    }

    /// A Secret with a fresh certificate under all names of a product.
    fn certificate(&self, product: &str) -> Value {
        let mut spec = LeafSpec::new(host(product), LeafUsage::ServerAndClient).and_loopback();
        spec.dns.push(format!("{product}.{}.svc", self.namespace));
        let leaf = self.chain.issue_leaf(&spec, &SystemClock, &SystemRandom).unwrap();
        let files = [
            ("tls.crt", leaf.chain_pem.clone()),
            ("tls.key", leaf.key_pem.to_string()),
            ("ca.crt", self.chain.trust_bundle_pem()),
        ];
        texts("Secret", &self.namespace, &format!("{product}-tls"), &files)
    }

    pub(crate) fn replace_certificates(&self) {
        self.cluster.apply(&PRODUCTS.map(|product| self.certificate(product)));
    }

    pub(crate) fn url(&self, product: &str) -> String {
        format!("https://{}:{}", host(product), service_port(product))
    }

    /// A file for callers.
    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// kubectl in the realm's namespace.
    pub(crate) fn kubectl(&self, arguments: &[&str]) -> String {
        self.cluster.kubectl(&[&["--namespace", self.namespace.as_str()], arguments].concat())
    }

    /// Waits until every replica is of the newest kind and ready.
    pub(crate) fn rolled_out(&self, product: &str) {
        self.kubectl(&["rollout", "status", &format!("deployment/{product}"), "--timeout=120s"]);
    }

    fn pod_objects(&self) -> Vec<Value> {
        let mut list = self.cluster.json(&["--namespace", &self.namespace, "get", "pods", "--sort-by=.metadata.name"]);
        list["items"].take().as_array().unwrap().clone()
    }

    /// The names of all pods.
    pub(crate) fn pods(&self) -> Vec<String> {
        self.pod_objects().iter().map(|pod| pod["metadata"]["name"].as_str().unwrap().to_owned()).collect()
    }

    /// Every pod, and how often its container was started anew.
    pub(crate) fn restarts(&self) -> Vec<(String, u64)> {
        let restarts = |pod: &Value| {
            let name = pod["metadata"]["name"].as_str().unwrap().to_owned();
            (name, pod["status"]["containerStatuses"][0]["restartCount"].as_u64().unwrap())
        };
        self.pod_objects().iter().map(restarts).collect()
    }

    /// Fails unless the pods are those of before and none of their containers was started anew; says why one was.
    pub(crate) fn assert_not_restarted(&self, before: &[(String, u64)]) {
        let now = self.restarts();
        if now == before {
            return;
        }
        let mut reasons = String::new();
        for pod in self.pod_objects() {
            let (name, status) = (pod["metadata"]["name"].as_str().unwrap(), &pod["status"]["containerStatuses"][0]);
            if status["restartCount"] == 0
                || before.contains(&(name.to_owned(), status["restartCount"].as_u64().unwrap()))
            {
                continue;
            }
            let log = self.cluster.try_kubectl(&["--namespace", &self.namespace, "logs", "--previous", name]);
            let log = log.unwrap_or_else(|error| error);
            reasons.push_str(&format!("\n{name} ended: {}\nits log:\n{log}", status["lastState"]));
        }
        let events = self.kubectl(&["get", "events", "--field-selector", "type=Warning"]);
        panic!("pods or containers were started anew: {before:?} before, {now:?} now{reasons}\nwarnings:\n{events}");
    }

    /// Product and address of every pod.
    pub(crate) fn pod_addresses(&self) -> Vec<(&'static str, IpAddr)> {
        let address = |pod: &Value| {
            let name = pod["metadata"]["labels"]["app.kubernetes.io/name"].as_str().unwrap();
            let product = PRODUCTS.into_iter().find(|product| *product == name).unwrap();
            (product, pod["status"]["podIP"].as_str().unwrap().parse().unwrap())
        };
        self.pod_objects().iter().map(address).collect()
    }

    /// Ends the containers of a product without asking them; the answer is the pods' names with their count before.
    pub(crate) fn kill_containers(&self, product: &str) -> Vec<(String, u64)> {
        let mut killed = Vec::new();
        for pod in self.pod_objects() {
            let status = &pod["status"]["containerStatuses"][0];
            if status["name"] != product {
                continue;
            }
            let id = status["containerID"].as_str().unwrap().trim_start_matches("containerd://").to_owned();
            let mut kill = std::process::Command::new("ctr");
            kill.arg("--address").arg(self.cluster.folder().join("containerd.sock"));
            kill.args(["--namespace", "k8s.io", "tasks", "kill", "--signal", "SIGKILL", &id]);
            assert!(kill.status().unwrap().success());
            let name = pod["metadata"]["name"].as_str().unwrap().to_owned();
            killed.push((name, status["restartCount"].as_u64().unwrap()));
        }
        assert_eq!(killed.len(), 2);
        killed
    }

    /// Whether each of these runs again, and ready.
    pub(crate) fn restarted(&self, killed: &[(String, u64)]) -> bool {
        let pods = self.pod_objects();
        killed.iter().all(|(name, before)| {
            let pod = pods.iter().find(|pod| pod["metadata"]["name"] == name.as_str()).unwrap();
            let status = &pod["status"]["containerStatuses"][0];
            status["restartCount"].as_u64().unwrap() > *before && status["ready"] == true
        })
    }

    /// The rows by which the processes of a product say that they are there.
    pub(crate) async fn instances(&self, product: &str) -> Vec<String> {
        let server = self.database.server();
        let mut connection = server.connect(self.database.name(), "postgres", &server.password).await;
        let query = "SELECT id::text FROM keyrealm.instances WHERE product = $1 ORDER BY 1";
        // The row of a pod that has just become ready may take a heartbeat.
        let began = Instant::now();
        loop {
            let rows: Vec<String> = sqlx::query_scalar(query).bind(product).fetch_all(&mut connection).await.unwrap();
            if rows.len() == 2 || began.elapsed() > Duration::from_secs(20) {
                return rows;
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }

    /// A client that reaches both products by their names.
    pub(crate) fn client(&self) -> HttpsClient {
        let trust = TrustBundle::from_file(&self.file("ca.pem"), SystemClock.now()).unwrap();
        let options = ClientOptions { addresses: self.services.clone(), ..ClientOptions::default() };
        HttpsClient::new(&client_config(&trust, None).unwrap(), options)
    }

    pub(crate) async fn token(&self) -> Result<String, String> {
        self.token_with(&self.client()).await
    }

    pub(crate) async fn token_with(&self, client: &HttpsClient) -> Result<String, String> {
        let url: Url = format!("{}/oauth2/v1/token", self.url("identity")).parse().unwrap();
        let basic = format!("Basic {}", STANDARD.encode(format!("{CLIENT}:{}", self.credentials.secret(CLIENT))));
        let fields = [("grant_type", "client_credentials")];
        let answer = client.post_form(&url, &[(header::AUTHORIZATION, &basic)], &fields).await;
        let answer = good(answer)?;
        Ok(answer.json()["access_token"].as_str().unwrap().to_owned())
    }

    async fn kms(&self, client: &HttpsClient, token: &str, path: &str, body: Option<Value>) -> Result<Answer, String> {
        let url: Url = format!("{}/api/v1/keys{path}", self.url("kms")).parse().unwrap();
        let bearer = format!("Bearer {token}");
        let mut headers = vec![(header::AUTHORIZATION, bearer.as_str())];
        let mut method = Method::GET;
        if body.is_some() {
            headers.push((header::CONTENT_TYPE, "application/json"));
            method = Method::POST;
        }
        let body = body.map(|body| body.to_string()).unwrap_or_default();
        good(client.send(method, &url, &headers, body.into()).await)
    }

    /// Waits until the KMS's Service leads somewhere again: it hears of ready pods a moment after everybody else.
    pub(crate) async fn is_reached(&self) {
        let (token, began) = (self.token().await.unwrap(), Instant::now());
        while let Err(error) = self.kms(&self.client(), &token, "", None).await {
            assert!(error.contains("Connection refused") && began.elapsed() < Duration::from_secs(10), "{error}");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    /// Id and name of every key of the first tenant; those that encrypt first.
    pub(crate) async fn keys(&self) -> Vec<(String, String)> {
        let token = self.token().await.unwrap();
        let answer = self.kms(&self.client(), &token, "?sort[]=name:ASC", None).await.unwrap().json();
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        answer["items"].as_array().unwrap().iter().map(|key| (text(&key["key_id"]), text(&key["name"]))).collect()
    }

    pub(crate) async fn encrypt_with(
        &self,
        client: &HttpsClient,
        token: &str,
        key: &str,
        plaintext: &str,
    ) -> Result<String, String> {
        let body = json!({"plaintext": URL_SAFE_NO_PAD.encode(plaintext)});
        let answer = self.kms(client, token, &format!("/{key}/encrypt"), Some(body)).await?;
        Ok(answer.json()["ciphertext"].as_str().unwrap().to_owned())
    }

    pub(crate) async fn encrypt(&self, key: &str, plaintext: &str) -> String {
        let token = self.token().await.unwrap();
        self.encrypt_with(&self.client(), &token, key, plaintext).await.unwrap()
    }

    pub(crate) async fn decrypt(&self, key: &str, ciphertext: &str) -> String {
        let token = self.token().await.unwrap();
        let body = json!({"ciphertext": ciphertext});
        let answer = self.kms(&self.client(), &token, &format!("/{key}/decrypt"), Some(body)).await.unwrap();
        let plaintext = URL_SAFE_NO_PAD.decode(answer.json()["plaintext"].as_str().unwrap()).unwrap();
        String::from_utf8(plaintext).unwrap()
    }
}

fn of(product: &str) -> Product {
    if product == "kms" { Product::Kms } else { Product::Identity }
}

/// Answers that are not 200 are failures too.
fn good<E: std::fmt::Display>(answer: Result<Answer, E>) -> Result<Answer, String> {
    match answer {
        Ok(answer) if answer.status == 200 => Ok(answer),
        Ok(answer) => Err(format!("{}: {}", answer.status, answer.text())),
        Err(error) => Err(error.to_string()),
    }
}
