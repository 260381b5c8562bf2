//! `barrier_keys` in each space, and `heads` in the realm-level one.

use keyrealm_base::ObjectId;
use keyrealm_store::{Sql, StoreError, Tx};

use crate::key::Level;

const KEYS: &str = "CREATE TABLE {s}barrier_keys (id TEXT PRIMARY KEY, level TEXT NOT NULL UNIQUE, parent TEXT, \
                    sealed {blob} NOT NULL)";

/// The barrier's tables in a product's realm-level schema.
pub const REALM_STATEMENTS: [&str; 2] = [
    KEYS,
    "CREATE TABLE {s}heads (tenant TEXT PRIMARY KEY, seq BIGINT NOT NULL, digest {blob} NOT NULL, mac {blob} NOT NULL)",
];

/// The barrier's tables in a tenant's schema.
pub const TENANT_STATEMENTS: [&str; 2] = [
    KEYS,
    "CREATE TABLE {s}state (id BIGINT PRIMARY KEY CHECK (id = 1), seq BIGINT NOT NULL, digest {blob} NOT NULL, \
     mac {blob} NOT NULL)",
];

/// A stored key.
pub(crate) struct StoredKey {
    pub(crate) id: ObjectId,
    pub(crate) parent: Option<ObjectId>,
    pub(crate) sealed: Vec<u8>,
}

pub(crate) async fn read<S>(tx: &mut Tx<S>, level: Level) -> Result<Option<StoredKey>, StoreError> {
    let sql = Sql::new("SELECT id, parent, sealed FROM {s}barrier_keys WHERE level = $1").bind(level.name());
    let row = tx.fetch_one(sql).await?;
    row.map(|row| Ok(StoredKey { id: row.get("id")?, parent: row.get("parent")?, sealed: row.get("sealed")? }))
        .transpose()
}

pub(crate) async fn insert<S>(tx: &mut Tx<S>, level: Level, key: &StoredKey) -> Result<(), StoreError> {
    let sql = Sql::new("INSERT INTO {s}barrier_keys (id, level, parent, sealed) VALUES ($1, $2, $3, $4)");
    tx.execute(sql.bind(key.id).bind(level.name()).bind(key.parent).bind(key.sealed.clone())).await.map(drop)
}
