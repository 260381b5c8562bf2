//! `interactions`: authorization requests whose user is logging in or being asked.

use keyrealm_base::Timestamp;
use keyrealm_store::{Sql, StoreError, TenantTx};

use crate::domain::authorize::Request;

/// A request on its way.
pub(crate) struct Interaction {
    pub(crate) request: Request,
    /// The session that logged in for it.
    pub(crate) sid: Option<String>,
}

/// Keeps a request.
pub(crate) async fn insert(
    tx: &mut TenantTx,
    hash: [u8; 32],
    interaction: &Interaction,
    expires: Timestamp,
) -> Result<(), StoreError> {
    let text = serde_json::to_string(&interaction.request).map_err(|_| StoreError::Column("request"))?;
    let sql = Sql::new("INSERT INTO {s}interactions (hash, request, sid, expires) VALUES ($1, $2, $3, $4)");
    tx.execute(sql.bind(hash).bind(text).bind(interaction.sid.clone()).bind(expires)).await.map(drop)
}

pub(crate) async fn get(tx: &mut TenantTx, hash: [u8; 32], now: Timestamp) -> Result<Option<Interaction>, StoreError> {
    let sql =
        Sql::new("SELECT request, sid FROM {s}interactions WHERE hash = $1 AND expires > $2").bind(hash).bind(now);
    let row = tx.fetch_one(sql).await?;
    row.map(|row| {
        let text: String = row.get("request")?;
        Ok(Interaction {
            request: serde_json::from_str(&text).map_err(|_| StoreError::Column("request"))?,
            sid: row.get("sid")?,
        })
    })
    .transpose()
}

/// Notes which session logged in for it.
pub(crate) async fn bind(tx: &mut TenantTx, hash: [u8; 32], sid: &str) -> Result<(), StoreError> {
    tx.execute(Sql::new("UPDATE {s}interactions SET sid = $1 WHERE hash = $2").bind(sid).bind(hash)).await.map(drop)
}

/// Ends it; the answer is whether it was there, so that only one caller goes on.
pub(crate) async fn take(tx: &mut TenantTx, hash: [u8; 32]) -> Result<bool, StoreError> {
    Ok(tx.execute(Sql::new("DELETE FROM {s}interactions WHERE hash = $1").bind(hash)).await? == 1)
}
