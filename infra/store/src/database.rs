//! The database of one process: opens spaces and hands out transactions.

use std::path::Path;
use std::sync::Arc;

use keyrealm_base::TenantId;
use tokio::sync::broadcast;

use crate::sqlite::Folder;
use crate::{Notice, Notices, Product, Space, StoreError, Tx};

/// Notices that a slow receiver may be behind before it must read everything again.
const NOTICES: usize = 1024;

/// Called with the space and the text of each statement before it runs, and with `COMMIT` before each commit. Tests
/// count statements with it, and end the process at one.
pub type StatementHook = Arc<dyn Fn(Space, &str) + Send + Sync>;

/// What a tenant's transaction is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TenantAccess {
    /// Reads only.
    Read,
    /// Writes what no snapshot holds (codes, tokens, sessions): neither epoch nor notice.
    Plain,
    /// Changes what snapshots hold (keys, clients, users): bumps the epoch and tells everybody.
    Change,
}

/// An open database.
pub struct Database {
    folder: Folder,
    hook: Option<StatementHook>,
    notices: broadcast::Sender<Notice>,
}

impl Database {
    /// Opens a folder of SQLite files and locks it for this process.
    ///
    /// # Errors
    /// When the folder cannot be made or is in use.
    pub fn open_sqlite(folder: &Path, hook: Option<StatementHook>) -> Result<Arc<Self>, StoreError> {
        let (notices, _) = broadcast::channel(NOTICES);
        Ok(Arc::new(Self { folder: Folder::open(folder)?, hook, notices }))
    }

    /// A transaction on the control schema.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn control(&self) -> Result<Tx, StoreError> {
        self.begin(Space::Control, TenantAccess::Plain).await
    }

    /// A transaction on a product's realm-level schema.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn realm(&self, product: Product) -> Result<Tx, StoreError> {
        self.begin(Space::Realm(product), TenantAccess::Plain).await
    }

    /// A transaction on a tenant's schema: the only way to a tenant's tables.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn tenant(&self, product: Product, tenant: TenantId, access: TenantAccess) -> Result<Tx, StoreError> {
        self.begin(Space::Tenant(product, tenant), access).await
    }

    /// Notices from now on.
    #[must_use]
    pub fn notices(&self) -> Notices {
        self.notices.subscribe()
    }

    /// Deletes a tenant's tables of one product. Their keys should be destroyed first.
    ///
    /// # Errors
    /// When the database does not do it.
    pub async fn drop_tenant(&self, product: Product, tenant: TenantId) -> Result<(), StoreError> {
        self.folder.remove(Space::Tenant(product, tenant)).await
    }

    /// Closes all connections.
    pub async fn close(&self) {
        self.folder.close().await;
    }

    pub(crate) async fn begin(&self, space: Space, access: TenantAccess) -> Result<Tx, StoreError> {
        let inner = self.folder.begin(space, access != TenantAccess::Read).await?;
        Ok(Tx::new(inner, space, access, self.hook.clone(), self.notices.clone()))
    }
}
