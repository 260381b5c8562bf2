//! Identity and KMS as they are run for real: two programs with configuration files, one PostgreSQL below them.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "helpers of tests fail the test")]

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::{Method, header};
use keyrealm_barrier::UnsealKey;
use keyrealm_crypto::SystemRandom;
use keyrealm_http::client::{Answer, HttpsClient};
use keyrealm_store::Product;
use keyrealm_testkit::{On, TestDatabase, TestTls, free_port};
use serde_json::{Value, json};
use url::Url;

/// The programs, built beside this test.
fn binary(name: &str) -> PathBuf {
    static BUILT: std::sync::Once = std::sync::Once::new();
    BUILT.call_once(|| {
        let build = Command::new(env!("CARGO")).args(["build", "--quiet", "-p", "kms", "-p", "identity"]).status();
        assert!(build.unwrap().success());
    });
    // target/debug/deps/<this test>
    let own = std::env::current_exe().unwrap();
    own.parent().and_then(Path::parent).unwrap().join(name)
}

/// A server process; killed when the test is over.
struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Process {
    fn terminate(mut self) -> std::process::ExitStatus {
        let pid = self.0.id().to_string();
        assert!(Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
        let began = Instant::now();
        loop {
            if let Some(status) = self.0.try_wait().unwrap() {
                return status;
            }
            assert!(began.elapsed() < Duration::from_secs(20), "it does not end");
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

struct World {
    tls: TestTls,
    test: TestDatabase,
    client: HttpsClient,
    kms: Url,
    identity: Url,
    /// Identity's, then the KMS's.
    admin: [String; 2],
    files: [PathBuf; 2],
    credentials: PathBuf,
}

impl World {
    async fn new() -> Self {
        let (tls, test) = (TestTls::new(), TestDatabase::new(On::Postgres).await);
        let [kms, kms_admin, identity, identity_admin, identity_mtls] = [(); 5].map(|()| free_port());
        let local = |port: u16| json!({"address": format!("127.0.0.1:{port}")});
        let url = |port: u16| format!("https://localhost:{port}");
        let files = json!({"certificate": tls.path("cert.pem"), "key": tls.path("key.pem"), "ca": tls.path("ca.pem")});
        let unseal = |name: &str| tls.private_file(name, UnsealKey::generate(&SystemRandom).expose());
        let write = |name: &str, config: Value| {
            let path = tls.path(name);
            // JSON is YAML.
            std::fs::write(&path, config.to_string()).unwrap();
            path
        };
        let kms_file = write(
            "kms.yml",
            json!({
                "server": {"public_url": url(kms), "public": local(kms), "mtls": local(0), "admin": local(kms_admin)},
                "tls": files, "database": test.settings(Product::Kms), "barrier": {"unseal_key_file": unseal("a")},
                "auth": {"issuers": [{"issuer": url(identity), "jwks_url": url(identity_mtls) + "/oauth2/v1/jwks"}]},
            }),
        );
        let identity_file = write(
            "identity.yml",
            json!({
                "server": {"public_url": url(identity), "public": local(identity), "mtls": local(identity_mtls),
                    "admin": local(identity_admin)},
                "tls": files, "database": test.settings(Product::Identity),
                "barrier": {"unseal_key_file": unseal("b")}, "tokens": {"audience": url(kms)},
            }),
        );
        let (client, credentials) = (tls.client(), tls.path("credentials.json"));
        let (kms_url, identity_url) = (url(kms).parse().unwrap(), url(identity).parse().unwrap());
        let admin = [url(identity_admin), url(kms_admin)];
        let (kms, identity) = (kms_url, identity_url);
        Self { tls, test, client, kms, identity, admin, files: [kms_file, identity_file], credentials }
    }

    fn run(&self, product: Product, arguments: &[&str]) -> Output {
        self.command(product, arguments).output().unwrap()
    }

    fn command(&self, product: Product, arguments: &[&str]) -> Command {
        let mut command = Command::new(binary(product.name()));
        let [kms, identity] = &self.files;
        let file = if product == Product::Kms { kms } else { identity };
        command.args(arguments).arg("--config").arg(file).stdin(Stdio::null());
        command
    }

    async fn serve(&self, product: Product, arguments: &[&str]) -> Process {
        let mut command = self.command(product, &["serve"]);
        command.args(arguments);
        if product == Product::Identity && !arguments.is_empty() {
            command.arg("--demo-credentials").arg(&self.credentials);
        }
        let log = std::fs::File::create(self.tls.path(&format!("{product}.log"))).unwrap();
        let mut process = Process(command.stdout(Stdio::null()).stderr(log).spawn().unwrap());
        let began = Instant::now();
        while !self.run(product, &["ready"]).status.success() {
            let log = std::fs::read_to_string(self.tls.path(&format!("{product}.log"))).unwrap();
            assert!(process.0.try_wait().unwrap().is_none() && began.elapsed() < Duration::from_secs(60), "{log}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        assert!(self.run(product, &["live"]).status.success());
        process
    }

    /// A token of the demo's web application for itself.
    async fn token(&self) -> String {
        self.form("/oauth2/v1/token", &[("grant_type", "client_credentials")]).await.json()["access_token"]
            .as_str()
            .unwrap()
            .to_owned()
    }

    async fn form(&self, path: &str, fields: &[(&str, &str)]) -> Answer {
        let text = std::fs::read(&self.credentials).unwrap();
        let credentials: identity::seed::DemoCredentials = serde_json::from_slice(&text).unwrap();
        let id = "demo-confidential-client";
        let basic = format!("Basic {}", STANDARD.encode(format!("{id}:{}", credentials.secret(id))));
        let url = self.identity.join(path).unwrap();
        self.client.post_form(&url, &[(header::AUTHORIZATION, &basic)], fields).await.unwrap()
    }

    async fn keys(&self, token: &str) -> Answer {
        let url = self.kms.join("/api/v1/keys").unwrap();
        let bearer = format!("Bearer {token}");
        self.client.send(Method::GET, &url, &[(header::AUTHORIZATION, &bearer)], "".into()).await.unwrap()
    }

    async fn key_ids(&self, token: &str) -> Vec<String> {
        let answer = self.keys(token).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        answer.json()["items"].as_array().unwrap().iter().map(|key| key["key_id"].to_string()).collect()
    }

    /// A run of the demo against these two, as JSON.
    fn demo(&self, more: &[&str]) -> (Option<i32>, Value) {
        let [identity_admin, kms_admin] = &self.admin;
        let mut command = Command::new(env!("CARGO_BIN_EXE_demo"));
        command.args(["all", "--target", "urls", "--json", "--kms-url", self.kms.as_str()]);
        command.args(["--identity-url", self.identity.as_str(), "--kms-admin-url", kms_admin]);
        command.args(["--identity-admin-url", identity_admin]).arg("--ca").arg(self.tls.path("ca.pem"));
        command.arg("--credentials").arg(&self.credentials).args(more).stdin(Stdio::null());
        let output = command.output().unwrap();
        (output.status.code(), serde_json::from_slice(&output.stdout).unwrap())
    }

    async fn instances(&self) -> i64 {
        let server = self.test.server();
        let mut connection = server.connect(self.test.name(), "postgres", &server.password).await;
        sqlx::query_scalar("SELECT count(*) FROM keyrealm.instances").fetch_one(&mut connection).await.unwrap()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_processes_share_a_database() {
    let world = World::new().await;
    for product in [Product::Kms, Product::Identity] {
        let checked = world.run(product, &["check-config"]);
        assert!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stderr));
        assert_eq!(world.run(product, &["live"]).status.code(), Some(2), "nobody is there yet");
    }
    let identity = world.serve(Product::Identity, &["--demo"]).await;
    let kms = world.serve(Product::Kms, &["--demo"]).await;
    let mode = std::os::unix::fs::MetadataExt::mode(&world.credentials.metadata().unwrap());
    assert_eq!(mode & 0o777, 0o600);

    // Identity's token opens the KMS; revoked there, it is refused here: told by the database, not asked for.
    let token = world.token().await;
    let keys = world.key_ids(&token).await;
    assert_eq!(keys.len(), 4);
    assert_eq!(world.form("/oauth2/v1/revoke", &[("token", &token)]).await.status, 200);
    let began = Instant::now();
    while world.keys(&token).await.status == 200 {
        assert!(began.elapsed() < Duration::from_secs(5), "the KMS takes a revoked token");
    }
    assert_eq!(world.keys(&token).await.status, 401);

    // An orderly end takes the row out; a second start finds everything.
    assert_eq!(world.instances().await, 2);
    assert!(kms.terminate().success());
    assert_eq!(world.instances().await, 1);
    let kms = world.serve(Product::Kms, &[]).await;
    assert_eq!(world.key_ids(&world.token().await).await, keys);

    // Reset: other tenants, other keys; the passwords of the file stay.
    drop((kms, identity));
    let identity = world.serve(Product::Identity, &["--reset-demo"]).await;
    let kms = world.serve(Product::Kms, &["--demo"]).await;
    let fresh = world.key_ids(&world.token().await).await;
    assert_eq!(fresh.len(), 4);
    assert!(fresh.iter().all(|id| !keys.contains(id)), "new tenants have new keys");
    assert!(identity.terminate().success() && kms.terminate().success());
}

/// The demo's steps, against servers that it did not start: twice, since what the first run made stays.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_demo_attaches_to_running_servers() {
    let world = World::new().await;
    let _identity = world.serve(Product::Identity, &["--demo"]).await;
    let kms = world.serve(Product::Kms, &["--demo"]).await;
    let (code, first) = world.demo(&[]);
    assert_eq!(code, Some(0), "{first:#}");
    assert_eq!(first["passed_steps"], demo::STEPS.len());
    assert_eq!(first["card"]["credentials_file"], world.credentials.to_str().unwrap());
    assert!(first["card"]["folder"].is_null() && first["card"]["users"].as_array().unwrap().len() == 4);
    for command in first["card"]["commands"].as_array().unwrap() {
        let command = command["command"].as_str().unwrap();
        let output = Command::new("sh").arg("-c").arg(format!("{command} --fail")).output().unwrap();
        assert!(output.status.success(), "{command}");
    }

    // With an operator's certificate the details are read, too.
    let (certificate, key) = (world.tls.path("cert.pem"), world.tls.path("key.pem"));
    let operator = ["--client-certificate", certificate.to_str().unwrap(), "--client-key", key.to_str().unwrap()];
    let (code, second) = world.demo(&operator);
    assert_eq!(code, Some(0), "{second:#}");

    // Without the KMS: what needs it fails and says what was not reached; the rest passes.
    drop(kms);
    let (code, without) = world.demo(&["--health-timeout", "1", "--retry", "0"]);
    assert_eq!(code, Some(1));
    let errors = without["errors"].as_array().unwrap();
    assert!(errors[0]["step"] == "servers.health" && errors[0].to_string().contains("kms"), "{without:#}");
    assert!(errors.iter().any(|error| error["step"] == "kms.key.create"));
    assert!(!errors.iter().any(|error| error["phase"] == "identity" && error["step"] == "identity.login"));
}

#[tokio::test]
async fn what_is_wrong_is_said_before_anything_starts() {
    let world = World::new().await;
    let complaint = |command: &mut Command| {
        let output = command.output().unwrap();
        assert_eq!(output.status.code(), Some(2));
        String::from_utf8(output.stderr).unwrap()
    };
    // A setting that nobody knows, with its place.
    let bad = world.tls.path("bad.yml");
    std::fs::write(&bad, "server:\n  publik_url: https://x\n").unwrap();
    let text = complaint(Command::new(binary("kms")).arg("check-config").arg("--config").arg(&bad));
    assert!(text.contains("bad.yml") && text.contains("publik_url") && text.contains("line 2"), "{text}");
    // Everything that is missing, at once.
    std::fs::write(&bad, "telemetry: {level: info}\n").unwrap();
    let text = complaint(Command::new(binary("identity")).arg("check-config").arg("--config").arg(&bad));
    for missing in ["server.public_url", "tls.ca", "database.folder", "barrier.unseal_key_file", "tokens.audience"] {
        assert!(text.contains(missing), "{missing} in {text}");
    }
    // PostgreSQL's login has a right that it must not have.
    let login = world.test.login(Some(Product::Kms));
    world.test.run(&format!("ALTER ROLE {login} INHERIT")).await;
    let text = complaint(&mut world.command(Product::Kms, &["serve"]));
    assert!(text.contains("NOINHERIT"), "{text}");
    // The folder has no place for passwords where there is no folder.
    let text = complaint(&mut world.command(Product::Identity, &["serve", "--demo"]));
    assert!(text.contains("--demo-credentials"), "{text}");
}
