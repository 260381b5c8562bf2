//! The API server of a kubeconfig: our TLS below, kube's own authentication above.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use keyrealm_base::{Clock, SystemClock};
use keyrealm_http::raw::raw_client;
use keyrealm_tls::{Identity, ReloadingIdentity, TrustBundle, client_config, read_private};
use kube::Client;
use kube::client::{Body, ClientBuilder, ConfigExt};
use kube::config::{AuthInfo, Config, KubeConfigOptions, Kubeconfig};
use secrecy::ExposeSecret;

use crate::target::AttachFlags;

/// The longest that one call may take.
pub(super) const CALL: Duration = Duration::from_secs(10);

/// A client, and where it leads.
pub(super) struct Api {
    pub(super) client: Client,
    pub(super) server: String,
}

/// The API server that kubectl would take with the same flags.
///
/// # Errors
/// When there is no configuration, or one that would not check the server.
pub(super) async fn connect(flags: &AttachFlags) -> Result<Api> {
    let config = configuration(flags).await?;
    let server = config.cluster_url.to_string().trim_end_matches('/').to_owned();
    let client = client(&config).with_context(|| format!("the cluster at {server} cannot be used"))?;
    Ok(Api { client, server })
}

async fn configuration(flags: &AttachFlags) -> Result<Config> {
    let options = KubeConfigOptions { context: flags.context.clone(), ..KubeConfigOptions::default() };
    if let Some(file) = &flags.kubeconfig {
        let what = || format!("--kubeconfig {} cannot be used", file.display());
        let kubeconfig = Kubeconfig::read_from(file).with_context(what)?;
        return Config::from_custom_kubeconfig(kubeconfig, &options).await.with_context(what);
    }
    match Config::from_kubeconfig(&options).await {
        Ok(config) => Ok(config),
        Err(error) if flags.context.is_some() => {
            Err(error).context("--context: the kubeconfig (KUBECONFIG or ~/.kube/config) cannot be used")
        }
        Err(error) => Config::incluster().with_context(|| {
            format!("there is no kubeconfig (KUBECONFIG or ~/.kube/config: {error}) and no pod's service account; give --kubeconfig FILE")
        }),
    }
}

fn client(config: &Config) -> Result<Client> {
    ensure!(config.cluster_url.scheme_str() == Some("https"), "its kubeconfig names no https server");
    ensure!(
        !config.accept_invalid_certs,
        "its kubeconfig has insecure-skip-tls-verify: true, and nothing is sent to a server that is not verified; put its CA into certificate-authority-data"
    );
    ensure!(
        config.proxy_url.is_none(),
        "its kubeconfig has a proxy-url, which the demo does not know; use a context without one"
    );
    let trust = config.root_cert.as_deref().filter(|certificates| !certificates.is_empty()).context(
        "its kubeconfig names no CA, and the system's are not taken; put the CA into certificate-authority-data",
    )?;
    let trust = TrustBundle::from_der(trust, SystemClock.now()).context("the CA of its kubeconfig cannot be used")?;
    let identity = certificate(&config.auth_info)?;
    let tls = client_config(&trust, identity.map(ReloadingIdentity::new).as_ref())?;
    let server_name = config.tls_server_name.as_deref();
    let base = raw_client::<Body>(&tls, server_name, CALL).context("its tls-server-name is no name")?;
    let builder = ClientBuilder::new(base, config.default_namespace.as_str())
        .with_layer(&config.extra_headers_layer().context("the impersonation of its kubeconfig cannot be used")?);
    let auth = config.auth_layer().context("the log-in of its kubeconfig fails")?;
    ensure!(
        config.auth_info.exec.is_none() || auth.is_some(),
        "the exec plugin of its kubeconfig gives a client certificate, which the demo does not take; use a context with a token or with client-certificate-data"
    );
    Ok(match auth {
        Some(auth) => builder.with_layer(&auth).with_layer(&config.base_uri_layer()).build(),
        None => builder.with_layer(&config.base_uri_layer()).build(),
    })
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
            let key = read_private(path.as_ref()).context("client-key of its kubeconfig cannot be read")?;
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
#[path = "api_tests.rs"]
mod tests;
