//! `meta`: one row, written once by the registrar.

use keyrealm_store::{ControlTx, Sql, StoreError};

use crate::Meta;

/// The row, once the registrar has written it.
///
/// # Errors
/// When the database fails.
pub async fn read(tx: &mut ControlTx) -> Result<Option<Meta>, StoreError> {
    let row = tx.fetch_one(Sql::new("SELECT deployment_id, realm_uid FROM {s}meta")).await?;
    row.map(|row| Ok(Meta { deployment_id: row.get("deployment_id")?, realm_uid: row.get("realm_uid")? })).transpose()
}

/// Writes the row unless there is one.
///
/// # Errors
/// When the database fails.
pub(crate) async fn insert(tx: &mut ControlTx, meta: &Meta) -> Result<(), StoreError> {
    let sql = Sql::new("INSERT INTO {s}meta (id, deployment_id, realm_uid) VALUES (1, $1, $2) ON CONFLICT DO NOTHING");
    tx.execute(sql.bind(meta.deployment_id).bind(&meta.realm_uid)).await.map(drop)
}
