//! Sections that mean the same in every product.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// How careful the product must be.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Profile {
    /// On a developer's machine.
    Dev,
    /// For showing; as strict as production.
    Demo,
    /// In tests.
    Ci,
    /// For real.
    #[default]
    Prod,
}

/// A listener.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Listener {
    /// Address and port, such as `127.0.0.1:8443`; port 0 takes a free one.
    pub address: String,
}

impl Listener {
    /// On this port of the loopback address.
    #[must_use]
    pub fn loopback(port: u16) -> Self {
        Self { address: format!("127.0.0.1:{port}") }
    }
}

/// Files for TLS.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Tls {
    /// The leaf and the CAs up to the root, PEM.
    pub certificate: PathBuf,
    /// The private key, PEM, readable by nobody else.
    pub key: PathBuf,
    /// The CA bundle that is trusted, PEM.
    pub ca: PathBuf,
}

/// The database: a folder of SQLite files for one process.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Database {
    /// The folder.
    pub folder: PathBuf,
}

/// The log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Telemetry {
    /// `human` or `json`.
    pub format: String,
    /// A filter such as `info` or `info,kms=debug`.
    pub level: String,
}

impl Default for Telemetry {
    fn default() -> Self {
        Self { format: "human".to_owned(), level: "info".to_owned() }
    }
}
