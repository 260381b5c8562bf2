//! Asking a server on this machine how it is: `live` and `ready` of the products.

use keyrealm_tls::{TlsError, TrustBundle, client_config};
use url::Url;

use crate::client::{ClientError, ClientOptions, HttpsClient};

/// Why it cannot be said to be well.
#[derive(Debug, thiserror::Error)]
pub enum ProbeError {
    /// The setting has no port.
    #[error("server.admin.address `{0}` has no port")]
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

/// Asks the admin listener by the name `localhost`, over TLS with the given bundle and full checks.
///
/// # Errors
/// When it does not answer 200.
pub async fn probe(trust: &TrustBundle, admin_address: &str, path: &str) -> Result<(), ProbeError> {
    let bad = || ProbeError::Address(admin_address.to_owned());
    let port: u16 = admin_address.rsplit_once(':').and_then(|(_, port)| port.parse().ok()).ok_or_else(bad)?;
    let url = Url::parse(&format!("https://localhost:{port}/{path}")).map_err(|_| bad())?;
    let client = HttpsClient::new(&client_config(trust, None)?, ClientOptions::default());
    match client.get(&url).await?.status {
        http::StatusCode::OK => Ok(()),
        status => Err(ProbeError::Status { path: path.to_owned(), status }),
    }
}
