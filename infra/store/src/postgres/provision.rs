//! Making and dropping schemas and roles, under the registrar's login.
//!
//! A tenant's schema belongs to a role that only migrations use; another one reads and writes its tables. The product's
//! login has no rights of its own there: it takes one of the two roles for one transaction. An existing role or schema
//! that does not carry our comment is somebody else's and is refused.

use super::migrate::version as schema_version;
use super::names::quoted;
use super::{Server, Side, Transaction};
use crate::drift::{Drift, DriftKind};
use crate::tx::Mode;
use crate::{Product, Space, Sql, StoreError};

impl Server {
    /// The control schema with the store's own tables.
    pub(super) async fn make_control(&self) -> Result<(), StoreError> {
        let mut tx = self.begin(Space::Control, Mode::Registrar).await?;
        let there = "SELECT 'there' WHERE to_regclass('keyrealm.epochs') IS NOT NULL AND to_regclass($1) IS NOT NULL";
        if tx.scalar(there, "keyrealm.schema_versions").await?.is_none() {
            tx.raw(
                "CREATE SCHEMA IF NOT EXISTS keyrealm; \
                 CREATE TABLE IF NOT EXISTS keyrealm.epochs (product TEXT, tenant TEXT, epoch BIGINT NOT NULL, \
                 PRIMARY KEY (product, tenant)); \
                 CREATE TABLE IF NOT EXISTS keyrealm.schema_versions (space TEXT PRIMARY KEY, version BIGINT NOT NULL)",
            )
            .await?;
        }
        // The operator makes the logins later, and gives them their rights then.
        if let Side::Product(..) = self.side {
            self.grant_control(&mut tx, &|_| Vec::new()).await?;
        }
        commit(tx).await
    }

    /// The schema of a tenant or of the realm, with its roles; all of it or nothing.
    pub(super) async fn make_schema(&self, space: Space) -> Result<(), StoreError> {
        if self.registrar.is_none() {
            // Somebody else makes it; then it is there or it is not.
            return Ok(());
        }
        let mut tx = self.begin(Space::Control, Mode::Registrar).await?;
        if self.ensure_schemas(&mut tx, &[space]).await?.is_empty() { Ok(()) } else { commit(tx).await }
    }

    /// Makes these schemas and their roles, or gives them back what somebody took from them; the answer is those where there
    /// was anything to do. What carries a foreign comment is refused.
    pub(crate) async fn ensure_schemas(
        &self,
        tx: &mut Transaction,
        spaces: &[Space],
    ) -> Result<Vec<Space>, StoreError> {
        let drift = self.drift(tx, spaces).await?;
        let (mut changed, mut first, mut then) = (Vec::new(), Vec::new(), Vec::new());
        for space in spaces {
            let drift: Vec<&Drift> = drift.iter().filter(|drift| drift.space == *space).collect();
            let (Some(product), false) = (space.product(), drift.is_empty()) else { continue };
            let [roles, schema] = self.statements(tx, *space, product, &drift).await?;
            first.push(roles);
            then.push(schema);
            changed.push(*space);
        }
        // Who takes a role has all that it is a member of looked up, anew after each change of a membership: with thousands
        // of them that is most of the work. So all roles come first.
        first.append(&mut then);
        if !first.is_empty() {
            tx.raw(&first.join("; ")).await?;
        }
        Ok(changed)
    }

    /// What to do about a space: its roles, its schema.
    async fn statements(
        &self,
        tx: &mut Transaction,
        space: Space,
        product: Product,
        drift: &[&Drift],
    ) -> Result<[String; 2], StoreError> {
        if let Some(foreign) = drift.iter().find(|drift| drift.kind.is_foreign()) {
            let kind = if foreign.kind == DriftKind::RoleForeign { "role" } else { "schema" };
            return Err(StoreError::Foreign { kind, name: foreign.object.clone() });
        }
        let (roles, login) = (self.roles()?, self.login(product)?);
        let has = |kind: DriftKind, object: &str| drift.iter().any(|d| d.kind == kind && d.object == object);
        if has(DriftKind::LoginMissing, &login) {
            return Err(StoreError::NoLogin { product, name: login });
        }
        let (schema, owner, marker) = (space.to_string(), roles.owner(space), &roles.marker);
        let missing = has(DriftKind::SchemaMissing, &schema);
        if missing {
            let version = schema_version(tx, space).await?;
            if version > 0 {
                return Err(StoreError::Vanished { space, version });
            }
        }
        let login = quoted(&login);
        let mut made = Vec::new();
        let user = matches!(space, Space::Tenant(..)).then(|| roles.user(space));
        for name in [Some(&owner), user.as_ref()].into_iter().flatten() {
            let role = if has(DriftKind::RoleMissing, name) {
                format!("CREATE ROLE \"{name}\"")
            } else {
                alter_role(tx, name).await?
            };
            made.push(format!("{role} NOLOGIN NOINHERIT NOCREATEROLE"));
            made.push(format!("COMMENT ON ROLE \"{name}\" IS '{marker}'"));
            made.push(format!("GRANT \"{name}\" TO CURRENT_USER; GRANT \"{name}\" TO {login}"));
        }
        let user = user.map_or_else(|| login.clone(), |user| format!("\"{user}\""));
        // PostgreSQL looks for a schema's tables among those of all: not where there can be none.
        let (create, tables) = if missing {
            (format!("CREATE SCHEMA \"{space}\" AUTHORIZATION \"{owner}\"; "), String::new())
        } else {
            let rights = "GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA";
            (String::new(), format!("{rights} \"{space}\" TO {user}; "))
        };
        let schema = format!(
            "{create}SET LOCAL ROLE \"{owner}\"; COMMENT ON SCHEMA \"{space}\" IS '{marker}'; \
             GRANT USAGE ON SCHEMA \"{space}\" TO {user}; {tables}\
             ALTER DEFAULT PRIVILEGES IN SCHEMA \"{space}\" GRANT SELECT, INSERT, UPDATE, DELETE ON TABLES TO {user}; \
             SET LOCAL ROLE NONE"
        );
        Ok([made.join("; "), schema])
    }

    /// Whether it exists and carries our comment.
    pub(super) async fn is_ours(
        &self,
        tx: &mut Transaction,
        kind: &'static str,
        name: &str,
    ) -> Result<bool, StoreError> {
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
                self.drop_role(&mut tx, &role).await?;
            }
        }
        self.forget(&mut tx, product, tenant).await?;
        commit(tx).await
    }
}

async fn commit(tx: Transaction) -> Result<(), StoreError> {
    tx.commit().await.map_err(|error| StoreError::from_sqlx(Space::Control, "the commit", &error))
}

/// The beginning of a statement that gives a role its attributes back. From PostgreSQL 16 on who may not make databases may not
/// even say that a role shall not: it is said where it is needed alone.
pub(super) async fn alter_role(tx: &mut Transaction, name: &str) -> Result<String, StoreError> {
    let may = tx.scalar("SELECT rolcreatedb::text FROM pg_catalog.pg_roles WHERE rolname = $1", name).await?;
    let databases = if may.as_deref() == Some("true") { " NOCREATEDB" } else { "" };
    Ok(format!("ALTER ROLE \"{name}\"{databases}"))
}
