//! `barrier_keys` in each space, `heads` in the realm-level one and `state` in each tenant's.

use keyrealm_base::ObjectId;
use keyrealm_store::{Sql, StoreError, Tx};

use crate::key::Level;

/// Several keys a level: the one of the highest version seals, the others open what they have sealed.
const KEYS: &str = "CREATE TABLE {s}barrier_keys (id TEXT PRIMARY KEY, level TEXT NOT NULL, version BIGINT NOT NULL, \
                    parent TEXT, sealed {blob} NOT NULL, UNIQUE (level, version))";

/// The barrier's tables in a product's realm-level schema.
pub const REALM_STATEMENTS: [&str; 2] =
    [KEYS, "CREATE TABLE {s}heads (tenant TEXT PRIMARY KEY, seq BIGINT NOT NULL, sealed {blob} NOT NULL)"];

/// The barrier's tables in a tenant's schema.
pub const TENANT_STATEMENTS: [&str; 2] =
    [KEYS, "CREATE TABLE {s}state (id BIGINT PRIMARY KEY CHECK (id = 1), seq BIGINT NOT NULL, sealed {blob} NOT NULL)"];

/// A stored key.
pub(crate) struct StoredKey {
    pub(crate) id: ObjectId,
    pub(crate) level: Level,
    pub(crate) version: u32,
    pub(crate) parent: Option<ObjectId>,
    pub(crate) sealed: Vec<u8>,
}

/// All keys of a space, the oldest of each level first.
pub(crate) async fn all<S>(tx: &mut Tx<S>) -> Result<Vec<StoredKey>, StoreError> {
    let sql = Sql::new("SELECT id, level, version, parent, sealed FROM {s}barrier_keys ORDER BY version");
    let rows = tx.fetch(sql).await?;
    rows.iter()
        .map(|row| {
            let level: String = row.get("level")?;
            Ok(StoredKey {
                id: row.get("id")?,
                level: Level::from_name(&level).ok_or(StoreError::Column("level"))?,
                version: row.get("version")?,
                parent: row.get("parent")?,
                sealed: row.get("sealed")?,
            })
        })
        .collect()
}

pub(crate) async fn insert<S>(tx: &mut Tx<S>, key: &StoredKey) -> Result<(), StoreError> {
    let sql = Sql::new("INSERT INTO {s}barrier_keys (id, level, version, parent, sealed) VALUES ($1, $2, $3, $4, $5)");
    let sql = sql.bind(key.id).bind(key.level.name()).bind(key.version).bind(key.parent);
    tx.execute(sql.bind(key.sealed.clone())).await.map(drop)
}
