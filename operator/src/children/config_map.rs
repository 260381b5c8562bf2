//! ConfigMaps: a server's settings, the trust bundle, and who may connect to the managed database.

use keyrealm_crypto::sha256_hex;
use serde_json::{Value, json};

use super::{Home, Part};
use crate::child::{Child, ChildKind};

/// Where the database is, as the servers are told. Nothing of it is secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Connection {
    /// The host; the database's certificate names it.
    pub host: String,
    /// The port.
    pub port: u16,
    /// The database.
    pub database: String,
    /// The CA bundle of the database, PEM.
    pub ca_pem: String,
}

/// The text of a server's `config.yml`; JSON is YAML. `login` is its login of the database.
#[must_use]
pub fn config(home: &Home<'_>, part: Part, connection: &Connection, login: &str) -> String {
    let any = |port: u16| json!({"address": format!("0.0.0.0:{port}")});
    let mut config = json!({
        "server": {
            "public_url": home.url(part), "public": any(part.public_port()), "mtls": any(part.mtls_port()),
            "admin": any(9090),
        },
        "tls": {"certificate": "/tls/tls.crt", "key": "/tls/tls.key", "ca": "/tls/ca.crt"},
        "database": {"postgres": {
            "host": connection.host, "port": connection.port, "database": connection.database, "user": login,
            "password_file": "/database/password", "ca": "/config/database-ca.crt",
        }},
        "barrier": {"unseal_key_file": "/unseal/key"},
        "telemetry": {"format": "json"},
    });
    let (section, value) = if part == Part::Identity {
        ("tokens", tokens(home))
    } else {
        // By the name of the Service: the issuer's own name means nothing inside the cluster.
        let port = Part::Identity.mtls_port();
        let jwks = format!("https://{}:{port}/oauth2/v1/jwks", home.service_name(Part::Identity));
        ("auth", json!({"issuers": [{"issuer": home.url(Part::Identity), "jwks_url": jwks}]}))
    };
    if let Some(sections) = config.as_object_mut() {
        sections.insert(section.to_owned(), value);
    }
    config.to_string()
}

fn tokens(home: &Home<'_>) -> Value {
    let tokens = &home.spec.tokens;
    json!({
        "audience": home.url(Part::Kms),
        "access_seconds": tokens.access_seconds, "refresh_seconds": tokens.refresh_seconds,
        "id_seconds": tokens.id_seconds, "code_seconds": tokens.code_seconds,
        "session_seconds": tokens.session_seconds, "idle_seconds": tokens.idle_seconds,
    })
}

/// The settings of a server, and the hash that its pods carry: another one makes new pods. The CA bundle of the database is
/// not in it, because that file is read again for each connection.
#[must_use]
pub fn server(home: &Home<'_>, part: Part, connection: &Connection, login: &str) -> (Child, String) {
    let config = config(home, part, connection, login);
    let hash = sha256_hex(config.as_bytes());
    let body = json!({"data": {"config.yml": config, "database-ca.crt": connection.ca_pem}});
    (home.child(ChildKind::ConfigMap, part.name(), Some(part), body), hash)
}

/// What clients trust.
#[must_use]
pub fn trust_bundle(home: &Home<'_>, bundle_pem: &str) -> Child {
    home.child(ChildKind::ConfigMap, "trust-bundle", None, json!({"data": {"ca.crt": bundle_pem}}))
}

/// Who may connect to the managed database: over TLS with a password, and inside its own container.
const HBA: &str = "local all all trust\nhostssl all all all scram-sha-256\n";

/// The settings of the managed database.
#[must_use]
pub fn postgres(home: &Home<'_>) -> Child {
    home.child(ChildKind::ConfigMap, Part::Postgres.name(), Some(Part::Postgres), json!({"data": {"pg_hba.conf": HBA}}))
}
