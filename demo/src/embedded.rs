//! Both servers in this process: a chain made on the spot, SQLite files, free loopback ports.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use identity::seed::DemoCredentials;
use keyrealm_barrier::UnsealKey;
use keyrealm_base::{Clock, SharedClock, SharedRandom, SystemClock};
use keyrealm_crypto::SystemRandom;
use keyrealm_http::Sockets;
use keyrealm_http::client::{ClientOptions, HttpsClient};
use keyrealm_pki::{CaChain, ChainSpec, LeafSpec, LeafUsage, NameConstraints, NameStyle};
use keyrealm_registry::Registrar;
use keyrealm_store::Database;
use keyrealm_tls::{
    Identity, IdentityFiles, ReloadingIdentity, TrustBundle, client_config, read_private, write_private, write_public,
};

use crate::calls::Caller;
use crate::cli::Cli;
use crate::endpoints::{Admin, Endpoints, Files, Notes, Shell};
use crate::folder::Folder;

/// The running servers.
pub(crate) struct Embedded {
    /// Where everything is.
    pub(crate) endpoints: Endpoints,
    identity: identity::Running,
    kms: kms::Running,
    database: Arc<Database>,
}

impl Embedded {
    /// Starts both servers.
    ///
    /// # Errors
    /// When a file, a port or a server cannot be had.
    pub(crate) async fn start(cli: &Cli, folder: &Folder) -> Result<Self> {
        let folder = folder.path().to_owned();
        let (clock, random): (SharedClock, SharedRandom) = (Arc::new(SystemClock), Arc::new(SystemRandom));
        let data = folder.join("data");
        let database = Database::open_sqlite(&data, None)?;
        let port = |given: Option<u16>, kept: u16| given.unwrap_or(if cli.data_dir.is_some() { kept } else { 0 });
        let listen = |port: u16| format!("127.0.0.1:{port}");
        let identity_sockets = Sockets::bind(&listen(port(cli.identity_port, 8082)), &listen(0), &listen(0)).await?;
        let kms_sockets = Sockets::bind(&listen(port(cli.kms_port, 8081)), &listen(0), &listen(0)).await?;
        let (identity_at, kms_at) = (identity_sockets.addresses()?, kms_sockets.addresses()?);
        let chain = chain(&folder)?;
        for service in ["identity", "kms", "operator"] {
            issue(&chain, &folder, service)?;
        }
        let registrar = Registrar::new(Arc::clone(&database), Arc::clone(&clock), Arc::clone(&random));
        registrar.ensure_deployment("").await?;
        let credentials = declare(cli, &folder, &database, &registrar).await?;

        let local = |port: u16| format!("https://localhost:{port}");
        let (issuer, audience) = (local(identity_at.public.port()), local(kms_at.public.port()));
        let mut config = identity::Config::default();
        config.server.public_url.clone_from(&issuer);
        config.tokens.audience.clone_from(&audience);
        (config.tls.certificate, config.tls.key, config.tls.ca) = tls_files(&folder, "identity");
        config.database.folder.clone_from(&data);
        config.barrier.unseal_key_file = unseal_key(&folder, "identity")?;
        let deps = identity::Deps {
            database: Arc::clone(&database),
            clock: Arc::clone(&clock),
            random: Arc::clone(&random),
            sockets: identity_sockets,
        };
        let identity = identity::Server::start(config, deps).await.context("cannot start Identity")?;

        let mut config = kms::Config::default();
        config.server.public_url.clone_from(&audience);
        (config.tls.certificate, config.tls.key, config.tls.ca) = tls_files(&folder, "kms");
        config.database.folder.clone_from(&data);
        config.barrier.unseal_key_file = unseal_key(&folder, "kms")?;
        // Between the services mTLS is the rule: the key set is read from the listener that demands a certificate.
        let jwks_url = format!("{}/oauth2/v1/jwks", local(identity_at.mtls.port())).parse()?;
        config.auth.issuers = vec![kms::Issuer { issuer: issuer.clone(), jwks_url }];
        let deps = kms::Deps {
            database: Arc::clone(&database),
            clock,
            random,
            sockets: kms_sockets,
            client: ClientOptions::default(),
        };
        let kms = kms::Server::start(config, deps).await.context("cannot start the KMS")?;

        let exchanges = Notes::exchanges();
        let (client, operator) = clients(&folder, &exchanges)?;
        let admin = |name, port| -> Result<Admin> {
            let (plain, operator) = (client.clone(), Some(operator.clone()));
            Ok(Admin { name, url: local(port).parse()?, plain, operator })
        };
        let admin = [admin("identity", identity_at.admin.port())?, admin("kms", kms_at.admin.port())?];
        let ca = folder.join("ca.pem");
        let endpoints = Endpoints {
            issuer: issuer.parse()?,
            kms: audience.parse()?,
            admin,
            ca,
            files: Files::Folder(folder.clone()),
            credentials,
            client,
            shell: Shell::default(),
            complaints: Notes::complaints(),
            exchanges,
        };
        Ok(Self { endpoints, identity, kms, database })
    }

    /// Stops both.
    pub(crate) async fn stop(self) {
        // Their kept connections would be waited for.
        drop(self.endpoints);
        self.kms.shutdown().await;
        self.identity.shutdown().await;
        self.database.close().await;
    }
}

/// The chain of the folder, made when there is none.
fn chain(folder: &Path) -> Result<CaChain> {
    let (certificates, key) = (folder.join("ca-chain.pem"), folder.join("ca-key.pem"));
    if key.exists() {
        let key = read_private(&key)?;
        let key = std::str::from_utf8(key.expose()).context("ca-key.pem is no text")?;
        return Ok(CaChain::from_pem(&fs::read_to_string(&certificates)?, key)?);
    }
    let constraints = NameConstraints {
        dns: vec!["localhost".to_owned(), "keyrealm.demo.local".to_owned()],
        ip: vec![("127.0.0.0".parse()?, 8), ("::1".parse()?, 128)],
    };
    let style = NameStyle::Fqdn { prefix: "keyrealm.demo.local".to_owned() };
    let chain = CaChain::generate(&ChainSpec { constraints, ..ChainSpec::new(style) }, &SystemClock, &SystemRandom)?;
    write_public(&folder.join("ca.pem"), chain.trust_bundle_pem().as_bytes())?;
    write_public(&certificates, chain.certificates_pem().as_bytes())?;
    // The key last: only with it the chain counts as made.
    write_private(&key, chain.issuing_key_pem().as_bytes())?;
    Ok(chain)
}

fn issue(chain: &CaChain, folder: &Path, service: &str) -> Result<()> {
    let spec = LeafSpec::new(format!("{service}.keyrealm.demo.local"), LeafUsage::ServerAndClient).and_loopback();
    let leaf = chain.issue_leaf(&spec, &SystemClock, &SystemRandom)?;
    let (certificate, key, _) = tls_files(folder, service);
    write_private(&key, leaf.key_pem.as_bytes())?;
    write_public(&certificate, leaf.chain_pem.as_bytes())?;
    Ok(())
}

fn tls_files(folder: &Path, service: &str) -> (PathBuf, PathBuf, PathBuf) {
    (folder.join(format!("{service}.pem")), folder.join(format!("{service}-key.pem")), folder.join("ca.pem"))
}

fn unseal_key(folder: &Path, product: &str) -> Result<PathBuf> {
    let path = folder.join(format!("{product}-unseal.key"));
    if !path.exists() {
        write_private(&path, UnsealKey::generate(&SystemRandom).expose())?;
    }
    Ok(path)
}

fn clients(folder: &Path, exchanges: &Notes) -> Result<(Caller, Caller)> {
    let (certificate, key, ca) = tls_files(folder, "operator");
    let trust = TrustBundle::from_file(&ca, SystemClock.now())?;
    let identity = Identity::from_files(&IdentityFiles { certificate, key }, &trust, SystemClock.now())?;
    let caller = |tls| Caller::new(HttpsClient::new(tls, ClientOptions::default()), exchanges);
    let operator = client_config(&trust, Some(&ReloadingIdentity::new(identity)))?;
    Ok((caller(&client_config(&trust, None)?), caller(&operator)))
}

/// Declares what the folder lacks of the demo's objects: an earlier start may have been ended between any two of them.
async fn declare(cli: &Cli, folder: &Path, database: &Database, registrar: &Registrar) -> Result<DemoCredentials> {
    let path = folder.join("credentials.json");
    if cli.reset_demo {
        registrar.delete_demo().await?;
    }
    // The file decides the passwords. It is replaced once nothing is declared with its own any more.
    let credentials = if path.exists() && !cli.reset_demo {
        kept(cli, &path)?
    } else {
        ensure!(
            !identity::seed::is_declared(database, registrar).await?,
            "{} is missing, and nothing else knows the demo's passwords: give --reset-demo to have it made anew",
            path.display()
        );
        let credentials =
            if cli.demo_password { DemoCredentials::documented() } else { DemoCredentials::generate(&SystemRandom) };
        // Before the rows: passwords that nobody knows would be of no use.
        write_private(&path, serde_json::to_string_pretty(&credentials)?.as_bytes())?;
        identity::seed::declare_demo(registrar, &credentials, &SystemRandom).await?;
        credentials
    };
    identity::seed::complete_demo(database, registrar, &credentials, &SystemRandom).await?;
    kms::seed::declare_demo(registrar).await?;
    Ok(credentials)
}

fn kept(cli: &Cli, path: &Path) -> Result<DemoCredentials> {
    let text = read_private(path)?;
    let kept: DemoCredentials =
        serde_json::from_slice(text.expose()).with_context(|| format!("{} cannot be read", path.display()))?;
    let missing = kept.missing();
    ensure!(
        missing.is_empty(),
        "{}: {} is missing; give --reset-demo to have it made anew",
        path.display(),
        missing.join(", ")
    );
    ensure!(
        !cli.demo_password || kept == DemoCredentials::documented(),
        "--demo-password: {} has other passwords, which stay; give --reset-demo, too, to have the demo made anew",
        path.display()
    );
    Ok(kept)
}
