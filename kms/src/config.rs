//! The settings of the KMS.

use std::path::PathBuf;

use keyrealm_config::{ConfigError, Database, Listener, Telemetry, Tls};
use serde::{Deserialize, Serialize};
use url::Url;

/// All settings.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// The listeners.
    pub server: Server,
    /// Certificates.
    pub tls: Tls,
    /// Where the data lies.
    pub database: Database,
    /// The unseal key.
    pub barrier: Barrier,
    /// Whose tokens are taken.
    pub auth: Auth,
    /// The log.
    pub telemetry: Telemetry,
}

/// The listeners.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Server {
    /// `https://host[:port]` as callers know it: the audience of their tokens.
    pub public_url: String,
    /// For everybody.
    pub public: Listener,
    /// For callers with a certificate.
    pub mtls: Listener,
    /// For probes.
    pub admin: Listener,
}

impl Default for Server {
    fn default() -> Self {
        Self {
            public_url: String::new(),
            public: Listener::loopback(8081),
            mtls: Listener::loopback(8443),
            admin: Listener::loopback(9091),
        }
    }
}

/// The barrier.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Barrier {
    /// The file of the unseal key: 32 random bytes, raw or as base64.
    pub unseal_key_file: PathBuf,
}

/// Whose tokens are taken.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Auth {
    /// The issuers; at least one.
    pub issuers: Vec<Issuer>,
}

/// An issuer of access tokens.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Issuer {
    /// The `iss` of its tokens.
    pub issuer: String,
    /// Where its key set is; may be an internal address.
    pub jwks_url: Url,
}

impl Config {
    /// Checks what a single value cannot show.
    ///
    /// # Errors
    /// All that is wrong, each with its key and the mend.
    pub fn check(&self) -> Result<(), ConfigError> {
        let mut wrong = Vec::new();
        let mut need = |ok: bool, text: &str| {
            if !ok {
                wrong.push(text.to_owned());
            }
        };
        let https = |text: &str| Url::parse(text).is_ok_and(|url| url.scheme() == "https" && url.path() == "/");
        need(
            https(&self.server.public_url) && !self.server.public_url.ends_with('/'),
            "server.public_url: must be https://host[:port] without a path; it is the audience of access tokens",
        );
        let files = [
            (&self.tls.certificate, "tls.certificate: give the file of the certificate chain (PEM)"),
            (&self.tls.key, "tls.key: give the file of the private key (PEM, mode 0600)"),
            (&self.tls.ca, "tls.ca: give the file of the CA bundle (PEM)"),
            (&self.barrier.unseal_key_file, "barrier.unseal_key_file: give the file of the unseal key (mode 0600)"),
        ];
        for (path, text) in files {
            need(!path.as_os_str().is_empty(), text);
        }
        need(
            !self.auth.issuers.is_empty(),
            "auth.issuers: give at least one issuer; without one nobody could be let in",
        );
        for issuer in &self.auth.issuers {
            need(issuer.jwks_url.scheme() == "https", "auth.issuers[].jwks_url: must be an https URL");
            need(!issuer.issuer.is_empty(), "auth.issuers[].issuer: must not be empty");
        }
        wrong.extend(self.database.problems());
        if wrong.is_empty() { Ok(()) } else { Err(ConfigError::Invalid(wrong)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Without an issuer the server does not start (KMS-03), and every mistake is told at once.
    #[test]
    fn an_empty_configuration_lists_all_that_is_missing() {
        let text = Config::default().check().unwrap_err().to_string();
        for needed in
            ["server.public_url", "tls.certificate", "tls.key", "tls.ca", "database.folder", "barrier.", "auth.issuers"]
        {
            assert!(text.contains(needed), "{needed} in {text}");
        }
    }
}
