//! A client of an API server: our TLS below, kube's own authentication above.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::task::Poll;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use arc_swap::ArcSwap;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::HeaderValue;
use http::header::USER_AGENT;
use keyrealm_base::{Clock, SystemClock};
use keyrealm_http::raw::{RawClient, raw_client};
use keyrealm_tls::{Identity, ReloadingIdentity, TrustBundle, client_config, read_private};
use kube::Client;
use kube::client::retry::RetryPolicy;
use kube::client::{Body, ClientBuilder, ConfigExt};
use kube::config::{AuthInfo, Config, KubeConfigOptions, Kubeconfig};
use secrecy::ExposeSecret;
use tower::retry::RetryLayer;
use tower::util::BoxCloneService;
use tower::{BoxError, Service, ServiceExt};

pub use crate::sent::{BeforeSending, Sent};

/// The longest that a connection may take to be made.
const CONNECT: Duration = Duration::from_secs(10);
/// A pod's CA bundle is read again this often; kube reads its token again every minute.
const CA_AGE: Duration = Duration::from_secs(60);

/// Which API server, as kubectl would be told.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Access {
    /// A kubeconfig, in place of `KUBECONFIG`, `~/.kube/config` or a pod's service account.
    pub kubeconfig: Option<PathBuf>,
    /// A context in it.
    pub context: Option<String>,
}

/// What happens when the server is busy (429, 503, 504).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Retry {
    /// The caller hears of it at once.
    None,
    /// It is asked up to three times more, within about two seconds or as it says itself.
    Bounded,
}

/// What sends requests and takes answers, once all layers above have done their part.
pub type Transport = BoxCloneService<http::Request<Body>, http::Response<<RawClient<Sent> as HasBody>::Body>, BoxError>;

/// The body of a service's answers.
pub trait HasBody {
    /// Its type.
    type Body;
}

impl<S, B> HasBody for S
where
    S: Service<http::Request<Sent>, Response = http::Response<B>>,
{
    type Body = B;
}

/// A configuration that was found.
pub struct ApiServer {
    config: Config,
}

impl ApiServer {
    /// Reads the configuration: the given kubeconfig, or kubectl's own, or a pod's service account.
    ///
    /// # Errors
    /// When there is none, or it cannot be used.
    pub async fn find(access: &Access) -> Result<Self> {
        let mut config = configuration(access).await?;
        config.headers.push((USER_AGENT, user_agent(std::env::args_os().next().as_deref())?));
        Ok(Self { config })
    }

    /// Its URL.
    #[must_use]
    pub fn url(&self) -> String {
        self.config.cluster_url.to_string().trim_end_matches('/').to_owned()
    }

    /// The namespace of the context or of the pod.
    #[must_use]
    pub fn namespace(&self) -> &str {
        &self.config.default_namespace
    }

    /// A client.
    ///
    /// # Errors
    /// When the configuration would not check the server, or its credentials cannot be used.
    pub fn client(&self, retry: Retry) -> Result<Client> {
        self.client_over(retry, |transport| transport)
    }

    /// A client with something between it and the connection; it sees every attempt.
    ///
    /// # Errors
    /// As [`ApiServer::client`].
    pub fn client_over(&self, retry: Retry, wrap: impl FnOnce(Transport) -> Transport) -> Result<Client> {
        client(&self.config, retry, wrap).with_context(|| format!("the cluster at {} cannot be used", self.url()))
    }
}

/// As kubectl names itself: what an audit log, or one who limits requests, knows a program by.
fn user_agent(program: Option<&OsStr>) -> Result<HeaderValue> {
    let name = program.map(Path::new).and_then(Path::file_stem).and_then(OsStr::to_str);
    let name = name.filter(|name| name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte)));
    let text = format!("keyrealm-{}/{}", name.unwrap_or("client"), env!("CARGO_PKG_VERSION"));
    HeaderValue::try_from(text).context("the name of this program")
}

async fn configuration(access: &Access) -> Result<Config> {
    let options = KubeConfigOptions { context: access.context.clone(), ..KubeConfigOptions::default() };
    if let Some(file) = &access.kubeconfig {
        let what = || format!("--kubeconfig {} cannot be used", file.display());
        let kubeconfig = Kubeconfig::read_from(file).with_context(what)?;
        return Config::from_custom_kubeconfig(kubeconfig, &options).await.with_context(what);
    }
    match Config::from_kubeconfig(&options).await {
        Ok(config) => Ok(config),
        Err(error) if access.context.is_some() => {
            Err(error).context("--context: the kubeconfig (KUBECONFIG or ~/.kube/config) cannot be used")
        }
        Err(error) => Config::incluster().with_context(|| {
            format!("there is no kubeconfig (KUBECONFIG or ~/.kube/config: {error}) and no pod's service account; give --kubeconfig FILE")
        }),
    }
}

fn client(config: &Config, retry: Retry, wrap: impl FnOnce(Transport) -> Transport) -> Result<Client> {
    ensure!(config.cluster_url.scheme_str() == Some("https"), "its kubeconfig names no https server");
    ensure!(
        !config.accept_invalid_certs,
        "its kubeconfig has insecure-skip-tls-verify: true, and nothing is sent to a server that is not verified; put its CA into certificate-authority-data"
    );
    ensure!(
        config.proxy_url.is_none(),
        "its kubeconfig has a proxy-url, which is not supported; use a context without one"
    );
    let roots = config.root_cert.as_deref().filter(|certificates| !certificates.is_empty()).context(
        "its kubeconfig names no CA, and the system's are not taken; put the CA into certificate-authority-data",
    )?;
    let trust = TrustBundle::from_der(roots, SystemClock.now()).context("the CA of its kubeconfig cannot be used")?;
    let identity = certificate(&config.auth_info)?.map(ReloadingIdentity::new);
    let connector = Connector { identity, server_name: config.tls_server_name.clone() };
    let base = connector.over(&trust)?;
    let base: Transport = match &config.root_cert_file {
        Some(file) => {
            let base = FreshCa::new(base, trust.sha256(), file.clone(), connector);
            BoxCloneService::new(base.map_request(Sent::of))
        }
        None => BoxCloneService::new(base.map_request(Sent::of)),
    };
    let auth = config.auth_layer().context("the log-in of its kubeconfig fails")?;
    ensure!(
        config.auth_info.exec.is_none() || auth.is_some(),
        "the exec plugin of its kubeconfig gives a client certificate, which is not supported; use a context with a token or with client-certificate-data"
    );
    let base = ClientBuilder::new(wrap(base), config.default_namespace.as_str())
        .with_layer(&config.extra_headers_layer().context("the impersonation of its kubeconfig cannot be used")?);
    let policy = || {
        RetryPolicy::new(Duration::from_millis(200), Duration::from_secs(2), 3, true)
            .map(RetryLayer::new)
            .context("the bounds of retries")
    };
    let address = config.base_uri_layer();
    Ok(match (auth, retry) {
        (Some(auth), Retry::Bounded) => base.with_layer(&auth).with_layer(&policy()?).with_layer(&address).build(),
        (Some(auth), Retry::None) => base.with_layer(&auth).with_layer(&address).build(),
        (None, Retry::Bounded) => base.with_layer(&policy()?).with_layer(&address).build(),
        (None, Retry::None) => base.with_layer(&address).build(),
    })
}

/// Makes connections with the same identity over whichever bundle is trusted.
struct Connector {
    identity: Option<Arc<ReloadingIdentity>>,
    server_name: Option<String>,
}

impl Connector {
    fn over(&self, trust: &TrustBundle) -> Result<RawClient<Sent>> {
        let tls = client_config(trust, self.identity.as_ref())?;
        raw_client::<Sent>(&tls, self.server_name.as_deref(), CONNECT).context("its tls-server-name is no name")
    }
}

/// A transport whose CA bundle lies in a file that is replaced while we run (a pod's).
#[derive(Clone)]
struct FreshCa(Arc<CaState>);

struct CaState {
    current: ArcSwap<RawClient<Sent>>,
    connector: Connector,
    file: PathBuf,
    began: Instant,
    /// Seconds after `began` at which the file was read last.
    read: AtomicU64,
    sha256: Mutex<String>,
}

impl FreshCa {
    fn new(base: RawClient<Sent>, sha256: &str, file: PathBuf, connector: Connector) -> Self {
        let (began, read, sha256) = (Instant::now(), AtomicU64::new(0), Mutex::new(sha256.to_owned()));
        Self(Arc::new(CaState { current: ArcSwap::from_pointee(base), connector, file, began, read, sha256 }))
    }
}

impl CaState {
    /// Takes the file's bundle when it is a new one that can be used; the old one stays otherwise.
    fn refresh(&self) {
        let now = self.began.elapsed().as_secs();
        let before = self.read.load(Ordering::Relaxed);
        let due = now.saturating_sub(before) >= CA_AGE.as_secs();
        if due && self.read.compare_exchange(before, now, Ordering::Relaxed, Ordering::Relaxed).is_ok() {
            self.read_again();
        }
    }

    fn read_again(&self) {
        // A broken file is no reason to go without the bundle that worked so far.
        let Ok(trust) = TrustBundle::from_file(&self.file, SystemClock.now()) else { return };
        let Ok(mut sha256) = self.sha256.lock() else { return };
        if *sha256 != trust.sha256()
            && let Ok(client) = self.connector.over(&trust)
        {
            self.current.store(Arc::new(client));
            trust.sha256().clone_into(&mut sha256);
        }
    }
}

impl Service<http::Request<Sent>> for FreshCa {
    type Response = <RawClient<Sent> as Service<http::Request<Sent>>>::Response;
    type Error = BoxError;
    type Future = tower::util::Oneshot<RawClient<Sent>, http::Request<Sent>>;

    fn poll_ready(&mut self, _: &mut std::task::Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Sent>) -> Self::Future {
        self.0.refresh();
        RawClient::clone(&self.0.current.load()).oneshot(request)
    }
}

/// The client certificate of a kubeconfig's user, if there is one. The data comes before the file, as in kubectl.
fn certificate(user: &AuthInfo) -> Result<Option<Identity>> {
    let decode = |what: &'static str, text: &str| {
        STANDARD.decode(text.trim()).with_context(|| format!("{what} of its kubeconfig is no base64"))
    };
    let chain = match (&user.client_certificate_data, &user.client_certificate) {
        (Some(data), _) => Some(decode("client-certificate-data", data)?),
        (None, Some(path)) => {
            Some(std::fs::read(path).with_context(|| format!("client-certificate {path} of its kubeconfig"))?)
        }
        (None, None) => None,
    };
    let key = match (&user.client_key_data, &user.client_key) {
        (Some(data), _) => Some(decode("client-key-data", data.expose_secret())?),
        (None, Some(path)) => {
            let key = read_private(Path::new(path)).context("client-key of its kubeconfig cannot be read")?;
            Some(key.expose().to_vec())
        }
        (None, None) => None,
    };
    match (chain, key) {
        (None, None) => Ok(None),
        (Some(chain), Some(key)) => Identity::for_foreign_server(&chain, &key)
            .map(Some)
            .context("the client certificate of its kubeconfig cannot be used"),
        _ => anyhow::bail!("its kubeconfig has a client certificate without a key, or a key without a certificate"),
    }
}

#[cfg(test)]
#[path = "client_tests.rs"]
mod tests;
