//! `key_versions`: one row a version, its material sealed. Versions are never changed.

use keyrealm_base::{KeyId, Timestamp, VersionId};
use keyrealm_store::{Row, Sql, StoreError, TenantTx};

/// A version as it is stored.
pub(crate) struct StoredVersion {
    pub(crate) id: VersionId,
    pub(crate) key_id: KeyId,
    pub(crate) version: u32,
    pub(crate) created_at: Timestamp,
    pub(crate) state_seq: u64,
    pub(crate) sealed: Vec<u8>,
}

const SELECT: &str = "SELECT id, key_id, version, created_at, state_seq, sealed FROM {s}key_versions";

fn stored(row: &Row) -> Result<StoredVersion, StoreError> {
    let seq: i64 = row.get("state_seq")?;
    Ok(StoredVersion {
        id: row.get("id")?,
        key_id: row.get("key_id")?,
        version: row.get("version")?,
        created_at: row.get("created_at")?,
        state_seq: u64::try_from(seq).map_err(|_| StoreError::Column("state_seq"))?,
        sealed: row.get("sealed")?,
    })
}

/// The versions of a key, the newest first.
pub(crate) async fn of_key(tx: &mut TenantTx, key: KeyId) -> Result<Vec<StoredVersion>, StoreError> {
    let mut sql = Sql::new(SELECT);
    sql.push(" WHERE key_id = ").push_bind(key).push(" ORDER BY version DESC");
    tx.fetch(sql).await?.iter().map(stored).collect()
}

/// The seals of all rows; for comparing them with the tenant's state.
pub(crate) async fn seals(tx: &mut TenantTx) -> Result<Vec<(VersionId, Vec<u8>)>, StoreError> {
    let rows = tx.fetch(Sql::new("SELECT id, sealed FROM {s}key_versions")).await?;
    rows.iter().map(|row| Ok((row.get("id")?, row.get("sealed")?))).collect()
}

pub(crate) async fn insert(tx: &mut TenantTx, version: &StoredVersion) -> Result<(), StoreError> {
    let sql = Sql::new(
        "INSERT INTO {s}key_versions (id, key_id, version, created_at, state_seq, sealed) VALUES ($1, $2, $3, $4, $5, $6)",
    );
    let seq = i64::try_from(version.state_seq).unwrap_or(i64::MAX);
    let sql = sql.bind(version.id).bind(version.key_id).bind(version.version).bind(version.created_at);
    tx.execute(sql.bind(seq).bind(version.sealed.clone())).await.map(drop)
}
