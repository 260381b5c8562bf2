//! Making and dropping schemas and roles, under the registrar's login.
//!
//! A tenant's schema belongs to a role that only migrations use; another one reads and writes its tables. The product's
//! login has no rights of its own there: it takes one of the two roles for one transaction. An existing role or schema
//! that does not carry our comment is somebody else's and is refused.

use super::names::quoted;
use super::{Server, Transaction};
use crate::tx::Mode;
use crate::{Product, Space, Sql, StoreError};

impl Server {
    /// The control schema with the store's own tables.
    pub(super) async fn make_control(&self) -> Result<(), StoreError> {
        let mut tx = self.begin(Space::Control, Mode::Registrar).await?;
        tx.raw(
            "CREATE SCHEMA IF NOT EXISTS keyrealm; \
             CREATE TABLE IF NOT EXISTS keyrealm.epochs (product TEXT, tenant TEXT, epoch BIGINT NOT NULL, \
             PRIMARY KEY (product, tenant)); \
             CREATE TABLE IF NOT EXISTS keyrealm.schema_versions (space TEXT PRIMARY KEY, version BIGINT NOT NULL)",
        )
        .await?;
        let grants = self.grant_store_tables();
        tx.raw(&grants).await?;
        commit(tx).await
    }

    fn grant_store_tables(&self) -> String {
        let login = quoted(&self.login);
        format!(
            "GRANT USAGE ON SCHEMA keyrealm TO {login}; \
             GRANT SELECT, INSERT, UPDATE ON keyrealm.epochs, keyrealm.schema_versions TO {login}"
        )
    }

    /// Lets the product's login read all tables of the control schema and write these.
    pub(crate) async fn grant_control(&self, writable: &[&str]) -> Result<(), StoreError> {
        let login = quoted(&self.login);
        let mut tx = self.begin(Space::Control, Mode::Registrar).await?;
        tx.raw(&format!("GRANT SELECT ON ALL TABLES IN SCHEMA keyrealm TO {login}")).await?;
        for table in writable {
            tx.raw(&format!("GRANT INSERT, UPDATE, DELETE ON keyrealm.{} TO {login}", quoted(table))).await?;
        }
        commit(tx).await
    }

    /// The schema of a tenant or of the realm, with its roles; all of it or nothing.
    pub(super) async fn make_schema(&self, space: Space) -> Result<(), StoreError> {
        if self.registrar.is_none() {
            // Somebody else makes it; then it is there or it is not.
            return Ok(());
        }
        let roles = self.roles()?;
        let (owner, login) = (roles.owner(space), quoted(&self.login));
        let mut tx = self.begin(Space::Control, Mode::Registrar).await?;
        if self.is_ours(&mut tx, "schema", &space.to_string()).await? {
            return Ok(());
        }
        self.make_role(&mut tx, &owner).await?;
        let user = if let Space::Tenant(..) = space {
            let user = roles.user(space);
            self.make_role(&mut tx, &user).await?;
            format!("\"{user}\"")
        } else {
            login.clone()
        };
        let marker = &roles.marker;
        tx.raw(&format!(
            "CREATE SCHEMA \"{space}\" AUTHORIZATION \"{owner}\"; SET LOCAL ROLE \"{owner}\"; \
             COMMENT ON SCHEMA \"{space}\" IS '{marker}'; GRANT USAGE ON SCHEMA \"{space}\" TO {user}; \
             ALTER DEFAULT PRIVILEGES IN SCHEMA \"{space}\" GRANT SELECT, INSERT, UPDATE, DELETE ON TABLES TO {user}; \
             SET LOCAL ROLE NONE"
        ))
        .await?;
        commit(tx).await
    }

    /// A role that nobody can log in with. The product's login may take it, and the registrar, to make and drop with it.
    async fn make_role(&self, tx: &mut Transaction, role: &str) -> Result<(), StoreError> {
        let marker = &self.roles()?.marker;
        if !self.is_ours(tx, "role", role).await? {
            tx.raw(&format!("CREATE ROLE \"{role}\" NOLOGIN NOINHERIT; COMMENT ON ROLE \"{role}\" IS '{marker}'"))
                .await?;
        }
        tx.raw(&format!("GRANT \"{role}\" TO CURRENT_USER; GRANT \"{role}\" TO {}", quoted(&self.login))).await
    }

    /// Whether it exists and carries our comment.
    async fn is_ours(&self, tx: &mut Transaction, kind: &'static str, name: &str) -> Result<bool, StoreError> {
        let query = match kind {
            "role" => {
                "SELECT COALESCE(shobj_description(oid, 'pg_authid'), '') FROM pg_catalog.pg_roles WHERE rolname = $1"
            }
            _ => {
                "SELECT COALESCE(obj_description(oid, 'pg_namespace'), '') FROM pg_catalog.pg_namespace WHERE nspname = $1"
            }
        };
        match tx.scalar(query, name).await? {
            None => Ok(false),
            Some(comment) if comment == self.roles()?.marker => Ok(true),
            Some(_) => Err(StoreError::Foreign { kind, name: name.to_owned() }),
        }
    }

    /// Runs a statement as the owner of a schema, if schema and table are still there.
    pub(crate) async fn erase(&self, space: Space, table: &str, sql: Sql) -> Result<(), StoreError> {
        let mut tx = self.begin(Space::Control, Mode::Registrar).await?;
        if !self.is_ours(&mut tx, "schema", &space.to_string()).await? {
            return Ok(());
        }
        tx.raw(&format!("SET LOCAL ROLE \"{}\"", self.roles()?.owner(space))).await?;
        if tx.scalar("SELECT to_regclass($1)::text", &format!("\"{space}\".{}", quoted(table))).await?.is_none() {
            return Ok(());
        }
        let failed = |error: sqlx::Error| StoreError::from_sqlx(space, "erasing", &error);
        tx.execute_in(space, sql).await.map_err(failed)?;
        commit(tx).await
    }

    /// Whether any tenant has a schema of this product.
    pub(crate) async fn has_tenants(&self, product: Product) -> Result<bool, StoreError> {
        let mut tx = self.begin(Space::Control, Mode::Read).await?;
        let sql = Sql::new("SELECT space FROM {s}schema_versions WHERE starts_with(space, $1) AND space <> $2 LIMIT 1");
        let rows = tx.fetch(sql.bind(format!("{product}_")).bind(Space::Realm(product).to_string())).await;
        rows.map(|rows| !rows.is_empty()).map_err(|error| StoreError::from_sqlx(Space::Control, "a query", &error))
    }

    /// Drops a tenant's schema and roles. Only what carries our comment; what is gone already is no error.
    pub(crate) async fn drop_schema(&self, space: Space) -> Result<(), StoreError> {
        let Space::Tenant(product, tenant) = space else { return Ok(()) };
        let roles = self.roles()?;
        let mut tx = self.begin(Space::Control, Mode::Registrar).await?;
        if self.is_ours(&mut tx, "schema", &space.to_string()).await? {
            let owner = roles.owner(space);
            tx.raw(&format!("SET LOCAL ROLE \"{owner}\"; DROP SCHEMA \"{space}\" CASCADE; SET LOCAL ROLE NONE"))
                .await?;
        }
        for role in [roles.owner(space), roles.user(space)] {
            if self.is_ours(&mut tx, "role", &role).await? {
                let drop = format!(
                    "SET LOCAL ROLE \"{role}\"; DROP OWNED BY \"{role}\"; SET LOCAL ROLE NONE; DROP ROLE \"{role}\""
                );
                tx.raw(&drop).await?;
            }
        }
        tx.raw(&format!(
            "DELETE FROM keyrealm.schema_versions WHERE space = '{space}'; \
             DELETE FROM keyrealm.epochs WHERE product = '{product}' AND tenant = '{tenant}'"
        ))
        .await?;
        commit(tx).await
    }
}

async fn commit(tx: Transaction) -> Result<(), StoreError> {
    tx.commit().await.map_err(|error| StoreError::from_sqlx(Space::Control, "the commit", &error))
}
