//! Sections that mean the same in every product.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

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

    /// What is wrong with it; `key` is the setting's.
    #[must_use]
    pub fn problem(&self, key: &str) -> Option<String> {
        let host_and_port = self.address.rsplit_once(':').filter(|(host, port)| {
            // An IPv6 address stands in brackets: otherwise its last group would be the port.
            let bracketed = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
            let host_is_one = match bracketed {
                Some(host) => host.parse::<std::net::Ipv6Addr>().is_ok(),
                None => !host.is_empty() && host.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'.'),
            };
            host_is_one && port.parse::<u16>().is_ok()
        });
        match host_and_port {
            Some(_) => None,
            None => {
                Some(format!("{key}: must be host:port or [IPv6]:port, such as 0.0.0.0:8443; it is `{}`", self.address))
            }
        }
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

/// The database: a folder of SQLite files for one process, or PostgreSQL for several.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Database {
    /// The folder of SQLite files; not used with `postgres`.
    pub folder: PathBuf,
    /// Where PostgreSQL is, and the product's own login there.
    pub postgres: Option<Postgres>,
    /// A login of PostgreSQL that creates schemas and roles (CREATEROLE, CREATE on the database), the same for both products.
    /// Left out where somebody else does that, such as the operator.
    pub registrar: Option<Login>,
}

/// A PostgreSQL database.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Postgres {
    /// The host; the server's certificate must name it.
    pub host: String,
    /// The port.
    pub port: u16,
    /// The database.
    pub database: String,
    /// The product's login: NOINHERIT, without any other right.
    pub user: String,
    /// The file with its password.
    pub password_file: PathBuf,
    /// The CA bundle that the server's certificate is checked against, PEM.
    pub ca: PathBuf,
    /// Connections at most, 2 to 100.
    pub connections: u32,
    /// For how many seconds cached keys are used without word from the database, 2 to 300.
    pub lease_seconds: u32,
}

impl Default for Postgres {
    fn default() -> Self {
        Self {
            host: String::new(),
            port: 5432,
            database: "keyrealm".to_owned(),
            user: String::new(),
            password_file: PathBuf::new(),
            ca: PathBuf::new(),
            connections: 10,
            lease_seconds: 10,
        }
    }
}

/// A login of PostgreSQL.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Login {
    /// Its name.
    pub user: String,
    /// The file with its password.
    pub password_file: PathBuf,
}

impl Database {
    /// What is wrong with it, each with its key and the mend.
    #[must_use]
    pub fn problems(&self) -> Vec<String> {
        let mut wrong = Vec::new();
        let mut need = |ok: bool, text: &str| {
            if !ok {
                wrong.push(text.to_owned());
            }
        };
        let given = |path: &PathBuf| !path.as_os_str().is_empty();
        need(
            given(&self.folder) || self.postgres.is_some(),
            "database.folder: give the folder for the database files, or database.postgres",
        );
        if let Some(postgres) = &self.postgres {
            need(!given(&self.folder), "database: give either folder or postgres, not both");
            need(
                !postgres.host.is_empty(),
                "database.postgres.host: give the host that the server's certificate names",
            );
            need(!postgres.user.is_empty(), "database.postgres.user: give the product's login");
            need(given(&postgres.password_file), "database.postgres.password_file: give the file with its password");
            need(given(&postgres.ca), "database.postgres.ca: give the CA bundle of the server's certificate (PEM)");
            need((2..=100).contains(&postgres.connections), "database.postgres.connections: must be 2 to 100");
            need((2..=300).contains(&postgres.lease_seconds), "database.postgres.lease_seconds: must be 2 to 300");
        }
        if let Some(registrar) = &self.registrar {
            need(self.postgres.is_some(), "database.registrar: is for database.postgres only");
            need(!registrar.user.is_empty(), "database.registrar.user: give the login that creates schemas");
            need(given(&registrar.password_file), "database.registrar.password_file: give the file with its password");
        }
        wrong
    }
}

/// The form of log lines.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LogFormat {
    /// For people.
    #[default]
    Human,
    /// One JSON object a line.
    Json,
}

/// The log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Telemetry {
    /// The form of its lines.
    pub format: LogFormat,
    /// A filter such as `info` or `info,kms=debug`.
    pub level: String,
}

impl Default for Telemetry {
    fn default() -> Self {
        Self { format: LogFormat::Human, level: "info".to_owned() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn listeners_are_addresses_with_a_port() {
        let problem = |address: &str| Listener { address: address.to_owned() }.problem("server.admin.address");
        for good in ["127.0.0.1:0", "0.0.0.0:8443", "[::]:9090", "localhost:1", "kms-0.kms.svc:443"] {
            assert_eq!(problem(good), None);
        }
        for bad in ["", "8443", ":8443", "localhost", "localhost:", "localhost:65536", "::1", "[::1]", "a b:1", "[x]:1"]
        {
            let text = problem(bad).unwrap();
            assert!(text.contains("server.admin.address") && text.contains("host:port"), "{bad}: {text}");
        }
    }
}
