//! What a database did not do, and why.

use std::path::PathBuf;

use crate::{Product, Space};

/// What somebody has to look after when the database cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trouble {
    /// Nobody answers there, or not in time; it may pass.
    Unreachable,
    /// The login is unknown, its password is another one, or `pg_hba.conf` does not let it in.
    LoginRefused,
    /// No TLS 1.3, or a certificate that the given CA bundle or the host's name does not fit.
    Tls,
    /// The login may not do what it is there for.
    Rights,
    /// There is no such database.
    DatabaseMissing,
}

/// A failed step of the store.
#[derive(Debug, Clone, thiserror::Error)]
pub enum StoreError {
    /// The folder is in use.
    #[error(
        "the folder {path} is in use by another process; one process holds a SQLite folder: stop the other one, or set \
         database.postgres for several processes",
        path = .0.display()
    )]
    FolderInUse(PathBuf),
    /// A file of the folder is not one of ours or cannot be used.
    #[error("{path}: {reason}", path = .path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// A name or a pair that must be unique is taken.
    #[error("{space}: a row with these values exists already ({detail})")]
    Unique {
        /// Where.
        space: Space,
        /// Which columns, as the database says.
        detail: String,
    },
    /// Others hold the database for too long.
    #[error("{space}: the database is busy")]
    Busy {
        /// Where.
        space: Space,
    },
    /// Any other failure.
    #[error("{space}: {attempt} failed: {cause}")]
    Failed {
        /// Where.
        space: Space,
        /// What was tried.
        attempt: &'static str,
        /// The database's answer.
        cause: String,
    },
    /// The login may not do it.
    #[error("{space}: {attempt} is not allowed: {cause}")]
    Denied {
        /// Where.
        space: Space,
        /// What was tried.
        attempt: &'static str,
        /// The database's answer.
        cause: String,
    },
    /// The database does not answer.
    #[error("{space}: the database does not answer: {cause}")]
    Unavailable {
        /// Where.
        space: Space,
        /// The connection's error.
        cause: String,
    },
    /// Somebody else makes this schema and has not yet.
    #[error(
        "{space}: the schema or its roles are not there yet; the operator makes them, or a login in database.registrar"
    )]
    NotPrepared {
        /// Where.
        space: Space,
    },
    /// A report found another row than the one that it follows on: somebody else wrote it.
    #[error("{space}: a row was changed by somebody else meanwhile, and nothing was written")]
    Overtaken {
        /// Where.
        space: Space,
    },
    /// The lease has ended: changes that other processes made may not have been heard of.
    #[error("out of touch with the database for longer than the lease; what is kept in memory is not used")]
    Stale,
    /// No connection could be made.
    #[error("cannot connect to PostgreSQL as `{login}`: {cause}")]
    Connect {
        /// As whom.
        login: String,
        /// What to look after.
        trouble: Trouble,
        /// The connection's error.
        cause: String,
    },
    /// A login is not fit for what it is used for.
    #[error("the PostgreSQL login `{login}` {reason}; run as an administrator: {mend}")]
    Login {
        /// Which login.
        login: String,
        /// What is wrong with it.
        reason: String,
        /// The statement that mends it.
        mend: String,
    },
    /// A schema or role of ours is somebody else's.
    #[error(
        "the {kind} `{name}` exists already and is not ours (it has no comment of this deployment); rename or drop it"
    )]
    Foreign {
        /// `schema` or `role`.
        kind: &'static str,
        /// Its name.
        name: String,
    },
    /// The registry knows tables where there is no schema.
    #[error(
        "the schema `{space}` is gone, although it had tables (version {version}); it is not made again empty: restore it \
         from a backup, or delete the tenant"
    )]
    Vanished {
        /// The schema.
        space: Space,
        /// The version of its tables.
        version: i64,
    },
    /// The product's login has to be there first.
    #[error("the login `{name}` of {product} is not there yet; it is made before any schema")]
    NoLogin {
        /// Whose.
        product: Product,
        /// Its name.
        name: String,
    },
    /// Only PostgreSQL does this.
    #[error("{0} needs PostgreSQL; this is a folder of SQLite files")]
    NeedsPostgres(&'static str),
    /// Something had to be created and this process may not.
    #[error(
        "the tables of the tenant registry are missing or old, and this process may not create them: the operator does, \
         or a login in database.registrar"
    )]
    NoRegistrar,
    /// The deployment is not known yet.
    #[error("the tenant registry has not been read yet")]
    NotBound,
    /// The database is of another deployment than a moment ago.
    #[error("the database belongs to another deployment now; restart")]
    OtherDeployment,
    /// A column has another type than the code expects.
    #[error("the column `{0}` is missing or has another type")]
    Column(&'static str),
    /// The tables were made by a newer release.
    #[error("{space}: the tables are of version {found}, this release knows up to {known}; run the newer release")]
    Newer {
        /// Where.
        space: Space,
        /// The version found.
        found: i64,
        /// The newest known.
        known: i64,
    },
}

impl StoreError {
    pub(crate) fn from_sqlx(space: Space, attempt: &'static str, error: &sqlx::Error) -> Self {
        match error {
            sqlx::Error::Database(database) if database.is_unique_violation() => {
                Self::Unique { space, detail: database.message().to_owned() }
            }
            sqlx::Error::Database(database) => match database.code().as_deref() {
                // SQLITE_BUSY and its snapshot variant; PostgreSQL's lock_timeout, deadlock and serialization failure.
                Some("5" | "517" | "55P03" | "40P01" | "40001") => Self::Busy { space },
                // A server that is stopping or starting, or has no connection left.
                Some("57P01" | "57P02" | "57P03" | "53300") => {
                    Self::Unavailable { space, cause: database.message().to_owned() }
                }
                // SET ROLE to a role that is not there; a schema or a table that is not there.
                Some("22023" | "3F000" | "42P01") => Self::NotPrepared { space },
                Some("42501") => Self::Denied { space, attempt, cause: error.to_string() },
                _ => Self::Failed { space, attempt, cause: error.to_string() },
            },
            sqlx::Error::PoolTimedOut => Self::Busy { space },
            sqlx::Error::Io(_) | sqlx::Error::Tls(_) | sqlx::Error::PoolClosed | sqlx::Error::WorkerCrashed => {
                Self::Unavailable { space, cause: error.to_string() }
            }
            other => Self::Failed { space, attempt, cause: other.to_string() },
        }
    }

    pub(crate) fn connect(login: &str, error: &sqlx::Error) -> Self {
        Self::Connect { login: login.to_owned(), trouble: Trouble::of(error), cause: error.to_string() }
    }

    pub(crate) fn silent(login: &str) -> Self {
        let cause = "it does not answer in time".to_owned();
        Self::Connect { login: login.to_owned(), trouble: Trouble::Unreachable, cause }
    }

    /// What somebody has to look after; `None` when the database as such can be used.
    #[must_use]
    pub fn trouble(&self) -> Option<Trouble> {
        match self {
            Self::Connect { trouble, .. } => Some(*trouble),
            Self::Login { .. } | Self::Denied { .. } => Some(Trouble::Rights),
            Self::Unavailable { .. } | Self::Busy { .. } | Self::Stale => Some(Trouble::Unreachable),
            _ => None,
        }
    }

    /// Whether it may go well a little later.
    #[must_use]
    pub fn is_passing(&self) -> bool {
        matches!(
            self,
            Self::Busy { .. }
                | Self::Unavailable { .. }
                | Self::Connect { .. }
                | Self::NotPrepared { .. }
                | Self::Stale
        )
    }
}

impl Trouble {
    fn of(error: &sqlx::Error) -> Self {
        use std::io::ErrorKind;
        match error {
            sqlx::Error::Tls(_) => Self::Tls,
            // rustls says so in the form of an I/O error.
            sqlx::Error::Io(io) if io.kind() == ErrorKind::InvalidData => Self::Tls,
            sqlx::Error::Database(database) => match database.code().as_deref() {
                Some("28P01" | "28000") => Self::LoginRefused,
                Some("3D000") => Self::DatabaseMissing,
                Some("42501") => Self::Rights,
                _ => Self::Unreachable,
            },
            _ => Self::Unreachable,
        }
    }
}
