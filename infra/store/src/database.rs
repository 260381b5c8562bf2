//! The database of one process: opens spaces and hands out transactions.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use keyrealm_base::{DeploymentId, TenantId};
use tokio::sync::broadcast;

use crate::postgres::Server;
use crate::sqlite::Folder;
use crate::tx::{Inner, Mode};
use crate::{
    ControlTx, Migration, Notice, Notices, Product, RealmTx, RegistrarAccess, Space, Sql, StoreError, TenantTx, Tx,
};

/// Notices that a slow receiver may be behind before it must read everything again.
const NOTICES: usize = 1024;

/// Called with the space and the text of each statement before it runs, and with `COMMIT` before each commit. Tests
/// count statements with it, and end the process at one.
pub type StatementHook = Arc<dyn Fn(Space, &str) + Send + Sync>;

/// What a tenant's transaction is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TenantAccess {
    /// Reads only, in one consistent view.
    Read,
    /// Writes what no snapshot holds (codes, tokens, sessions): neither epoch nor notice. Others may write at the same
    /// time: what must happen once is one statement.
    Plain,
    /// Changes what snapshots hold (keys, clients, users), one at a time: bumps the epoch and tells everybody.
    Change,
}

/// An open database.
pub struct Database {
    pub(crate) backend: Backend,
    hook: Option<StatementHook>,
    notices: broadcast::Sender<Notice>,
}

pub(crate) enum Backend {
    Sqlite(Arc<Folder>),
    Postgres(Server),
}

impl Database {
    /// Opens what the configuration names: a PostgreSQL database, or a folder of SQLite files.
    ///
    /// # Errors
    /// As [`Database::open_sqlite`]; or when the server cannot be reached over TLS 1.3, or a login has too many or too few
    /// rights.
    pub async fn open(
        settings: &keyrealm_config::Database,
        product: Product,
        hook: Option<StatementHook>,
    ) -> Result<Arc<Self>, StoreError> {
        match &settings.postgres {
            Some(postgres) => {
                let (notices, _) = broadcast::channel(NOTICES);
                let server = Server::open(postgres, settings.registrar.as_ref(), product, notices.clone()).await?;
                Ok(Arc::new(Self { backend: Backend::Postgres(server), hook, notices }))
            }
            None => Self::open_sqlite(&settings.folder, hook),
        }
    }

    /// Opens a PostgreSQL database with the registrar's login alone: for the operator, which has no product's login. The
    /// products' logins are those that it makes.
    ///
    /// # Errors
    /// What [`StoreError::trouble`] tells apart.
    pub async fn open_registrar(access: RegistrarAccess, hook: Option<StatementHook>) -> Result<Arc<Self>, StoreError> {
        let (notices, _) = broadcast::channel(NOTICES);
        let server = Server::open_registrar(access, notices.clone()).await?;
        Ok(Arc::new(Self { backend: Backend::Postgres(server), hook, notices }))
    }

    /// Opens a folder of SQLite files and locks it for this process.
    ///
    /// # Errors
    /// When the folder cannot be made or is in use.
    pub fn open_sqlite(folder: &Path, hook: Option<StatementHook>) -> Result<Arc<Self>, StoreError> {
        let (notices, _) = broadcast::channel(NOTICES);
        Ok(Arc::new(Self { backend: Backend::Sqlite(Arc::new(Folder::open(folder)?)), hook, notices }))
    }

    /// Tells which deployment this is; before that, only the control schema can be used.
    ///
    /// # Errors
    /// When it was another one before.
    pub fn bind(&self, deployment: DeploymentId) -> Result<(), StoreError> {
        match &self.backend {
            Backend::Sqlite(_) => Ok(()),
            Backend::Postgres(server) => server.bind(deployment),
        }
    }

    /// Whether this process creates tenants; elsewhere somebody else does, and this process waits for them.
    #[must_use]
    pub fn is_registrar(&self) -> bool {
        match &self.backend {
            Backend::Sqlite(_) => true,
            Backend::Postgres(server) => server.is_registrar(),
        }
    }

    /// Whether this process makes the products' logins: the operator's does.
    #[must_use]
    pub fn makes_logins(&self) -> bool {
        match &self.backend {
            Backend::Sqlite(_) => false,
            Backend::Postgres(server) => server.makes_logins(),
        }
    }

    /// Whether every change that others made until a moment ago has been told. When not, nothing that is kept in memory is
    /// to be believed.
    #[must_use]
    pub fn is_fresh(&self) -> bool {
        match &self.backend {
            Backend::Sqlite(_) => true,
            Backend::Postgres(server) => server.is_fresh(),
        }
    }

    /// Refuses while what is kept in memory is not to be believed.
    ///
    /// # Errors
    /// [`StoreError::Stale`].
    pub fn check_fresh(&self) -> Result<(), StoreError> {
        if self.is_fresh() { Ok(()) } else { Err(StoreError::Stale) }
    }

    /// Waits until changes of others are heard.
    ///
    /// # Errors
    /// [`StoreError::Stale`] when that takes longer than ten seconds.
    pub async fn wait_fresh(&self) -> Result<(), StoreError> {
        for _ in 0..1000 {
            if self.is_fresh() {
                return Ok(());
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        Err(StoreError::Stale)
    }

    /// A transaction on the control schema, with the rights of the product.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn control(&self) -> Result<ControlTx, StoreError> {
        self.begin(Space::Control, TenantAccess::Plain, Mode::Write).await
    }

    /// As [`Database::control`], for reading alone: it waits for nobody who writes.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn control_read(&self) -> Result<ControlTx, StoreError> {
        self.begin(Space::Control, TenantAccess::Read, Mode::Read).await
    }

    /// A transaction on the control schema, with the rights of the registrar, one at a time.
    ///
    /// # Errors
    /// When the database does not answer or this process is no registrar.
    pub async fn registry(&self) -> Result<ControlTx, StoreError> {
        self.begin(Space::Control, TenantAccess::Plain, Mode::Registrar).await
    }

    /// A transaction on a product's realm-level schema.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn realm(&self, product: Product) -> Result<RealmTx, StoreError> {
        self.begin(Space::Realm(product), TenantAccess::Plain, Mode::Write).await
    }

    /// As [`Database::realm`], for reading alone: it waits for nobody who writes.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn realm_read(&self, product: Product) -> Result<RealmTx, StoreError> {
        self.begin(Space::Realm(product), TenantAccess::Read, Mode::Read).await
    }

    /// As [`Database::realm`], one at a time.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn realm_exclusive(&self, product: Product) -> Result<RealmTx, StoreError> {
        self.begin(Space::Realm(product), TenantAccess::Plain, Mode::Exclusive).await
    }

    /// A transaction on a tenant's schema: the only way to a tenant's tables.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn tenant(
        &self,
        product: Product,
        tenant: TenantId,
        access: TenantAccess,
    ) -> Result<TenantTx, StoreError> {
        let mode = match access {
            TenantAccess::Read => Mode::Read,
            TenantAccess::Plain => Mode::Write,
            TenantAccess::Change => Mode::Exclusive,
        };
        self.begin(Space::Tenant(product, tenant), access, mode).await
    }

    /// Notices from now on.
    #[must_use]
    pub fn notices(&self) -> Notices {
        self.notices.subscribe()
    }

    /// Brings a space up to the last migration; makes the space where this process is the registrar. Does nothing when it
    /// is there already.
    ///
    /// # Errors
    /// When a statement fails, or the space was made by a newer release.
    pub async fn migrate(&self, space: Space, migrations: &[Migration]) -> Result<(), StoreError> {
        match &self.backend {
            // On the heap: rare, and large in the stack of whoever may have to migrate.
            Backend::Sqlite(folder) => Box::pin(folder.migrate(space, migrations, self.hook.as_ref())).await,
            Backend::Postgres(server) => Box::pin(server.migrate(space, migrations, self.hook.as_ref())).await,
        }
    }

    /// Runs a statement that takes rows out of a table, with the rights of the schema's owner. Where the table or its schema
    /// has gone already there is nothing to do.
    ///
    /// # Errors
    /// When the database does not do it or this process is no registrar.
    pub async fn erase(&self, space: Space, table: &'static str, sql: Sql) -> Result<(), StoreError> {
        self.announce(space, &sql.text);
        match &self.backend {
            Backend::Sqlite(folder) => folder.erase(space, table, sql).await,
            Backend::Postgres(server) => server.erase(space, table, sql).await,
        }
    }

    /// Whether any tenant has tables of this product.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn has_tenants(&self, product: Product) -> Result<bool, StoreError> {
        match &self.backend {
            Backend::Sqlite(folder) => folder.has_tenants(product),
            Backend::Postgres(server) => server.has_tenants(product).await,
        }
    }

    /// Deletes a tenant's tables of one product. Their keys should be destroyed first.
    ///
    /// # Errors
    /// When the database does not do it.
    pub async fn drop_tenant(&self, product: Product, tenant: TenantId) -> Result<(), StoreError> {
        let space = Space::Tenant(product, tenant);
        self.announce(space, "DROP");
        match &self.backend {
            Backend::Sqlite(folder) => folder.remove(space).await,
            Backend::Postgres(server) => server.drop_schema(space).await,
        }
    }

    /// Closes all connections.
    pub async fn close(&self) {
        match &self.backend {
            Backend::Sqlite(folder) => folder.close().await,
            Backend::Postgres(server) => server.close().await,
        }
    }

    fn announce(&self, space: Space, text: &str) {
        if let Some(hook) = &self.hook {
            hook(space, text);
        }
    }

    async fn begin<S>(&self, space: Space, access: TenantAccess, mode: Mode) -> Result<Tx<S>, StoreError> {
        let inner = match &self.backend {
            Backend::Sqlite(folder) => Inner::Sqlite(folder.begin(space, mode).await?),
            Backend::Postgres(server) => Inner::Postgres(server.begin(space, mode).await?),
        };
        Ok(Tx::new(inner, space, access, self.hook.clone(), self.notices.clone()))
    }
}
