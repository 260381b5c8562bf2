//! The registrar: the only code that creates tenants and writes what shall exist in them.

mod declare;
mod destroy;
mod error;
mod lifecycle;
mod realm;
mod tenant;
mod view;

use std::sync::Arc;

use keyrealm_base::{SharedClock, SharedRandom};
use keyrealm_store::{ControlTx, Database, Notice, Product, StoreError};

pub use declare::Declared;
pub use error::RegistryError;
pub use tenant::{Created, NewTenant};
pub use view::{Versions, all_seen};

use crate::tables::meta;

/// Writes `meta`, `tenants`, `desired`, `logins` and `archives`. What changes something for the products raises the
/// registry's generation and tells them.
pub struct Registrar {
    database: Arc<Database>,
    clock: SharedClock,
    random: SharedRandom,
}

impl Registrar {
    /// A registrar of this database.
    #[must_use]
    pub fn new(database: Arc<Database>, clock: SharedClock, random: SharedRandom) -> Self {
        Self { database, clock, random }
    }

    /// The database.
    #[must_use]
    pub fn database(&self) -> &Arc<Database> {
        &self.database
    }
}

/// Raises the generation and tells these products once the transaction is committed; the answer is the new generation.
async fn change(tx: &mut ControlTx, products: &[Product]) -> Result<i64, StoreError> {
    for product in products {
        tx.notify(Notice::Desired(*product));
    }
    meta::bump(tx).await
}
