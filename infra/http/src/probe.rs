//! Asking a server on this machine how it is: `live` and `ready` of the products.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use keyrealm_tls::{TlsError, TrustBundle, client_config};
use url::Url;

use crate::client::{ClientError, ClientOptions, HttpsClient};

/// Why it cannot be said to be well.
#[derive(Debug, thiserror::Error)]
pub enum ProbeError {
    /// The setting is no address.
    #[error("server.admin.address `{0}` is no address and port that can be found")]
    Address(String),
    /// No client could be made.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// It does not answer.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// It says that it is not well.
    #[error("{path} answered {status}")]
    Status {
        /// What was asked.
        path: String,
        /// The answer.
        status: http::StatusCode,
    },
}

/// Asks the admin listener at its address, by the name `localhost`, over TLS with the given bundle and full checks.
///
/// # Errors
/// When it does not answer 200.
pub async fn probe(trust: &TrustBundle, admin_address: &str, path: &str) -> Result<(), ProbeError> {
    let bad = || ProbeError::Address(admin_address.to_owned());
    let mut found = tokio::net::lookup_host(admin_address).await.map_err(|_| bad())?;
    let address = reachable(found.next().ok_or_else(bad)?);
    let port = address.port();
    let url = Url::parse(&format!("https://localhost:{port}/{path}")).map_err(|_| bad())?;
    let addresses = HashMap::from([(format!("localhost:{port}"), address)]);
    let client =
        HttpsClient::new(&client_config(trust, None)?, ClientOptions { addresses, ..ClientOptions::default() });
    match client.get(&url).await?.status {
        http::StatusCode::OK => Ok(()),
        status => Err(ProbeError::Status { path: path.to_owned(), status }),
    }
}

/// Who listens on all addresses is asked on the loopback one.
fn reachable(mut address: SocketAddr) -> SocketAddr {
    match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => address.set_ip(Ipv4Addr::LOCALHOST.into()),
        IpAddr::V6(ip) if ip.is_unspecified() => address.set_ip(Ipv6Addr::LOCALHOST.into()),
        _ => {}
    }
    address
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_addresses_are_asked_on_loopback_and_one_as_it_is() {
        for (given, asked) in
            [("0.0.0.0:9090", "127.0.0.1:9090"), ("[::]:9090", "[::1]:9090"), ("127.0.0.2:1", "127.0.0.2:1")]
        {
            assert_eq!(reachable(given.parse().unwrap()), asked.parse().unwrap());
        }
    }
}
