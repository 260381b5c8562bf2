//! The constructor of client configurations.

use std::sync::Arc;

use rustls::ClientConfig;

use crate::{ReloadingIdentity, TlsError, TrustBundle, VERSIONS, provider};

/// A configuration that trusts the bundle alone and shows the identity, if there is one, as it is at each handshake.
///
/// # Errors
/// When rustls refuses the versions.
pub fn client_config(
    trust: &TrustBundle,
    identity: Option<&Arc<ReloadingIdentity>>,
) -> Result<Arc<ClientConfig>, TlsError> {
    #[allow(clippy::disallowed_methods, reason = "the one constructor of client configurations")]
    let builder = ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(VERSIONS)
        .map_err(|error| TlsError::Config(error.to_string()))?
        .with_root_certificates(trust.store());
    Ok(Arc::new(match identity {
        Some(identity) => builder.with_client_cert_resolver(Arc::clone(identity) as _),
        None => builder.with_no_client_auth(),
    }))
}
