//! `<realm>-kms-database`, `<realm>-identity-database`: a server's login of the database. Pods mount the password alone; the
//! rest is there for whoever restores or looks after the database by hand.

use keyrealm_crypto::SecretBytes;

use super::opaque;
use crate::child::Child;
use crate::children::config_map::Connection;
use crate::children::{Home, Part};

/// What the name ends in.
#[must_use]
pub fn suffix(part: Part) -> String {
    format!("{}-database", part.name())
}

/// The Secret of a server's login.
#[must_use]
pub fn of(home: &Home<'_>, part: Part, connection: &Connection, login: &str, password: &SecretBytes) -> Child {
    let body = opaque(&[
        ("host", connection.host.as_bytes()),
        ("port", connection.port.to_string().as_bytes()),
        ("database", connection.database.as_bytes()),
        ("user", login.as_bytes()),
        ("password", password.expose()),
        ("ca.crt", connection.ca_pem.as_bytes()),
    ]);
    home.keepsake(&suffix(part), Some(part), body)
}
