//! What is there of a realm, as plain data.

use std::collections::BTreeMap;

use keyrealm_base::{DeploymentId, Timestamp};

use crate::child::ChildRef;
use crate::children::config_map::Connection;
use crate::children::{POSTGRES_PORT, Part};
use crate::config::Images;
use crate::report::Report;

/// All that a plan looks at.
#[derive(Debug, Clone)]
pub struct Observed {
    /// What pods run unless the Realm says otherwise.
    pub images: Images,
    /// Where the operator's own pods are.
    pub operator_namespace: String,
    /// Whether our finalizer is on the Realm.
    pub finalizer: bool,
    /// When the Realm is being deleted.
    pub deletion: Option<Deletion>,
    /// An older Realm that uses the same database, as `namespace/name`.
    pub conflict: Option<String>,
    /// Whether the Realm says that it takes over what an earlier one left.
    pub adopts: bool,
    /// Whether a database of this very Realm was set up before.
    pub known_before: bool,
    /// Whether the managed database's StatefulSet is there.
    pub managed_exists: bool,
    /// The CAs.
    pub root: Kept<RootFacts>,
    /// The operator's login of the managed database.
    pub admin: Kept<()>,
    /// The servers' unseal keys, as their check values.
    pub unseal: BTreeMap<Part, Kept<String>>,
    /// The servers' database passwords.
    pub roles: BTreeMap<Part, Kept<()>>,
    /// Certificates.
    pub leaves: BTreeMap<Part, LeafSeen>,
    /// The database.
    pub database: DatabaseState,
    /// The servers' Deployments.
    pub rollouts: BTreeMap<Part, Rollout>,
    /// Objects of ours that a Realm may cease to want.
    pub optional: Vec<ChildRef>,
}

impl Observed {
    /// What the registry says was used; unknown without the database.
    #[must_use]
    pub fn used(&self) -> Option<&UsedFacts> {
        match &self.database {
            DatabaseState::Ready(database) => Some(&database.used),
            _ => None,
        }
    }

    /// Whether there may be data that somebody needs old Secrets for.
    #[must_use]
    pub fn has_history(&self) -> bool {
        self.managed_exists || self.known_before
    }
}

/// A Realm on its way out.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Deletion {
    /// Since when.
    pub since: Timestamp,
    /// Tenants of it that are being deleted or are about to be, and need its database for that.
    pub tenants_ending: usize,
    /// The servers' Deployments.
    pub servers: Vec<ChildRef>,
    /// Secrets that outlive Realms.
    pub keepsakes: Vec<ChildRef>,
}

/// A Secret that cannot be made again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kept<T> {
    /// There is none.
    Missing,
    /// An earlier Realm of this name left it.
    Left,
    /// Somebody else's has its name.
    Foreign,
    /// It is being deleted.
    Ending,
    /// It is ours, and its content is none.
    Unusable(String),
    /// It is there.
    There(T),
}

/// The CAs, without their keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RootFacts {
    /// SHA-256 of the root certificate, hex.
    pub sha256: String,
    /// When the first of the CAs ends.
    pub not_after: Timestamp,
    /// The root certificate, PEM.
    pub bundle_pem: String,
    /// SHA-256 of that text.
    pub bundle_sha256: String,
}

/// A certificate's Secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LeafSeen {
    /// There is none.
    Missing,
    /// Somebody else's has its name.
    Foreign,
    /// It is being deleted.
    Ending,
    /// It is there.
    Ours(LeafFacts),
}

impl LeafSeen {
    /// When it is renewed.
    #[must_use]
    pub fn renewal(&self) -> Option<Timestamp> {
        if let Self::Ours(leaf) = self { Some(leaf.renewal) } else { None }
    }
}

/// What a certificate's Secret says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeafFacts {
    /// Hash of what was asked for.
    pub names_hash: String,
    /// Its end.
    pub not_after: Timestamp,
    /// When it is renewed.
    pub renewal: Timestamp,
    /// What the server reports as served.
    pub chain_sha256: String,
    /// What the server reports as trusted.
    pub bundle_sha256: String,
    /// Whether its content is what it says.
    pub intact: bool,
}

/// How the database stands.
#[derive(Debug, Clone, PartialEq)]
pub enum DatabaseState {
    /// The Secret with the login is not there.
    SecretMissing(ChildRef),
    /// It is no login.
    SecretUnusable(ChildRef, String),
    /// The managed one is not up yet.
    Starting(String),
    /// It cannot be used: the report's reason is one of `DatabaseUnreachable`, `DatabaseRefused`, `DatabaseInUse`,
    /// `DatabaseEmpty`.
    Failed(Report),
    /// It can.
    Ready(Box<DatabaseFacts>),
}

impl DatabaseState {
    /// What is in the way.
    #[must_use]
    pub fn report(&self) -> Option<Report> {
        match self {
            Self::SecretMissing(at) => Some(Report::stalled(
                "DatabaseSecretMissing",
                format!("{at} is not there; make it with host, port, database, user, password and ca.crt"),
            )),
            Self::SecretUnusable(at, why) => {
                Some(Report::stalled("DatabaseSecretMissing", format!("{at} cannot be used: {why}")))
            }
            Self::Starting(what) => Some(Report::reconciling("RolloutInProgress", what.clone())),
            Self::Failed(report) => Some(report.clone()),
            Self::Ready(_) => None,
        }
    }

    /// Its port.
    #[must_use]
    pub fn port(&self) -> u16 {
        if let Self::Ready(database) = self { database.connection.port } else { POSTGRES_PORT }
    }
}

/// A database that can be used.
#[derive(Debug, Clone, PartialEq)]
pub struct DatabaseFacts {
    /// Where it is.
    pub connection: Connection,
    /// Whose data it has.
    pub deployment_id: DeploymentId,
    /// The servers' logins.
    pub logins: BTreeMap<Part, String>,
    /// What was used.
    pub used: UsedFacts,
    /// Whether logins and realm-level schemas are as they shall be.
    pub prepared: bool,
    /// Processes that were heard from a moment ago.
    pub instances: Vec<InstanceFacts>,
    /// A generation of the registry that every process has had time to take in.
    pub settled: i64,
    /// Tenants that are served.
    pub tenants: i64,
    /// Why it could not be read a moment ago.
    pub failure: Option<String>,
}

impl DatabaseFacts {
    /// The login of a server.
    #[must_use]
    pub fn login(&self, part: Part) -> &str {
        self.logins.get(&part).map_or("", String::as_str)
    }
}

/// What the registry noted of irreplaceable Secrets.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct UsedFacts {
    /// SHA-256 of the root certificate, hex.
    pub root_sha256: Option<String>,
    /// Check value of the KMS's unseal key.
    pub kms_unseal: Option<String>,
    /// Check value of Identity's.
    pub identity_unseal: Option<String>,
}

impl UsedFacts {
    /// The check value of a server's unseal key.
    #[must_use]
    pub fn unseal(&self, part: Part) -> Option<&String> {
        match part {
            Part::Kms => self.kms_unseal.as_ref(),
            Part::Identity => self.identity_unseal.as_ref(),
            Part::Postgres => None,
        }
    }

    fn all(&self) -> [bool; 3] {
        [&self.root_sha256, &self.kms_unseal, &self.identity_unseal].map(Option::is_some)
    }

    /// Whether all is noted.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.all().into_iter().all(|noted| noted)
    }

    /// Whether nothing is.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        !self.all().into_iter().any(|noted| noted)
    }
}

/// A process of a server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InstanceFacts {
    /// Whose.
    pub part: Part,
    /// Whether it says that it serves.
    pub ready: bool,
    /// The chain that it serves.
    pub chain_sha256: String,
    /// The bundle that it trusts.
    pub bundle_sha256: String,
    /// The generation that it has taken in.
    pub seen: i64,
}

/// A Deployment's progress.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Rollout {
    /// Its generation.
    pub generation: i64,
    /// The one that the controller has looked at.
    pub observed: i64,
    /// Pods that shall be.
    pub wanted: i32,
    /// Pods that are.
    pub total: i32,
    /// Those of the newest kind.
    pub updated: i32,
    /// Those that are available.
    pub available: i32,
    /// What hinders it, as the controller says.
    pub hindrance: Option<String>,
}

impl Rollout {
    /// Whether all pods are of the newest kind and available.
    #[must_use]
    pub fn is_done(&self) -> bool {
        self.observed >= self.generation
            && [self.total, self.updated, self.available].into_iter().all(|count| count == self.wanted)
    }
}
