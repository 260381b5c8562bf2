//! A client for libraries that bring their own requests and answers (kube's), with our TLS below.

use std::sync::Arc;
use std::time::Duration;

use hyper::body::Body;
use hyper_rustls::{FixedServerNameResolver, HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::{Client, Error};
use hyper_util::rt::{TokioExecutor, TokioTimer};
use rustls::ClientConfig;
use rustls_pki_types::ServerName;
use tower::util::MapErr;
use tower::{BoxError, ServiceExt};

/// Sends requests as they are; HTTP/1.1, https only, upgrades included.
pub type RawClient<B> = MapErr<Client<HttpsConnector<HttpConnector>, B>, fn(Error) -> BoxError>;

/// A client with this TLS configuration (from `keyrealm-tls`). With `server_name` the server's certificate must be for
/// that name and not for the URL's host.
///
/// # Errors
/// When `server_name` is no name.
pub fn raw_client<B>(
    tls: &Arc<ClientConfig>,
    server_name: Option<&str>,
    connect_timeout: Duration,
) -> Result<RawClient<B>, rustls_pki_types::InvalidDnsNameError>
where
    B: Body + Send + Unpin + 'static,
    B::Data: Send,
    B::Error: Into<BoxError>,
{
    let mut tcp = HttpConnector::new();
    tcp.enforce_http(false);
    tcp.set_connect_timeout(Some(connect_timeout));
    tcp.set_nodelay(true);
    // A long answer (a watch) over a way that is gone ends, instead of being waited for.
    tcp.set_keepalive(Some(Duration::from_secs(30)));
    tcp.set_keepalive_interval(Some(Duration::from_secs(10)));
    tcp.set_keepalive_retries(Some(3));
    let builder = HttpsConnectorBuilder::new().with_tls_config(ClientConfig::clone(tls)).https_only();
    let builder = match server_name {
        Some(name) => {
            builder.with_server_name_resolver(FixedServerNameResolver::new(ServerName::try_from(name)?.to_owned()))
        }
        None => builder,
    };
    let client = Client::builder(TokioExecutor::new())
        .pool_timer(TokioTimer::new())
        .build(builder.enable_http1().wrap_connector(tcp));
    Ok(client.map_err(BoxError::from as fn(Error) -> BoxError))
}
