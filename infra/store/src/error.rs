//! What a database did not do, and why.

use std::path::PathBuf;

use crate::Space;

/// A failed step of the store.
#[derive(Debug, thiserror::Error)]
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
            // SQLITE_BUSY and its snapshot variant.
            sqlx::Error::Database(database) if matches!(database.code().as_deref(), Some("5" | "517")) => {
                Self::Busy { space }
            }
            sqlx::Error::PoolTimedOut => Self::Busy { space },
            other => Self::Failed { space, attempt, cause: other.to_string() },
        }
    }
}
