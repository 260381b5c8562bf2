//! Probes and metrics on the admin listener, over a chain of this process alone: nothing outside has to be there for it.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use axum::Router;
use axum::http::{Request, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use keyrealm_base::{Clock, SharedClock, SharedRandom, SystemClock};
use keyrealm_http::client::{ClientOptions, HttpsClient};
use keyrealm_http::{Check, Health, Limits, Listener, Peer, Serving, Standard, health_router, probe};
use keyrealm_pki::{CaChain, ChainSpec, LeafSpec, LeafUsage, NameStyle};
use keyrealm_tls::{
    ClientAuth, Identity, IdentityFiles, ReloadingIdentity, TrustBundle, Watch, client_config, server_config,
    server_config_beside_local, write_private, write_public,
};
use tokio::net::TcpListener;
use url::Url;

use crate::config::{AdminSettings, AdminTls};
use crate::journal::Journal;
use crate::metrics::Metrics;
use crate::stores::{Kind, Stores};

/// Leaves live for 90 days; each is replaced after this.
const RENEW: Duration = Duration::from_hours(24 * 30);
/// Without an answer of the API server for so long the process ends: a new one may find a way.
const WATCHDOG: Duration = Duration::from_secs(300);
/// Between two looks at how things are.
const LOOK: Duration = Duration::from_secs(5);

/// Where the files of the probes lie.
struct Files {
    ca: PathBuf,
    server: IdentityFiles,
    probe: IdentityFiles,
}

impl Files {
    fn of(folder: &Path) -> Self {
        let pair = |name: &str| IdentityFiles {
            certificate: folder.join(format!("{name}.crt")),
            key: folder.join(format!("{name}.key")),
        };
        Self { ca: folder.join("ca.crt"), server: pair("admin"), probe: pair("probe") }
    }
}

/// The chain of the admin listener. Its CA key is in memory alone.
pub struct AdminChain {
    chain: CaChain,
    files: Files,
    clock: SharedClock,
    random: SharedRandom,
}

impl AdminChain {
    /// Makes one, and writes the bundle and the leaves into the folder.
    ///
    /// # Errors
    /// When the folder cannot be written.
    pub fn make(folder: &Path, clock: SharedClock, random: SharedRandom) -> Result<Self> {
        let style = NameStyle::Descriptive { name: "Keyrealm operator probes".to_owned() };
        let chain = CaChain::generate(&ChainSpec::new(style), clock.as_ref(), random.as_ref())
            .context("cannot make the chain of the admin listener")?;
        let this = Self { chain, files: Files::of(folder), clock, random };
        let what =
            || format!("runtime_dir {}: cannot be written; give a folder of this process alone", folder.display());
        std::fs::create_dir_all(folder).with_context(what)?;
        write_public(&this.files.ca, this.chain.trust_bundle_pem().as_bytes()).with_context(what)?;
        this.issue().with_context(what)?;
        Ok(this)
    }

    fn issue(&self) -> Result<()> {
        for (files, name, usage) in
            [(&self.files.server, "localhost", LeafUsage::Server), (&self.files.probe, "probe", LeafUsage::Client)]
        {
            let leaf = self.chain.issue_leaf(&LeafSpec::new(name, usage), self.clock.as_ref(), self.random.as_ref())?;
            // The key first: a pair that does not fit is left until the other half is there.
            write_private(&files.key, leaf.key_pem.as_bytes())?;
            write_public(&files.certificate, leaf.chain_pem.as_bytes())?;
        }
        Ok(())
    }

    /// Replaces the leaves long before they end.
    pub async fn renew(self) {
        loop {
            tokio::time::sleep(RENEW).await;
            if let Err(error) = self.issue() {
                tracing::warn!(
                    error = format!("{error:#}"),
                    "the certificates of the admin listener cannot be renewed"
                );
            }
        }
    }

    /// Serves probes and metrics. The listener and the watch of its files last as long as the answer.
    ///
    /// # Errors
    /// When the address is taken, or the files cannot be read back.
    pub async fn serve(&self, settings: &AdminSettings, health: Health, metrics: Metrics) -> Result<Admin> {
        let address = &settings.address;
        let socket = TcpListener::bind(address)
            .await
            .with_context(|| format!("cannot listen on {address} (server.admin.address)"))?;
        let address = socket.local_addr()?;
        let trust = TrustBundle::from_file(&self.files.ca, self.clock.now())?;
        let (identity, watch) =
            ReloadingIdentity::watch(self.files.server.clone(), trust.clone(), Arc::clone(&self.clock))?;
        let clients = self.clients(settings.client_ca.as_deref(), &trust)?;
        let clients = ClientAuth::Optional(&clients);
        let mut watches = vec![watch];
        let tls = if settings.tls.is_given() {
            // The probes ask for localhost and are shown the process's own: what others gave cannot end it when it expires.
            let (given, watch) = self.given(&settings.tls)?;
            watches.push(watch);
            server_config_beside_local(&given, &identity, &clients)?
        } else {
            server_config(&identity, &clients)?
        };
        let standard = Standard {
            clock: Arc::clone(&self.clock),
            randomness: Arc::clone(&self.random),
            timeout: Duration::from_secs(10),
        };
        let figures = get(async move |request: Request<axum::body::Body>| figures(&metrics, &request));
        let router = health_router(health, standard).merge(Router::new().route("/metrics", figures));
        let limits = Limits { connections: 64, ..Limits::default() };
        let serving = Serving::start(vec![Listener { name: "admin", socket, tls, router }], limits);
        Ok(Admin { address, serving, _watches: watches })
    }

    /// What somebody gave for those outside.
    fn given(&self, files: &AdminTls) -> Result<(Arc<ReloadingIdentity>, Watch)> {
        let trust = TrustBundle::from_file(&files.ca, self.clock.now()).with_context(|| {
            format!("server.admin.tls.ca {}: must be a file of CA certificates (PEM)", files.ca.display())
        })?;
        let pair = IdentityFiles { certificate: files.certificate.clone(), key: files.key.clone() };
        ReloadingIdentity::watch(pair, trust, Arc::clone(&self.clock)).with_context(|| {
            format!(
                "server.admin.tls: {} (certificate) must be of a CA of {} (ca) and go with {} (key)",
                files.certificate.display(),
                files.ca.display(),
                files.key.display()
            )
        })
    }

    /// Whose client certificates are taken: the chain's own, and those of the CAs that somebody gave.
    fn clients(&self, given: Option<&Path>, own: &TrustBundle) -> Result<TrustBundle> {
        let Some(path) = given else { return Ok(own.clone()) };
        let what = || format!("server.admin.client_ca {}: must be a file of CA certificates (PEM)", path.display());
        let given = std::fs::read(path).with_context(what)?;
        // By itself first: one that is no bundle is not hidden by our own.
        TrustBundle::from_pem(&given, self.clock.now()).with_context(what)?;
        let both = [self.chain.trust_bundle_pem().as_bytes(), b"\n", &given].concat();
        TrustBundle::from_pem(&both, self.clock.now()).with_context(what)
    }
}

/// The running listener.
pub struct Admin {
    /// Where it is.
    pub address: std::net::SocketAddr,
    serving: Serving,
    _watches: Vec<Watch>,
}

impl Admin {
    /// Ends it.
    pub async fn stop(self) {
        self.serving.stop(Duration::from_millis(200)).await;
    }
}

/// Names of realms stand in the figures: like all but the probes they ask for a client certificate.
fn figures(metrics: &Metrics, request: &Request<axum::body::Body>) -> Response {
    if request.extensions().get::<Peer>().is_none_or(|peer| peer.certificates.is_none()) {
        return (StatusCode::UNAUTHORIZED, "show a client certificate of a CA of server.admin.client_ca\n")
            .into_response();
    }
    let content = [(header::CONTENT_TYPE, "application/openmetrics-text; version=1.0.0; charset=utf-8")];
    (content, metrics.render()).into_response()
}

/// What the checks and the watchdog look at.
pub struct Looks {
    /// What is filled by the watches.
    pub stores: Stores,
    /// When the API server answered last.
    pub journal: Journal,
    /// Figures.
    pub metrics: Metrics,
    /// The checks.
    pub health: Health,
}

impl Looks {
    /// Looks for ever. The end of it is the watchdog's: the process ends then.
    pub async fn run(self) {
        loop {
            self.look();
            let silence = self.journal.silence();
            if silence >= WATCHDOG {
                let seconds = silence.as_secs();
                tracing::error!(seconds, "the API server has not answered for too long; the process ends");
                return;
            }
            tokio::time::sleep(if self.stores.missing().is_empty() { LOOK } else { Duration::from_millis(200) }).await;
        }
    }

    fn look(&self) {
        let missing = self.stores.missing();
        self.health.set(
            "stores",
            if missing.is_empty() {
                Check::Ok
            } else {
                Check::Failed(format!("no list yet of: {}; see the log for why", missing.join(", ")))
            },
        );
        let silence = self.journal.silence();
        self.health.set(
            "api-server",
            // A quiet cluster's watches are opened again every 200 s.
            if silence < Duration::from_secs(240) {
                Check::Ok
            } else {
                Check::Degraded("the API server has not answered for four minutes".to_owned())
            },
        );
        count::<crds::Realm>(&self.stores, &self.metrics);
        count::<crds::Tenant>(&self.stores, &self.metrics);
        count::<crds::DemoEnvironment>(&self.stores, &self.metrics);
    }
}

fn count<K: Kind>(stores: &Stores, metrics: &Metrics) {
    let all = K::feed(stores).store().state();
    let is_ready = |object: &Arc<K>| {
        let ready = object.conditions().iter().find(|condition| condition.kind == crds::READY);
        ready.is_some_and(|condition| condition.status == crds::ConditionStatus::True)
    };
    let ready = all.iter().filter(|object| is_ready(object)).count();
    metrics.objects(K::KIND.name(), ready, all.len() - ready);
    metrics.queue_depth(K::KIND.name(), stores.queues().of(K::KIND).depth());
}

/// `operator live`.
///
/// # Errors
/// When the running process does not answer that it lives.
pub async fn live(folder: &Path, address: &str) -> Result<()> {
    let trust = TrustBundle::from_file(&Files::of(folder).ca, SystemClock.now())
        .context("is the operator running here? runtime_dir holds no bundle of it")?;
    Ok(probe(&trust, address, "livez").await?)
}

/// `operator ready`; with what is missing when it is not.
///
/// # Errors
/// When the running process does not answer that it is ready.
pub async fn ready(folder: &Path, address: &str) -> Result<()> {
    let files = Files::of(folder);
    let trust = TrustBundle::from_file(&files.ca, SystemClock.now())
        .context("is the operator running here? runtime_dir holds no bundle of it")?;
    let Err(refused) = probe(&trust, address, "readyz").await else { return Ok(()) };
    bail!("{refused}: {}", reasons(&files, &trust, address).await.unwrap_or_default())
}

async fn reasons(files: &Files, trust: &TrustBundle, address: &str) -> Result<String> {
    let identity = ReloadingIdentity::new(Identity::from_files(&files.probe, trust, SystemClock.now())?);
    let port = address.rsplit_once(':').map_or("9090", |(_, port)| port);
    let url: Url = format!("https://localhost:{port}/readyz").parse()?;
    let client = HttpsClient::new(&client_config(trust, Some(&identity))?, ClientOptions::default());
    let answer = client.get(&url).await?;
    Ok(String::from_utf8_lossy(&answer.body).into_owned())
}
