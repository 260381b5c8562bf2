//! `signing_keys` of the realm: one row an algorithm, sealed.

use keyrealm_base::ObjectId;
use keyrealm_store::{RealmTx, Sql, StoreError};

pub(crate) async fn get(tx: &mut RealmTx, algorithm: &str) -> Result<Option<(ObjectId, Vec<u8>)>, StoreError> {
    let sql = Sql::new("SELECT id, sealed FROM {s}signing_keys WHERE algorithm = $1").bind(algorithm);
    tx.fetch_one(sql).await?.map(|row| Ok((row.get("id")?, row.get("sealed")?))).transpose()
}

/// Inserts unless another process was faster.
pub(crate) async fn insert(tx: &mut RealmTx, algorithm: &str, id: ObjectId, sealed: Vec<u8>) -> Result<(), StoreError> {
    let sql =
        Sql::new("INSERT INTO {s}signing_keys (algorithm, id, sealed) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING");
    tx.execute(sql.bind(algorithm).bind(id).bind(sealed)).await.map(drop)
}
