//! A Realm on a database of its own, the operator that made it, and its two servers.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use crds::Realm;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use keyrealm_base::{Clock, SystemClock};
use keyrealm_http::client::{ClientOptions, HttpsClient};
use keyrealm_testkit::{PostgresServer, TestDatabase, free_port};
use keyrealm_tls::{Identity, ReloadingIdentity, TrustBundle, client_config, write_private, write_public};
use operator::config::Settings;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::cluster::Cluster;
use crate::process::Process;
use crate::world::binary;

/// Everything that runs.
pub(crate) struct World {
    pub(crate) namespace: String,
    /// Of an operator that needs no Lease.
    pub(crate) settings: PathBuf,
    operator: Option<Process>,
    metrics: (HttpsClient, url::Url),
    _servers: Vec<Process>,
    _database: TestDatabase,
    folder: TempDir,
}

impl World {
    pub(crate) async fn start(cluster: &Cluster, server: &PostgresServer) -> Result<Self> {
        let namespace = cluster.namespace().await?;
        let database = TestDatabase::on_server(server.clone()).await;
        let folder = tempfile::tempdir()?;
        let admin = format!("127.0.0.1:{}", free_port());
        let mut settings = Settings { kubeconfig: Some(cluster.kubeconfig.clone()), ..Settings::default() };
        settings.watch.namespaces = vec![namespace.clone()];
        settings.lease.namespace.clone_from(&namespace);
        settings.server.admin.address.clone_from(&admin);
        settings.runtime_dir = folder.path().join("run");
        let write = |name: &str, settings: &Settings| -> Result<PathBuf> {
            let path = folder.path().join(name);
            std::fs::write(&path, serde_yaml::to_string(settings)?)?;
            Ok(path)
        };
        let config = write("operator.yml", &settings)?;
        settings.lease.enabled = false;
        settings.server.admin.address = "127.0.0.1:0".to_owned();
        settings.runtime_dir = folder.path().join("rest");
        let rest = write("rest.yml", &settings)?;
        let log = std::fs::File::create(folder.path().join("operator.log"))?;
        let arguments = ["run", "--config", &config.to_string_lossy()];
        let operator = Process::spawn("operator", &binary("operator")?, &arguments, Stdio::from(log))?;
        let run = folder.path().join("run");
        make_realm(cluster, &namespace, &database).await?;
        // The last of the objects: what its pods mount is there.
        eventually("the Realm's Deployments", async || {
            let api = cluster.api::<Deployment>(&namespace);
            Ok(api.get_opt("main-kms").await?.is_some() && api.get_opt("main-identity").await?.is_some())
        })
        .await?;
        let identity = Server::new("identity");
        let kms = Server::new("kms");
        let mut servers = vec![identity.start(cluster, &namespace, folder.path(), None).await?];
        servers.push(kms.start(cluster, &namespace, folder.path(), Some(identity.public)).await?);
        let now = SystemClock.now();
        let trust = TrustBundle::from_file(&run.join("ca.crt"), now)?;
        let files = keyrealm_tls::IdentityFiles { certificate: run.join("probe.crt"), key: run.join("probe.key") };
        let probe = ReloadingIdentity::new(Identity::from_files(&files, &trust, now)?);
        let client = HttpsClient::new(&client_config(&trust, Some(&probe))?, ClientOptions::default());
        let port = admin.rsplit_once(':').map_or("", |(_, port)| port);
        let metrics = (client, format!("https://localhost:{port}/metrics").parse()?);
        Ok(Self {
            namespace,
            settings: rest,
            operator: Some(operator),
            metrics,
            _servers: servers,
            _database: database,
            folder,
        })
    }

    pub(crate) fn operator(&self) -> Result<&Process> {
        self.operator.as_ref().context("the operator was ended")
    }

    /// Resident memory once nothing is under way.
    pub(crate) async fn settled_memory(&self) -> Result<f64> {
        tokio::time::sleep(Duration::from_secs(5)).await;
        self.operator()?.memory()
    }

    pub(crate) fn stop_operator(&mut self) {
        self.operator = None;
    }

    /// What the operator has written to the API server so far.
    pub(crate) async fn writes(&self) -> Result<Figures> {
        let (client, url) = &self.metrics;
        let answer = client.get(url).await?;
        let text = answer.text();
        let mut figures = Figures::default();
        for line in text.lines() {
            let value = || line.rsplit_once(' ').and_then(|(_, value)| value.parse::<f64>().ok()).unwrap_or_default();
            if line.starts_with("keyrealm_operator_api_requests_total") {
                let writes = ["create", "patch", "update", "delete"];
                // Those of the Lease go on in any case.
                if line.contains("leases") {
                } else if writes.iter().any(|verb| line.contains(&format!("verb=\"{verb}\""))) {
                    figures.writes += value();
                } else if !line.contains("verb=\"watch\"") {
                    figures.reads += value();
                }
            } else if line.starts_with("keyrealm_operator_reconcile_total") && line.contains("\"Tenant\"") {
                figures.passes += value();
            }
        }
        Ok(figures)
    }

    pub(crate) fn log(&self) -> String {
        let text = std::fs::read_to_string(self.folder.path().join("operator.log")).unwrap_or_default();
        let last: Vec<&str> = text.lines().rev().take(10).collect();
        last.join("\n")
    }
}

/// What the operator did.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Figures {
    pub(crate) writes: f64,
    pub(crate) reads: f64,
    pub(crate) passes: f64,
}

async fn make_realm(cluster: &Cluster, namespace: &str, database: &TestDatabase) -> Result<()> {
    let server = database.server();
    let login = json!({
        "metadata": {"name": "postgres"},
        "stringData": {
            "host": server.host.to_string(), "port": server.port.to_string(), "database": database.name(),
            "user": database.login(None), "password": std::fs::read_to_string(database.password_file())?,
            "ca.crt": std::fs::read_to_string(server.ca())?,
        },
    });
    cluster.create::<Secret>(namespace, [login].into_iter()).await?;
    let realm = json!({
        "apiVersion": "keyrealm.dev/v1alpha1", "kind": "Realm", "metadata": {"name": "main"},
        "spec": {
            "hostnames": {"kms": "kms.example.org", "identity": "id.example.org"},
            "database": {"external": {"secretRef": {"name": "postgres"}}},
        },
    });
    cluster.create::<Realm>(namespace, [realm].into_iter()).await.map(drop)
}

/// What stands in for the pods of a Deployment.
struct Server {
    name: &'static str,
    public: u16,
}

impl Server {
    fn new(name: &'static str) -> Self {
        Self { name, public: free_port() }
    }

    async fn start(&self, cluster: &Cluster, namespace: &str, folder: &Path, identity: Option<u16>) -> Result<Process> {
        let name = self.name;
        let map = cluster.api::<ConfigMap>(namespace).get(&format!("main-{name}")).await?.data.unwrap_or_default();
        let text = |key: &str| map.get(key).with_context(|| format!("the settings of {name} have no {key}"));
        let mut config: Value = serde_json::from_str(text("config.yml")?)?;
        let path = |file: &str| folder.join(format!("{name}-{file}"));
        write_public(&path("database-ca"), text("database-ca.crt")?.as_bytes())?;
        for (secret, keys) in
            [("tls", &["tls.crt", "tls.key", "ca.crt"] as &[&str]), ("database", &["password"]), ("unseal", &["key"])]
        {
            let found = cluster.api::<Secret>(namespace).get(&format!("main-{name}-{secret}")).await?;
            let data = found.data.unwrap_or_default();
            for key in keys {
                let content = data.get(*key).with_context(|| format!("{name}: {secret} has no {key}"))?;
                write_private(&path(key), &content.0)?;
            }
        }
        let admin = format!("127.0.0.1:{}", free_port());
        let mut set = |pointer: &str, value: Value| {
            let (parent, key) = pointer.rsplit_once('/').unwrap_or_default();
            if let Some(parent) = config.pointer_mut(parent).and_then(Value::as_object_mut) {
                parent.insert(key.to_owned(), value);
            }
        };
        set("/server/public/address", json!(format!("127.0.0.1:{}", self.public)));
        set("/server/mtls/address", json!("127.0.0.1:0"));
        set("/server/admin/address", json!(admin));
        set("/tls/certificate", json!(path("tls.crt")));
        set("/tls/key", json!(path("tls.key")));
        set("/tls/ca", json!(path("ca.crt")));
        set("/database/postgres/password_file", json!(path("password")));
        set("/database/postgres/ca", json!(path("database-ca")));
        set("/barrier/unseal_key_file", json!(path("key")));
        set("/telemetry/level", json!("warn"));
        if let Some(port) = identity {
            set("/auth/issuers/0/jwks_url", Value::Null);
            let issuers = json!([{"issuer": "https://id.example.org",
                "jwks_url": format!("https://localhost:{port}/oauth2/v1/jwks")}]);
            set("/auth/issuers", issuers);
        }
        let file = path("config.yml");
        std::fs::write(&file, serde_json::to_vec(&config)?)?;
        let trust = TrustBundle::from_file(&path("ca.crt"), SystemClock.now())?;
        let arguments = ["serve", "--config", &file.to_string_lossy()];
        Process::start(name, &binary(name)?, &arguments, &trust, &admin).await
    }
}

async fn eventually(what: &str, mut holds: impl AsyncFnMut() -> Result<bool>) -> Result<()> {
    for _ in 0..600 {
        if holds().await? {
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    bail!("not within a minute: {what}")
}
