//! Migrations: numbered, additive, each in one transaction, so that a crash leaves a space at one version or the next.

use crate::{Database, Space, Sql, StoreError, TenantAccess};

/// One step of a space's tables.
#[derive(Debug, Clone, Copy)]
pub struct Migration {
    /// 1, 2, 3 ... without gaps.
    pub version: i64,
    /// The statements, with `{s}` before table names and `{blob}` for the type of bytes.
    pub statements: &'static [&'static str],
}

/// The store's own tables, in every space.
const OWN: [&str; 2] = [
    "CREATE TABLE IF NOT EXISTS {s}schema_versions (version BIGINT PRIMARY KEY)",
    "CREATE TABLE IF NOT EXISTS {s}epochs (id BIGINT PRIMARY KEY, epoch BIGINT NOT NULL)",
];

impl Database {
    /// Brings a space up to the last migration. Does nothing when it is there already.
    ///
    /// # Errors
    /// When a statement fails, or the space was made by a newer release.
    pub async fn migrate(&self, space: Space, migrations: &[Migration]) -> Result<(), StoreError> {
        let known = migrations.last().map_or(0, |last| last.version);
        let found = self.schema_version(space).await?;
        if found > known {
            return Err(StoreError::Newer { space, found, known });
        }
        for migration in migrations.iter().filter(|migration| migration.version > found) {
            let mut tx = self.begin(space, TenantAccess::Plain).await?;
            // Another process may have been faster: then its row stops this one before anything else runs.
            let mark = Sql::new("INSERT INTO {s}schema_versions (version) VALUES ($1) ON CONFLICT DO NOTHING");
            if tx.execute(mark.bind(migration.version)).await? == 0 {
                continue;
            }
            for statement in migration.statements {
                tx.execute(Sql::new(statement)).await?;
            }
            tx.commit().await?;
        }
        Ok(())
    }

    /// The version of a space's tables; 0 for a new one.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn schema_version(&self, space: Space) -> Result<i64, StoreError> {
        let mut tx = self.begin(space, TenantAccess::Plain).await?;
        for statement in OWN {
            tx.execute(Sql::new(statement)).await?;
        }
        let row = tx.fetch_one(Sql::new("SELECT COALESCE(MAX(version), 0) AS version FROM {s}schema_versions")).await?;
        tx.commit().await?;
        row.map_or(Ok(0), |row| row.get("version"))
    }
}
