//! The constructor of server configurations.

use std::sync::Arc;

use rustls::ServerConfig;
use rustls::server::{ClientHello, NoClientAuth, NoServerSessionStorage, ResolvesServerCert, WebPkiClientVerifier};
use rustls::sign::CertifiedKey;

use crate::{ReloadingIdentity, TlsError, TrustBundle, VERSIONS, provider};

/// Whether a client must show a certificate.
pub enum ClientAuth<'a> {
    /// It is not asked: browsers would show a picker.
    None,
    /// It may; one that does not verify ends the handshake.
    Optional(&'a TrustBundle),
    /// It must.
    Required(&'a TrustBundle),
}

/// A configuration that serves the identity as it is now and after each reload. ALPN: h2, http/1.1.
///
/// # Errors
/// When rustls refuses the bundle.
pub fn server_config(
    identity: &Arc<ReloadingIdentity>,
    clients: &ClientAuth<'_>,
) -> Result<Arc<ServerConfig>, TlsError> {
    of_resolver(Arc::clone(identity) as _, clients)
}

/// As [`server_config`], for a listener with two identities: who asks for `localhost` (SNI, RFC 6066, section 3) is shown
/// `local`, everybody else `identity`.
///
/// # Errors
/// As [`server_config`].
pub fn server_config_beside_local(
    identity: &Arc<ReloadingIdentity>,
    local: &Arc<ReloadingIdentity>,
    clients: &ClientAuth<'_>,
) -> Result<Arc<ServerConfig>, TlsError> {
    let (identity, local) = (Arc::clone(identity), Arc::clone(local));
    of_resolver(Arc::new(BesideLocal { identity, local }), clients)
}

#[derive(Debug)]
struct BesideLocal {
    identity: Arc<ReloadingIdentity>,
    local: Arc<ReloadingIdentity>,
}

impl ResolvesServerCert for BesideLocal {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let is_local = hello.server_name().is_some_and(|name| name.eq_ignore_ascii_case("localhost"));
        if is_local { self.local.resolve(hello) } else { self.identity.resolve(hello) }
    }
}

fn of_resolver(resolver: Arc<dyn ResolvesServerCert>, clients: &ClientAuth<'_>) -> Result<Arc<ServerConfig>, TlsError> {
    let refuse = |error: &dyn std::fmt::Display| TlsError::Config(error.to_string());
    let verifier = |trust: &TrustBundle| WebPkiClientVerifier::builder_with_provider(trust.store(), provider());
    let verifier = match clients {
        ClientAuth::None => Arc::new(NoClientAuth),
        ClientAuth::Optional(trust) => {
            verifier(trust).allow_unauthenticated().build().map_err(|error| refuse(&error))?
        }
        ClientAuth::Required(trust) => verifier(trust).build().map_err(|error| refuse(&error))?,
    };
    #[allow(clippy::disallowed_methods, reason = "the one constructor of server configurations")]
    let mut config = ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(VERSIONS)
        .map_err(|error| refuse(&error))?
        .with_client_cert_verifier(verifier)
        .with_cert_resolver(resolver);
    if !matches!(clients, ClientAuth::None) {
        // A resumed session shows the client certificate of the first handshake without looking at it again, so that
        // one that expired or lost its CA meanwhile would still pass (RFC 8446, section 4.6.1).
        config.send_tls13_tickets = 0;
        config.session_storage = Arc::new(NoServerSessionStorage {});
    }
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}
