//! Migrations on PostgreSQL: each in one transaction of the schema's owner, those of a new space in one together; the version
//! is in the control schema.

use super::{Server, Transaction};
use crate::migrate::Migration;
use crate::tx::Mode;
use crate::{Notice, Space, Sql, StatementHook, StoreError};

/// The transaction of one migration: with the rights of the schema's owner, and the only one that has them.
type MigrationTx = Transaction;

impl Server {
    /// Brings a space up to the last migration, and makes its schema and roles where this process may.
    pub(crate) async fn migrate(
        &self,
        space: Space,
        migrations: &[Migration],
        hook: Option<&StatementHook>,
    ) -> Result<(), StoreError> {
        let mode = if space == Space::Control { Mode::Registrar } else { Mode::Migration };
        if space == Space::Control {
            Box::pin(self.make_control()).await?;
        }
        let known = migrations.last().map_or(0, |last| last.version);
        let found = self.schema_version(space).await?;
        if found > known {
            return Err(StoreError::Newer { space, found, known });
        }
        if found == 0 && space != Space::Control {
            Box::pin(self.make_schema(space)).await?;
        }
        let missing: Vec<&Migration> = migrations.iter().filter(|migration| migration.version > found).collect();
        // A new space holds no rows, and gets all its tables at once.
        for together in missing.chunks(if found == 0 { missing.len().max(1) } else { 1 }) {
            Box::pin(self.step(space, mode, together, hook)).await?;
        }
        Ok(())
    }

    /// Migrations in one transaction.
    async fn step(
        &self,
        space: Space,
        mode: Mode,
        migrations: &[&Migration],
        hook: Option<&StatementHook>,
    ) -> Result<(), StoreError> {
        let announce = |text: &str| {
            if let Some(hook) = hook {
                hook(space, text);
            }
        };
        let failed = |error: &sqlx::Error| StoreError::from_sqlx(space, "a migration", error);
        let mut tx: MigrationTx = self.begin(space, mode).await?;
        tx.leave_role().await.map_err(|error| failed(&error))?;
        // Another process may have been faster. The lock of this transaction keeps the answer true.
        let found = version(&mut tx, space).await?;
        let missing: Vec<_> = migrations.iter().filter(|migration| migration.version > found).collect();
        let Some(last) = missing.last().map(|last| last.version) else { return Ok(()) };
        tx.enter_role().await.map_err(|error| failed(&error))?;
        let statements: Vec<&str> = missing.iter().flat_map(|migration| migration.statements).copied().collect();
        for statement in &statements {
            announce(statement);
        }
        tx.execute_all(&statements).await.map_err(|error| failed(&error))?;
        tx.leave_role().await.map_err(|error| failed(&error))?;
        let mark = Sql::new(
            "INSERT INTO {s}schema_versions (space, version) VALUES ($1, $2) ON CONFLICT (space) DO UPDATE SET \
             version = excluded.version",
        );
        announce("schema_versions");
        let mark = mark.bind(space.to_string()).bind(last);
        tx.execute_in(Space::Control, mark).await.map_err(|error| failed(&error))?;
        if let Space::Tenant(product, tenant) = space {
            tx.notify(Notice::Observed(product, tenant)).await.map_err(|error| failed(&error))?;
        }
        announce("COMMIT");
        tx.commit().await.map_err(|error| failed(&error))
    }

    /// The version of a space's tables; 0 for a new one.
    pub(crate) async fn schema_version(&self, space: Space) -> Result<i64, StoreError> {
        let mut tx = self.begin(Space::Control, Mode::Read).await?;
        version(&mut tx, space).await
    }
}

pub(super) async fn version(tx: &mut Transaction, space: Space) -> Result<i64, StoreError> {
    let sql = Sql::new("SELECT version FROM {s}schema_versions WHERE space = $1").bind(space.to_string());
    let rows = tx.fetch_in(Space::Control, sql).await;
    let rows = rows.map_err(|error| StoreError::from_sqlx(space, "reading its version", &error))?;
    rows.first().map_or(Ok(0), |row| row.get("version"))
}
