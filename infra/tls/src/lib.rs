//! The only place that builds rustls configurations: TLS 1.3 only, the given CA bundle only, everything checked.

mod client;
mod error;
mod files;
mod identity;
mod reload;
mod server;
mod trust;

pub use client::client_config;
pub use error::TlsError;
pub use files::{read_private, write_private, write_public};
pub use identity::{Identity, IdentityFiles};
pub use reload::{ReloadingIdentity, Watch};
pub use server::{ClientAuth, server_config, server_config_beside_local};
pub use trust::TrustBundle;

use std::sync::Arc;

use rustls::crypto::CryptoProvider;

/// TLS 1.3 alone, whatever other crates turn on in the library.
static VERSIONS: &[&rustls::SupportedProtocolVersion] = &[&rustls::version::TLS13];

/// aws-lc-rs with X25519MLKEM768 first; named here, never taken from the process' default.
fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::aws_lc_rs::default_provider())
}
