//! The barrier: unseal key -> root -> tenant root -> intermediate -> content, and the records that content keys seal.
//!
//! Each level's key is stored sealed by the level above, bound by authenticated data to the deployment, the tenant, the
//! table, the row and the level, so that no row can be swapped, copied or carried elsewhere. Upper keys are used when a
//! tenant is first touched and never on a hot path: what stays in memory is a bounded number of content keys.

mod aad;
mod head;
mod hierarchy;
mod key;
mod record;
mod tables;
mod unseal;

pub use head::{Head, HeadError, RecordSet};
pub use hierarchy::{Barrier, Sealer};
pub use record::{Record, RecordError};
pub use tables::{REALM_STATEMENTS, TENANT_STATEMENTS};
pub use unseal::{UnsealKey, UnsealKeyError};

use std::sync::Arc;

use keyrealm_crypto::CryptoError;
use keyrealm_store::{Passing, StoreError};

/// Why the barrier does not open.
#[derive(Debug, Clone, thiserror::Error)]
pub enum BarrierError {
    /// The unseal key is not the one that this database was made with.
    #[error(
        "the unseal key does not open the root key in {0}: this database was made with another one; restore that key and \
         point barrier.unseal_key_file to it (without it the data cannot be read by anybody)"
    )]
    WrongUnsealKey(keyrealm_store::Space),
    /// The root's row has gone.
    #[error(
        "the root key in {0} is missing, but the database is in use: a new one would open nothing of what is there; restore \
         the rows of barrier_keys from a backup"
    )]
    RootMissing(keyrealm_store::Space),
    /// The root was made for another deployment.
    #[error("the root key in {0} belongs to another deployment: its rows were copied here from another database")]
    OtherDeployment(keyrealm_store::Space),
    /// A key's row was changed, swapped or is missing.
    #[error("the {level} key {id} in {space} failed its integrity check")]
    Integrity {
        /// Where.
        space: keyrealm_store::Space,
        /// Which level.
        level: &'static str,
        /// Which row.
        id: String,
    },
    /// The database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The cryptographic library failed.
    #[error("{0}")]
    Crypto(Arc<CryptoError>),
}

impl Passing for BarrierError {
    fn is_passing(&self) -> bool {
        matches!(self, Self::Store(error) if error.is_passing())
    }
}

impl From<CryptoError> for BarrierError {
    fn from(error: CryptoError) -> Self {
        Self::Crypto(Arc::new(error))
    }
}
