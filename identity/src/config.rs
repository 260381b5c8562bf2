//! The settings of the identity server.

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
    /// Tokens.
    pub tokens: Tokens,
    /// The log.
    pub telemetry: Telemetry,
}

/// The listeners.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Server {
    /// `https://host[:port]`: the issuer. Never change it: tokens and clients hold it.
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
            public: Listener::loopback(8082),
            mtls: Listener::loopback(8444),
            admin: Listener::loopback(9092),
        }
    }
}

/// The barrier.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Barrier {
    /// The file of the unseal key: 32 random bytes, raw or as base64. Not that of the KMS.
    pub unseal_key_file: PathBuf,
}

/// Tokens and sessions; all lifetimes in seconds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Tokens {
    /// The `aud` of access tokens: the KMS's `server.public_url`.
    pub audience: String,
    /// Access tokens.
    pub access_seconds: u32,
    /// Refresh tokens, from the log-in on.
    pub refresh_seconds: u32,
    /// id_tokens.
    pub id_seconds: u32,
    /// Codes, at most 60.
    pub code_seconds: u32,
    /// Log-in sessions.
    pub session_seconds: u32,
    /// Log-in sessions that nobody uses.
    pub idle_seconds: u32,
}

impl Default for Tokens {
    fn default() -> Self {
        Self {
            audience: String::new(),
            access_seconds: 900,
            refresh_seconds: 86_400,
            id_seconds: 3_600,
            code_seconds: 60,
            session_seconds: 28_800,
            idle_seconds: 1_800,
        }
    }
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
        let https = |text: &str| {
            Url::parse(text).is_ok_and(|url| url.scheme() == "https" && url.path() == "/") && !text.ends_with('/')
        };
        need(
            https(&self.server.public_url),
            "server.public_url: must be https://host[:port] without a path; it is the issuer",
        );
        need(https(&self.tokens.audience), "tokens.audience: must be the KMS's server.public_url, https://host[:port]");
        let files = [
            (&self.tls.certificate, "tls.certificate: give the file of the certificate chain (PEM)"),
            (&self.tls.key, "tls.key: give the file of the private key (PEM, mode 0600)"),
            (&self.tls.ca, "tls.ca: give the file of the CA bundle (PEM)"),
            (&self.barrier.unseal_key_file, "barrier.unseal_key_file: give the file of the unseal key (mode 0600)"),
        ];
        for (path, text) in files {
            need(!path.as_os_str().is_empty(), text);
        }
        let within = |seconds: u32, most: u32| (1..=most).contains(&seconds);
        need(within(self.tokens.access_seconds, 86_400), "tokens.access_seconds: must be 1 to 86400");
        need(within(self.tokens.refresh_seconds, 31_536_000), "tokens.refresh_seconds: must be 1 to 31536000");
        need(within(self.tokens.id_seconds, 86_400), "tokens.id_seconds: must be 1 to 86400");
        need(within(self.tokens.code_seconds, 60), "tokens.code_seconds: must be 1 to 60");
        need(within(self.tokens.session_seconds, 2_592_000), "tokens.session_seconds: must be 1 to 2592000");
        need(within(self.tokens.idle_seconds, 2_592_000), "tokens.idle_seconds: must be 1 to 2592000");
        wrong.extend(self.database.problems());
        if wrong.is_empty() { Ok(()) } else { Err(ConfigError::Invalid(wrong)) }
    }
}
