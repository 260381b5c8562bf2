//! Schemas, roles and logins, for whoever creates tenants. Each step is part of a registrar's transaction on the control
//! schema ([`Database::registry`]), of which there is one at a time: two registrars never change the same object at once.
//! With SQLite there are no roles, and files are made by their first migration: then there is nothing to do.

use keyrealm_base::TenantId;
use keyrealm_crypto::password::ScramVerifier;

use crate::database::Backend;
use crate::drift::Drift;
use crate::tx::Inner;
use crate::{ControlTx, Database, Product, Space, StoreError};

impl Database {
    /// Drops what a realm has above its tenants: realm-level schemas, control schema, logins. Of SQLite the files are the
    /// realm.
    ///
    /// # Errors
    /// When the database fails, something of these names is not ours, or this process is no registrar.
    pub async fn drop_realm(&self) -> Result<(), StoreError> {
        match &self.backend {
            Backend::Sqlite(_) => Err(StoreError::NeedsPostgres("dropping a realm")),
            Backend::Postgres(server) => server.drop_realm().await,
        }
    }

    /// What the product logs in with; with SQLite there are no logins.
    ///
    /// # Errors
    /// Before [`Database::bind`].
    pub fn login(&self, product: Product) -> Result<Option<String>, StoreError> {
        match &self.backend {
            Backend::Sqlite(_) => Ok(None),
            Backend::Postgres(server) => server.login(product).map(Some),
        }
    }

    /// Whether the product's login is there.
    ///
    /// # Errors
    /// When the database fails, or a role of this name is not ours.
    pub async fn has_login(&self, tx: &mut ControlTx, product: Product) -> Result<bool, StoreError> {
        match (&self.backend, tx.inner()) {
            (Backend::Postgres(server), Inner::Postgres(tx)) => server.has_login(tx, product).await,
            _ => Ok(true),
        }
    }

    /// Makes the product's login, or gives it another password.
    ///
    /// # Errors
    /// When the database fails, or a role of this name is not ours.
    pub async fn set_login(
        &self,
        tx: &mut ControlTx,
        product: Product,
        password: &ScramVerifier,
    ) -> Result<(), StoreError> {
        tx.step("login");
        match (&self.backend, tx.inner()) {
            (Backend::Postgres(server), Inner::Postgres(tx)) => server.set_login(tx, product, password).await,
            _ => Ok(()),
        }
    }

    /// Gives the products' logins exactly these rights on tables of the control schema: name of a table, and rights such as
    /// `SELECT, INSERT`, in the order SELECT, INSERT, UPDATE, DELETE. A product's process does it for its own login, the
    /// operator's for both.
    ///
    /// # Errors
    /// When the database does not do it.
    pub async fn grant_control(
        &self,
        tx: &mut ControlTx,
        rights: impl Fn(Product) -> Vec<(&'static str, &'static str)> + Sync,
    ) -> Result<(), StoreError> {
        tx.step("grants");
        match (&self.backend, tx.inner()) {
            (Backend::Postgres(server), Inner::Postgres(tx)) => server.grant_control(tx, &rights).await,
            _ => Ok(()),
        }
    }

    /// Makes the schemas of a tenant or of the realm with their roles, or gives them back what somebody took from them. The
    /// answer is those where there was anything to do; of the others nothing is written. The products make the tables.
    ///
    /// # Errors
    /// When the database fails, a schema or role carries somebody else's comment, or a schema that had tables is gone.
    pub async fn ensure_schemas(&self, tx: &mut ControlTx, spaces: &[Space]) -> Result<Vec<Space>, StoreError> {
        tx.step("schemas");
        match (&self.backend, tx.inner()) {
            (Backend::Postgres(server), Inner::Postgres(tx)) => server.ensure_schemas(tx, spaces).await,
            _ => Ok(Vec::new()),
        }
    }

    /// What somebody changed in these spaces: one query of the catalog, whatever their number.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn drift(&self, tx: &mut ControlTx, spaces: &[Space]) -> Result<Vec<Drift>, StoreError> {
        match (&self.backend, tx.inner()) {
            (Backend::Postgres(server), Inner::Postgres(tx)) => server.drift(tx, spaces).await,
            _ => Ok(Vec::new()),
        }
    }

    /// Moves a tenant's schema aside, out of every product's reach; `moment` is 14 digits. The answer is its new name, or
    /// `None` where there is none.
    ///
    /// # Errors
    /// When the database fails, or the schema is not ours.
    pub async fn archive(
        &self,
        tx: &mut ControlTx,
        product: Product,
        tenant: TenantId,
        moment: &str,
    ) -> Result<Option<String>, StoreError> {
        tx.step("archive");
        match (&self.backend, tx.inner()) {
            (Backend::Postgres(server), Inner::Postgres(tx)) => server.archive(tx, product, tenant, moment).await,
            _ => Err(StoreError::NeedsPostgres("archiving a tenant")),
        }
    }

    /// Drops what [`Database::archive`] moved aside.
    ///
    /// # Errors
    /// When the database fails, or the schema is not ours.
    pub async fn drop_archive(&self, tx: &mut ControlTx, name: &str) -> Result<(), StoreError> {
        tx.step("drop archive");
        match (&self.backend, tx.inner()) {
            (Backend::Postgres(server), Inner::Postgres(tx)) => server.drop_archive(tx, name).await,
            _ => Err(StoreError::NeedsPostgres("archiving a tenant")),
        }
    }

    /// The versions of the tables of all spaces of tenants and realm that have any.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn schema_versions(
        &self,
        tx: &mut ControlTx,
        spaces: &[Space],
    ) -> Result<std::collections::HashMap<Space, i64>, StoreError> {
        let mut versions = std::collections::HashMap::new();
        match &self.backend {
            Backend::Sqlite(folder) => {
                for space in spaces {
                    match folder.schema_version(*space).await {
                        Err(StoreError::NotPrepared { .. }) => {}
                        version => drop(versions.insert(*space, version?)),
                    }
                }
            }
            Backend::Postgres(_) => {
                let rows = tx.fetch(crate::Sql::new("SELECT space, version FROM {s}schema_versions")).await?;
                let mut found = std::collections::HashMap::new();
                for row in rows {
                    found.insert(row.get::<String>("space")?, row.get::<i64>("version")?);
                }
                let of = |space: &Space| found.get(&space.to_string()).map(|version| (*space, *version));
                versions.extend(spaces.iter().filter_map(of));
            }
        }
        Ok(versions)
    }
}
