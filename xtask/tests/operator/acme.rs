//! A realm on a database of its owner's, with two tenants.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use http::{Method, header};
use keyrealm_base::{Clock, SystemClock};
use keyrealm_http::client::{Answer, ClientOptions, HttpsClient};
use keyrealm_testkit::{PostgresServer, TestDatabase};
use keyrealm_tls::{TrustBundle, client_config};
use serde_json::{Value, json};
use url::Url;

use crate::shell::Shell;

const NAMESPACE: &str = "acme";
const KMS: &str = "kms.acme.test:8081";
const IDENTITY: &str = "id.acme.test:8082";

/// The realm, from outside.
pub(crate) struct Acme<'a> {
    shell: &'a Shell,
    database: TestDatabase,
    services: Mutex<HashMap<String, SocketAddr>>,
}

impl<'a> Acme<'a> {
    /// Makes it, and waits until it is ready.
    pub(crate) async fn apply(shell: &'a Shell) -> Self {
        let server = PostgresServer::at(&shell.cluster.folder().join("postgres")).unwrap();
        let database = TestDatabase::on_server(server).await;
        let acme = Self { shell, database, services: Mutex::default() };
        acme.resources();
        shell.run("kubectl --namespace acme wait --for=condition=Ready realm/main tenant/one tenant/two --timeout=90s");
        acme.follow_services();
        acme
    }

    /// Namespace, the database's Secret, Realm and Tenants.
    pub(crate) fn resources(&self) {
        let access = self.database.registrar_access();
        let password = String::from_utf8(access.password.expose().to_vec()).unwrap();
        let restricted = json!({"pod-security.kubernetes.io/enforce": "restricted"});
        let tenant = |name: &str| {
            resource(
                "Tenant",
                name,
                &json!({
                    "realmRef": {"name": "main"},
                    "keys": [{"name": "data", "algorithm": "A256GCM/dir"}],
                    "clients": [{"name": "app", "type": "confidential", "grants": ["client_credentials"],
                        "scopes": ["kms:read", "kms:write"]}],
                }),
            )
        };
        self.shell.cluster.apply(&[
            json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE, "labels": restricted}}),
            json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "postgres", "namespace": NAMESPACE},
                "stringData": {"host": access.host, "port": access.port.to_string(), "database": access.database,
                    "user": access.user, "password": password, "ca.crt": access.ca_pem}}),
            resource(
                "Realm",
                "main",
                &json!({
                    "hostnames": {"kms": KMS, "identity": IDENTITY},
                    "database": {"external": {"secretRef": {"name": "postgres"}}},
                }),
            ),
            tenant("one"),
            tenant("two"),
        ]);
    }

    /// Services that were made anew have other addresses.
    pub(crate) fn follow_services(&self) {
        let address = |service: &str| -> IpAddr {
            let object = self.shell.cluster.json(&["--namespace", NAMESPACE, "get", "service", service]);
            object["spec"]["clusterIP"].as_str().unwrap().parse().unwrap()
        };
        let found = [
            (KMS, SocketAddr::new(address("main-kms"), 8081)),
            (IDENTITY, SocketAddr::new(address("main-identity"), 8082)),
        ];
        *self.services.lock().unwrap() = found.map(|(name, address)| (name.to_owned(), address)).into();
    }

    /// Waits until the resource gives this reason for not being ready.
    pub(crate) fn waits_for(&self, resource: &str, reason: &str) {
        let began = Instant::now();
        loop {
            let object = self.shell.cluster.json(&["--namespace", NAMESPACE, "get", resource]);
            let conditions = object["status"]["conditions"].as_array().cloned().unwrap_or_default();
            let said = conditions.iter().find(|condition| condition["type"] == "Ready");
            if said.is_some_and(|ready| ready["status"] == "False" && ready["reason"] == reason) {
                return;
            }
            assert!(began.elapsed() < Duration::from_secs(60), "{resource} does not say {reason}: {conditions:#?}");
            std::thread::sleep(Duration::from_millis(500));
        }
    }

    /// Names and UIDs of the realm's pods.
    pub(crate) fn pods(&self) -> Vec<String> {
        let list = self.shell.cluster.json(&["--namespace", NAMESPACE, "get", "pods", "--sort-by=.metadata.name"]);
        list["items"]
            .as_array()
            .unwrap()
            .iter()
            .map(|pod| pod["metadata"]["uid"].as_str().unwrap().to_owned())
            .collect()
    }

    /// Rows of a tenant lie in its own schemas, its role gets nowhere else, and its token shows nothing of the other.
    pub(crate) async fn tenants_are_apart(&self) {
        let server = self.database.server();
        let mut connection = server.connect(self.database.name(), "postgres", &server.password).await;
        let mut schemas = Vec::new();
        for (name, other) in [("one", "two"), ("two", "one")] {
            let hex = |tenant: &str| self.tenant_id(tenant).replace('-', "");
            let own = format!("kms_{}", hex(name));
            let keys: i64 = sqlx::query_scalar(sqlx::AssertSqlSafe(format!("SELECT count(*) FROM {own}.keys")))
                .fetch_one(&mut connection)
                .await
                .unwrap();
            assert_eq!(keys, 1, "{name}");
            let role: String =
                sqlx::query_scalar("SELECT rolname FROM pg_roles WHERE rolname ~ ('^' || $1 || '_[0-9a-f]{8}$')")
                    .bind(&own)
                    .fetch_one(&mut connection)
                    .await
                    .unwrap();
            let foreign = format!("SET ROLE {role}; SELECT count(*) FROM kms_{}.keys", hex(other));
            let denied = sqlx::raw_sql(sqlx::AssertSqlSafe(foreign)).execute(&mut connection).await.unwrap_err();
            assert!(denied.to_string().contains("permission denied"), "{denied}");
            sqlx::raw_sql("RESET ROLE").execute(&mut connection).await.unwrap();
            schemas.push(own);
        }
        let found: Vec<String> = sqlx::query_scalar(
            "SELECT table_schema::text FROM information_schema.tables WHERE table_name = 'keys' ORDER BY 1",
        )
        .fetch_all(&mut connection)
        .await
        .unwrap();
        schemas.sort();
        assert_eq!(found, schemas, "there are no other tables of keys");

        let (own, foreign) = (self.key("one").await, self.key("two").await);
        let answer = self.kms("one", &format!("/{foreign}"), None).await;
        let unknown = self.kms("one", "/01890a5d-ac96-774b-bcce-b302099a8057", None).await;
        assert_eq!((answer.status.as_u16(), unknown.status.as_u16()), (404, 404));
        assert_eq!(self.kms("one", &format!("/{own}"), None).await.status, 200);
    }

    fn tenant_id(&self, tenant: &str) -> String {
        let object = self.shell.cluster.json(&["--namespace", NAMESPACE, "get", "tenant", tenant]);
        object["status"]["tenantId"].as_str().unwrap().to_owned()
    }

    /// An entry of a Secret or ConfigMap.
    fn entry(&self, kind: &str, name: &str, key: &str) -> String {
        let object = self.shell.cluster.json(&["--namespace", NAMESPACE, "get", kind, name]);
        let text = object["data"][key].as_str().unwrap_or_else(|| panic!("{kind} {name} has no {key}")).to_owned();
        if kind == "secret" { String::from_utf8(STANDARD.decode(text).unwrap()).unwrap() } else { text }
    }

    fn client(&self) -> HttpsClient {
        let bundle = self.entry("configmap", "main-trust-bundle", "ca.crt");
        let trust = TrustBundle::from_pem(bundle.as_bytes(), SystemClock.now()).unwrap();
        let options = ClientOptions { addresses: self.services.lock().unwrap().clone(), ..ClientOptions::default() };
        HttpsClient::new(&client_config(&trust, None).unwrap(), options)
    }

    async fn token(&self, tenant: &str) -> String {
        let secret = format!("{tenant}-client-app");
        let (id, secret) = (self.entry("secret", &secret, "client_id"), self.entry("secret", &secret, "client_secret"));
        let url: Url = format!("https://{IDENTITY}/oauth2/v1/token").parse().unwrap();
        let basic = format!("Basic {}", STANDARD.encode(format!("{id}:{secret}")));
        let fields = [("grant_type", "client_credentials")];
        let answer = self.client().post_form(&url, &[(header::AUTHORIZATION, &basic)], &fields).await.unwrap();
        assert_eq!(answer.status, 200, "{}", answer.text());
        answer.json()["access_token"].as_str().unwrap().to_owned()
    }

    async fn kms(&self, tenant: &str, path: &str, body: Option<Value>) -> Answer {
        let url: Url = format!("https://{KMS}/api/v1/keys{path}").parse().unwrap();
        let bearer = format!("Bearer {}", self.token(tenant).await);
        let mut headers = vec![(header::AUTHORIZATION, bearer.as_str())];
        let method = if body.is_some() { Method::POST } else { Method::GET };
        if body.is_some() {
            headers.push((header::CONTENT_TYPE, "application/json"));
        }
        let body = body.map(|body| body.to_string()).unwrap_or_default();
        self.client().send(method, &url, &headers, body.into()).await.unwrap()
    }

    async fn key(&self, tenant: &str) -> String {
        let answer = self.kms(tenant, "", None).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        answer.json()["items"][0]["key_id"].as_str().unwrap().to_owned()
    }

    pub(crate) async fn encrypt(&self, plaintext: &str) -> String {
        let body = json!({"plaintext": URL_SAFE_NO_PAD.encode(plaintext)});
        let answer = self.kms("one", &format!("/{}/encrypt", self.key("one").await), Some(body)).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        answer.json()["ciphertext"].as_str().unwrap().to_owned()
    }

    pub(crate) async fn decrypt(&self, ciphertext: &str) -> String {
        let body = json!({"ciphertext": ciphertext});
        let answer = self.kms("one", &format!("/{}/decrypt", self.key("one").await), Some(body)).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        let plaintext = URL_SAFE_NO_PAD.decode(answer.json()["plaintext"].as_str().unwrap()).unwrap();
        String::from_utf8(plaintext).unwrap()
    }
}

fn resource(kind: &str, name: &str, spec: &Value) -> Value {
    json!({"apiVersion": "keyrealm.dev/v1alpha1", "kind": kind, "metadata": {"name": name, "namespace": NAMESPACE}, "spec": spec})
}
