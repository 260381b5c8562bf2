//! The servers under test: release binaries with files of their own.

use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::header;
use keyrealm_barrier::UnsealKey;
use keyrealm_base::{SharedClock, SystemClock};
use keyrealm_crypto::SystemRandom;
use keyrealm_http::client::HttpsClient;
use keyrealm_registry::Registrar;
use keyrealm_store::Database;
use keyrealm_testkit::{TestIssuer, TestTls, free_port};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::empty::Settings;
use crate::load::Call;
use crate::process::Process;

const AUDIENCE: &str = "https://kms.keyrealm.local";

/// Everything that runs.
pub(crate) struct World {
    pub(crate) kms: Process,
    pub(crate) identity: Process,
    _empty: Process,
    pub(crate) tls: TestTls,
    pub(crate) issuer: TestIssuer,
    pub(crate) audience: &'static str,
    pub(crate) token: String,
    kms_port: u16,
    empty_port: u16,
    identity_port: u16,
    _folder: TempDir,
}

/// Where cargo puts the release binaries.
pub(crate) fn binary(name: &str) -> Result<PathBuf> {
    let own = std::env::current_exe()?;
    let folder = own.parent().context("the benchmark lies in no folder")?;
    Ok(folder.join(name))
}

/// Builds the programs as the benchmark itself was built. A `trial` may be a debug build.
pub(crate) fn build(programs: &[&str], trial: bool) -> Result<()> {
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    // With the benchmark itself: alone they would have other features of what they share, and all were built twice.
    cargo.args(["build", "-p", "bench"]).args(programs.iter().flat_map(|program| ["-p", *program]));
    if !cfg!(debug_assertions) {
        cargo.arg("--release");
    } else if !trial {
        bail!("a debug build measures nothing; run: cargo run --release -p bench");
    }
    if !cargo.status()?.success() {
        bail!("cargo build failed");
    }
    Ok(())
}

impl World {
    pub(crate) async fn start() -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let tls = TestTls::new();
        let clock: SharedClock = Arc::new(SystemClock);
        let issuer = TestIssuer::start(&tls, Arc::clone(&clock), AUDIENCE).await;
        let local = |port: u16| format!("127.0.0.1:{port}");
        let data = |product: &str| folder.path().join(product);
        // The tenants are drawn here, so that a token can name one.
        let database = Database::open_sqlite(&data("kms"), None)?;
        let registrar = Registrar::new(Arc::clone(&database), clock, Arc::new(SystemRandom));
        registrar.ensure_deployment("").await?;
        let tenants = registrar.ensure_demo().await?;
        database.close().await;
        drop((registrar, database));
        let tenant = tenants.first().context("no tenant")?.id;

        let unseal = |product: &str| tls.private_file(product, UnsealKey::generate(&SystemRandom).expose());
        let files = json!({"certificate": tls.path("cert.pem"), "key": tls.path("key.pem"), "ca": tls.path("ca.pem")});
        let [kms_port, kms_admin, identity_port, identity_admin, empty_port, empty_admin] =
            [(); 6].map(|()| free_port());
        let listeners = |url: &str, public: u16, admin: u16| {
            json!({"public_url": url, "public": {"address": local(public)}, "mtls": {"address": local(0)},
                "admin": {"address": local(admin)}})
        };
        let write = |name: &str, content: &Value| -> Result<String> {
            let path = folder.path().join(name);
            std::fs::write(&path, serde_yaml::to_string(content)?)?;
            Ok(path.to_string_lossy().into_owned())
        };
        let kms_config = json!({
            "server": listeners(AUDIENCE, kms_port, kms_admin), "tls": files, "database": {"folder": data("kms")},
            "barrier": {"unseal_key_file": unseal("kms-unseal")},
            "auth": {"issuers": [{"issuer": issuer.issuer, "jwks_url": issuer.jwks_url}]},
        });
        let identity_config = json!({
            "server": listeners(&format!("https://localhost:{identity_port}"), identity_port, identity_admin),
            "tls": files, "database": {"folder": data("identity")},
            "barrier": {"unseal_key_file": unseal("identity-unseal")}, "tokens": {"audience": AUDIENCE},
        });
        let (kms_config, identity_config) = (write("kms.yml", &kms_config)?, write("identity.yml", &identity_config)?);
        let settings = folder.path().join("empty.json");
        let empty = Settings {
            certificate: tls.path("cert.pem"),
            key: tls.path("key.pem"),
            ca: tls.path("ca.pem"),
            public: local(empty_port),
            admin: local(empty_admin),
            audience: AUDIENCE.to_owned(),
            issuer: issuer.issuer.clone(),
            jwks_url: issuer.jwks_url.clone(),
        };
        std::fs::write(&settings, serde_json::to_vec(&empty)?)?;
        let trust = &tls.trust;
        let serve = ["serve", "--demo", "--config", &kms_config];
        let kms = Process::start("kms", &binary("kms")?, &serve, trust, &local(kms_admin)).await?;
        let serve = ["serve", "--demo", "--demo-password", "--config", &identity_config];
        let identity = Process::start("identity", &binary("identity")?, &serve, trust, &local(identity_admin)).await?;
        let arguments = ["empty", &settings.to_string_lossy()];
        let empty = Process::start("empty", &binary("bench")?, &arguments, trust, &local(empty_admin)).await?;
        let token = issuer.token(tenant, "kms:admin");
        let audience = AUDIENCE;
        Ok(Self {
            kms,
            identity,
            _empty: empty,
            tls,
            issuer,
            audience,
            token,
            kms_port,
            empty_port,
            identity_port,
            _folder: folder,
        })
    }

    pub(crate) fn clients(&self, count: usize) -> Vec<HttpsClient> {
        (0..count).map(|_| self.tls.client()).collect()
    }

    fn call(&self, port: u16, path: &str, body: &Value) -> Result<Call> {
        let headers = vec![
            (header::AUTHORIZATION, format!("Bearer {}", self.token)),
            (header::CONTENT_TYPE, "application/json".to_owned()),
        ];
        Ok(Call { url: format!("https://localhost:{port}{path}").parse()?, headers, body: body.to_string() })
    }

    /// The handler that does nothing, called with the same body.
    pub(crate) fn empty(&self, body: &Value) -> Result<Call> {
        self.call(self.empty_port, "/empty", body)
    }

    /// An operation of a new key.
    pub(crate) async fn operation(&self, algorithm: &str, operation: &str, body: &Value) -> Result<Call> {
        let name = format!("bench-{operation}-{}", algorithm.replace('/', "-"));
        let create = self.call(self.kms_port, "/api/v1/keys", &json!({"name": name, "algorithm": algorithm}))?;
        let key = create.send(&self.tls.client()).await?.json();
        let id = key.get("key_id").and_then(Value::as_str).context("no key_id")?.to_owned();
        self.call(self.kms_port, &format!("/api/v1/keys/{id}/{operation}"), body)
    }

    /// A client that gets a token for itself.
    pub(crate) fn client_credentials(&self) -> Result<Call> {
        let basic = STANDARD.encode("demo-service-client:service-secret");
        Ok(Call {
            url: format!("https://localhost:{}/oauth2/v1/token", self.identity_port).parse()?,
            headers: vec![
                (header::AUTHORIZATION, format!("Basic {basic}")),
                (header::CONTENT_TYPE, "application/x-www-form-urlencoded".to_owned()),
            ],
            body: "grant_type=client_credentials".to_owned(),
        })
    }
}
