//! What stands in for nodes: pods are said to run, and a server runs in this process for each pod that a Deployment wants,
//! with the settings, certificates, keys and passwords that the operator made.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{ConfigMap, Pod, Secret};
use keyrealm_base::SystemClock;
use keyrealm_crypto::SystemRandom;
use keyrealm_http::client::ClientOptions;
use keyrealm_http::{Addresses, Sockets};
use keyrealm_store::{Database, Product};
use kube::api::{Api, ListParams, Patch, PatchParams};
use kube::{Client, ResourceExt};
use serde_json::{Value, json};
use tempfile::TempDir;

enum Running {
    Kms(kms::Running),
    Identity(identity::Running),
}

impl Running {
    async fn shutdown(self) {
        match self {
            Self::Kms(running) => running.shutdown().await,
            Self::Identity(running) => running.shutdown().await,
        }
    }
}

/// The servers of a Deployment.
struct Servers {
    product: Product,
    realm: String,
    /// Where Identity is: the one that runs here, or the one that this KMS knows.
    identity: Option<Addresses>,
    running: Vec<Running>,
    /// As the pods' template names their settings.
    config_hash: String,
    settings: Value,
    /// With the version of the Secret that was written into it.
    files: TempDir,
    certificate: String,
}

/// Keeps it all up for a namespace, for ever.
pub(crate) async fn keep(client: Client, namespace: String) {
    let deployments = Api::<Deployment>::namespaced(client.clone(), &namespace);
    let pods = Api::<Pod>::namespaced(client.clone(), &namespace);
    let mut all: HashMap<String, Servers> = HashMap::new();
    loop {
        run_pods(&pods).await;
        if let Ok(list) = deployments.list(&ListParams::default()).await {
            let there: Vec<_> = list.items.iter().filter_map(ResourceExt::uid).collect();
            let gone: Vec<_> = all.keys().filter(|uid| !there.contains(uid)).cloned().collect();
            for servers in gone.iter().filter_map(|uid| all.remove(uid)) {
                for running in servers.running {
                    running.shutdown().await;
                }
            }
            for deployment in list.items {
                look(&client, &namespace, &deployment, &mut all).await;
            }
        }
        tokio::time::sleep(Duration::from_millis(250)).await;
    }
}

/// Every pod runs and is ready, at once.
async fn run_pods(pods: &Api<Pod>) {
    let status = json!({"status": {"phase": "Running", "conditions": [
        {"type": "Ready", "status": "True", "lastTransitionTime": "2026-01-01T00:00:00Z"},
    ]}});
    for pod in pods.list(&ListParams::default()).await.map(|list| list.items).unwrap_or_default() {
        if pod.status.as_ref().and_then(|status| status.phase.as_deref()) != Some("Running") {
            let _ = pods.patch_status(&pod.name_any(), &PatchParams::default(), &Patch::Merge(&status)).await;
        }
    }
}

/// Starts what is missing, ends what is too much or has other settings than the template says, and takes new certificates to
/// what runs. What a pod mounts and is not there yet is waited for.
async fn look(
    client: &Client,
    namespace: &str,
    deployment: &Deployment,
    all: &mut HashMap<String, Servers>,
) -> Option<()> {
    let label = |name: &str| deployment.labels().get(name).cloned();
    let product = Product::from_name(&label("app.kubernetes.io/name")?)?;
    let (realm, uid) = (label("app.kubernetes.io/instance")?, deployment.uid()?);
    let secrets = Api::<Secret>::namespaced(client.clone(), namespace);
    let tls = secrets.get_opt(&format!("{realm}-{product}-tls")).await.ok()??;
    let certificate = tls.resource_version()?;
    let identity = {
        let mut others = all.values();
        others.find(|one| one.realm == realm && one.product == Product::Identity).and_then(|one| one.identity)
    };
    let spec = deployment.spec.as_ref()?;
    let wanted = usize::try_from(spec.replicas.unwrap_or(1)).ok()?;
    let annotations = spec.template.metadata.as_ref()?.annotations.as_ref()?;
    let config_hash = annotations.get("keyrealm.dev/config-hash")?.clone();
    if let Some(servers) = all.get_mut(&uid) {
        if servers.certificate != certificate {
            write(&tls, servers.files.path(), &["tls.key", "tls.crt", "ca.crt"]);
            servers.certificate.clone_from(&certificate);
        }
        // In a cluster the Service leads to the Identity that there is.
        let moved = product == Product::Kms && identity.is_some() && identity != servers.identity;
        if servers.config_hash == config_hash && !moved {
            return servers.scale(namespace, wanted).await;
        }
    }
    if product == Product::Kms && identity.is_none() {
        return None;
    }
    let files = tempfile::tempdir().unwrap();
    let config = Api::<ConfigMap>::namespaced(client.clone(), namespace);
    let config = config.get_opt(&format!("{realm}-{product}")).await.ok()??.data?;
    let unseal = secrets.get_opt(&format!("{realm}-{product}-unseal")).await.ok()??;
    let login = secrets.get_opt(&format!("{realm}-{product}-database")).await.ok()??;
    write(&tls, files.path(), &["tls.key", "tls.crt", "ca.crt"]);
    write(&unseal, files.path(), &["key"]);
    write(&login, files.path(), &["password"]);
    keyrealm_tls::write_public(&files.path().join("database-ca.crt"), config["database-ca.crt"].as_bytes()).unwrap();
    let settings = at(&config["config.yml"], files.path());
    let mut servers =
        Servers { product, realm, identity, running: Vec::new(), config_hash, settings, files, certificate };
    servers.scale(namespace, wanted).await?;
    let before = all.insert(uid, servers);
    for running in before.into_iter().flat_map(|before| before.running) {
        running.shutdown().await;
    }
    Some(())
}

impl Servers {
    async fn scale(&mut self, namespace: &str, wanted: usize) -> Option<()> {
        while self.running.len() > wanted {
            self.running.pop()?.shutdown().await;
        }
        while self.running.len() < wanted {
            let settings = self.settings.clone();
            match start(self.product, settings, namespace, &self.realm, self.identity.as_ref()).await {
                Ok(running) => {
                    if let (Running::Identity(running), true) = (&running, self.running.is_empty()) {
                        self.identity = Some(running.addresses());
                    }
                    self.running.push(running);
                }
                // As a pod that starts anew.
                Err(error) => {
                    eprintln!("{namespace}: {} does not start: {error}", self.product);
                    return None;
                }
            }
        }
        Some(())
    }
}

fn write(secret: &Secret, folder: &Path, keys: &[&str]) {
    for key in keys {
        keyrealm_tls::write_private(&folder.join(key), &secret.data.as_ref().unwrap()[*key].0).unwrap();
    }
}

/// The settings as the operator made them, with the paths of this machine.
fn at(config: &str, folder: &Path) -> Value {
    let mut config: Value = serde_json::from_str(config).unwrap();
    let path = |name: &str| json!(folder.join(name));
    for (pointer, name) in [
        ("/tls/certificate", "tls.crt"),
        ("/tls/key", "tls.key"),
        ("/tls/ca", "ca.crt"),
        ("/database/postgres/password_file", "password"),
        ("/database/postgres/ca", "database-ca.crt"),
        ("/barrier/unseal_key_file", "key"),
    ] {
        *config.pointer_mut(pointer).unwrap() = path(name);
    }
    config
}

async fn start(
    product: Product,
    settings: Value,
    namespace: &str,
    realm: &str,
    identity: Option<&Addresses>,
) -> Result<Running, Box<dyn std::error::Error>> {
    let sockets = Sockets::bind("127.0.0.1:0", "127.0.0.1:0", "127.0.0.1:0").await?;
    let (clock, random) = (Arc::new(SystemClock), Arc::new(SystemRandom));
    Ok(match product {
        Product::Identity => {
            let config: identity::Config = serde_json::from_value(settings)?;
            let database = Database::open(&config.database, product, None).await?;
            let deps = identity::Deps { database, clock, random, sockets };
            Running::Identity(Box::pin(identity::Server::start(config, deps)).await?)
        }
        Product::Kms => {
            let config: kms::Config = serde_json::from_value(settings)?;
            let database = Database::open(&config.database, product, None).await?;
            let addresses: HashMap<String, SocketAddr> = identity
                .map(|identity| (format!("{realm}-identity.{namespace}.svc:8444"), identity.mtls))
                .into_iter()
                .collect();
            let client = ClientOptions { addresses, ..ClientOptions::default() };
            let deps = kms::Deps { database, clock, random, sockets, client };
            Running::Kms(Box::pin(kms::Server::start(config, deps)).await?)
        }
    })
}
