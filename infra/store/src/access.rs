//! How the operator reaches the database of a realm.

use std::fmt;

use keyrealm_crypto::SecretBytes;

/// The registrar's login, all in memory: it comes from Secrets of the API server.
pub struct RegistrarAccess {
    /// The host; the server's certificate must name it.
    pub host: String,
    /// The port.
    pub port: u16,
    /// The database.
    pub database: String,
    /// The login: CREATEROLE, INHERIT, and CREATE on the database.
    pub user: String,
    /// Its password, UTF-8.
    pub password: SecretBytes,
    /// The CA bundle that the server's certificate is checked against, PEM.
    pub ca_pem: String,
}

impl fmt::Debug for RegistrarAccess {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}:{}/{}", self.user, self.host, self.port, self.database)
    }
}
