//! What is there, as plain data: what the plan of a Tenant decides on.

use std::collections::BTreeMap;
use std::time::Duration;

use keyrealm_base::Timestamp;
use keyrealm_registry::{DesiredEntry, Instance, ObservedEntry, Overlap, Tenant as Row, Versions};
use keyrealm_store::Drift;

/// Everything that a plan depends on besides the Tenant itself.
#[derive(Debug, Clone, Default)]
pub struct Observed {
    /// The Realm.
    pub realm: RealmSeen,
    /// Its database.
    pub database: DatabaseSeen,
    /// Secrets of confidential clients, by the entry's name.
    pub clients: BTreeMap<String, ClientSecret>,
    /// Generated Secrets that no entry of the spec needs, by the client's name.
    pub spare: Vec<String>,
    /// Passwords of users, by the entry's name.
    pub passwords: BTreeMap<String, Password>,
    /// For how long this process has seen the Tenant being deleted.
    pub deleting_for: Duration,
}

/// The Realm of a Tenant.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum RealmSeen {
    /// There is none.
    #[default]
    Missing,
    /// It would be in a namespace that this operator does not look at; it does in these.
    NotWatched(Vec<String>),
    /// It is being deleted.
    Deleting,
    /// It does not take Tenants of this namespace; the sentence says why.
    Refuses(String),
    /// It is there.
    Present,
}

/// The database of the Realm.
#[derive(Debug, Clone, Default)]
pub enum DatabaseSeen {
    /// The Realm has none yet, or this process has not connected yet.
    #[default]
    None,
    /// It is open, and the servers' logins are not there yet: no tenant can be made in it.
    Unprepared,
    /// Nobody will reach it again with what is there: what went.
    Gone(String),
    /// It does not answer.
    Unreachable(String),
    /// It answered.
    Open(Box<Registry>),
}

/// What the registry says.
#[derive(Debug, Clone, Default)]
pub struct Registry {
    /// The row of this Tenant.
    pub own: Option<Row>,
    /// The row that has its slug, unless it is its own.
    pub of_slug: Option<Holder>,
    /// The row that has its id, unless it is its own.
    pub of_id: Option<Holder>,
    /// What is declared for it.
    pub rows: Vec<DesiredEntry>,
    /// When the former ones of secrets that are the user's own end; by the client's name.
    pub overlaps: Vec<Overlap>,
    /// What became of that.
    pub reports: Vec<ObservedEntry>,
    /// The processes that were heard from just now.
    pub fresh: Vec<Instance>,
    /// For how long a product has had no such process.
    pub quiet_for: Option<Duration>,
    /// The versions of its tables.
    pub versions: Versions,
    /// The generation of the registry at which its entries changed last.
    pub declared: i64,
    /// What somebody changed of its schemas and roles.
    pub drift: Vec<Drift>,
}

/// Who has what this Tenant wants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holder {
    /// The row.
    pub row: Row,
    /// Whether there is a Tenant with the UID that the row names, as far as this operator can see: one in a namespace that is
    /// not looked at lives.
    pub owner_lives: bool,
}

/// The secret of a confidential client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ClientSecret {
    /// Generated, and its Secret is not there.
    Missing,
    /// The Secret is on its way out: a new one follows.
    Going,
    /// The Secret of this name is somebody else's.
    Foreign(String),
    /// Generated.
    Generated(Generated),
    /// From a Secret of the user's own: SHA-256 of the present one, and the former with its end.
    Given {
        /// Hex.
        sha256: String,
        /// The former one and when it ends.
        former: Option<(String, Timestamp)>,
    },
    /// The user's Secret cannot be used: a word and a sentence.
    Unusable(&'static str, String),
}

/// A generated secret, by the marks on its Secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Generated {
    /// SHA-256 of the secret, hex.
    pub sha256: String,
    /// The former one and when it ends.
    pub former: Option<(String, Timestamp)>,
    /// The client id that it names.
    pub client_id: String,
    /// The mark of the last rotation.
    pub rotated: String,
    /// The mark that people set.
    pub rotate: String,
    /// Whether the Secret holds what its marks say.
    pub intact: bool,
}

/// The password of a user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Password {
    /// Its hash is known.
    Hash(String),
    /// It is still to be hashed.
    Unhashed,
    /// The Secret cannot be used: a word and a sentence.
    Unusable(&'static str, String),
}
