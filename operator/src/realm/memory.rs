//! What is remembered of a realm between two passes, so that nothing is read twice. It may be lost at any time.

use std::collections::HashMap;

use keyrealm_base::Timestamp;

use super::facts::RootFacts;
use crate::children::config_map::Connection;

/// What is remembered.
#[derive(Debug, Default)]
pub struct Memory {
    /// Of Secrets: what was found in which version.
    pub(super) contents: HashMap<String, (String, Content)>,
    /// When the login of the database was read, and where that is.
    pub(super) access: Option<AccessRead>,
    /// When the database was prepared last, and with which versions of the servers' passwords.
    pub(super) prepared: Option<(Timestamp, Vec<String>)>,
    /// When a CA of somebody else was read, in which version.
    pub(super) foreign_root: Option<(Timestamp, String, Result<RootFacts, String>)>,
}

/// What was found in a Secret. Never a key.
#[derive(Debug, Clone)]
pub(super) enum Content {
    /// CAs.
    Root(Result<RootFacts, String>),
    /// An unseal key's check value.
    Unseal(Result<String, String>),
    /// A password.
    Role(Result<(), String>),
    /// Whether a certificate is the one that the annotations describe.
    Leaf(bool),
}

/// How the login of the database was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct AccessRead {
    /// When.
    pub(super) at: Timestamp,
    /// The Realm's generation, or the version of the operator's own Secret.
    pub(super) version: String,
    /// Where the database is.
    pub(super) connection: Connection,
}
