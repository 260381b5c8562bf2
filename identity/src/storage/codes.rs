//! `codes`: authorization codes, single use by one statement.

use keyrealm_base::{ObjectId, Timestamp};
use keyrealm_store::{Row, Sql, StoreError, TenantTx};

/// What a code stands for.
pub(crate) struct Code {
    pub(crate) client_id: String,
    pub(crate) user_id: ObjectId,
    pub(crate) redirect_uri: String,
    pub(crate) scope: String,
    pub(crate) nonce: Option<String>,
    pub(crate) challenge: Option<String>,
    pub(crate) sid: ObjectId,
    pub(crate) family: ObjectId,
    pub(crate) auth_time: Timestamp,
}

const COLUMNS: &str = "client_id, user_id, redirect_uri, scope, nonce, challenge, sid, family, auth_time";

fn code(row: &Row) -> Result<Code, StoreError> {
    Ok(Code {
        client_id: row.get("client_id")?,
        user_id: row.get("user_id")?,
        redirect_uri: row.get("redirect_uri")?,
        scope: row.get("scope")?,
        nonce: row.get("nonce")?,
        challenge: row.get("challenge")?,
        sid: row.get("sid")?,
        family: row.get("family")?,
        auth_time: row.get("auth_time")?,
    })
}

/// Issues a code.
pub(crate) async fn insert(
    tx: &mut TenantTx,
    hash: [u8; 32],
    code: &Code,
    expires: Timestamp,
) -> Result<(), StoreError> {
    let mut sql = Sql::new("INSERT INTO {s}codes (hash, expires, ");
    sql.push(COLUMNS).push(") VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)");
    let sql = sql.bind(hash).bind(expires).bind(&code.client_id).bind(code.user_id).bind(&code.redirect_uri);
    let sql = sql.bind(&code.scope).bind(code.nonce.clone()).bind(code.challenge.clone());
    tx.execute(sql.bind(code.sid).bind(code.family).bind(code.auth_time)).await.map(drop)
}

/// Uses a code: of all who try, one gets it (RFC 6749, section 4.1.2), and nobody once its session has ended.
pub(crate) async fn consume(
    tx: &mut TenantTx,
    hash: [u8; 32],
    client_id: &str,
    now: Timestamp,
) -> Result<Option<Code>, StoreError> {
    let mut sql = Sql::new(
        "UPDATE {s}codes SET used_at = $1 WHERE hash = $2 AND client_id = $3 AND used_at IS NULL AND expires > $1 \
         AND NOT EXISTS (SELECT 1 FROM {s}ended e WHERE e.value = codes.family OR e.value = codes.sid) RETURNING ",
    );
    sql.push(COLUMNS);
    tx.fetch_one(sql.bind(now).bind(hash).bind(client_id)).await?.as_ref().map(code).transpose()
}

/// When a code of this client was used, and its family.
pub(crate) async fn used(
    tx: &mut TenantTx,
    hash: [u8; 32],
    client_id: &str,
) -> Result<Option<(Timestamp, String)>, StoreError> {
    let sql =
        Sql::new("SELECT used_at, family FROM {s}codes WHERE hash = $1 AND client_id = $2 AND used_at IS NOT NULL");
    let row = tx.fetch_one(sql.bind(hash).bind(client_id)).await?;
    row.map(|row| Ok((row.get("used_at")?, row.get("family")?))).transpose()
}
