//! Why a realm's database cannot be used.

use std::time::Duration;

use keyrealm_base::DeploymentId;
use keyrealm_registry::RegistryError;
use keyrealm_store::{StoreError, Trouble};

use crate::report::Report;

/// Why a realm's database cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DatabaseError {
    /// Nobody answers.
    #[error("the database {at} does not answer: {cause}; it is tried again")]
    Unreachable {
        /// Login, host, port and database.
        at: String,
        /// What the connection said.
        cause: String,
    },
    /// It answers, and does not let the operator do its work.
    #[error("the database {at} cannot be used: {cause}; {mend}")]
    Refused {
        /// Login, host, port and database.
        at: String,
        /// What it said.
        cause: String,
        /// What to do.
        mend: &'static str,
    },
    /// It is another realm's.
    #[error("the database {at} is another realm's: {cause}; give this Realm another database, or adopt the data with the annotation {annotation}", annotation = crds::ADOPT)]
    InUse {
        /// Login, host, port and database.
        at: String,
        /// Whose it is.
        cause: String,
    },
    /// It shall be adopted, and nothing is in it.
    #[error("the database {at} is empty: the deployment {deployment} shall be adopted, and is not there; take the annotation {annotation} away, or give the database that it names", annotation = crds::ADOPT)]
    Empty {
        /// Login, host, port and database.
        at: String,
        /// What shall be adopted.
        deployment: DeploymentId,
    },
}

impl DatabaseError {
    pub(crate) fn new(at: &str, error: &RegistryError) -> Self {
        let (at, cause) = (at.to_owned(), error.to_string());
        match error {
            RegistryError::OtherRealm { .. } | RegistryError::OtherDeployment { .. } => Self::InUse { at, cause },
            RegistryError::Store(store) => match store.trouble() {
                Some(Trouble::Unreachable) => Self::Unreachable { at, cause },
                Some(trouble) => Self::Refused { at, cause, mend: mend(trouble) },
                None if store.is_passing() => Self::Unreachable { at, cause },
                None => Self::Refused { at, cause, mend: "see the cause" },
            },
            _ => Self::Refused { at, cause, mend: "see the cause" },
        }
    }

    pub(super) fn silent(at: &str, waited: Duration) -> Self {
        Self::Unreachable { at: at.to_owned(), cause: format!("it has not answered for {} s", waited.as_secs()) }
    }

    pub(super) fn of_store(at: &str, error: StoreError) -> Self {
        Self::new(at, &RegistryError::Store(error))
    }

    /// The reason in conditions.
    #[must_use]
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Unreachable { .. } => "DatabaseUnreachable",
            Self::Refused { .. } => "DatabaseRefused",
            Self::InUse { .. } => "DatabaseInUse",
            Self::Empty { .. } => "DatabaseEmpty",
        }
    }

    /// As a report. Who is refused is let in once somebody mends the database, which nobody tells: it is tried again, too.
    #[must_use]
    pub fn report(&self) -> Report {
        match self {
            Self::Unreachable { .. } => Report::reconciling(self.reason(), self.to_string()),
            Self::Refused { .. } | Self::InUse { .. } | Self::Empty { .. } => {
                Report::stalled(self.reason(), self.to_string())
            }
        }
    }
}

fn mend(trouble: Trouble) -> &'static str {
    match trouble {
        Trouble::Unreachable => "it is tried again",
        Trouble::LoginRefused => "correct user and password in the Secret, or let the login in (pg_hba.conf)",
        Trouble::Tls => "the server needs TLS 1.3 and a certificate of ca.crt that names its host",
        Trouble::Rights => "give the login CREATEROLE, and CREATE on the database",
        Trouble::DatabaseMissing => "create the database, or correct its name in the Secret",
    }
}
