//! `sessions`: log-ins, by the hash of their cookie.

use std::time::Duration;

use keyrealm_base::{ObjectId, Timestamp};
use keyrealm_store::{Row, Sql, StoreError, TenantTx};

/// A log-in.
#[derive(Clone)]
pub(crate) struct Session {
    pub(crate) sid: ObjectId,
    pub(crate) user_id: ObjectId,
    pub(crate) auth_time: Timestamp,
}

fn session(row: &Row) -> Result<Session, StoreError> {
    Ok(Session { sid: row.get("sid")?, user_id: row.get("user_id")?, auth_time: row.get("auth_time")? })
}

/// Begins a session.
pub(crate) async fn insert(
    tx: &mut TenantTx,
    hash: [u8; 32],
    session: &Session,
    expires: Timestamp,
) -> Result<(), StoreError> {
    let sql = Sql::new(
        "INSERT INTO {s}sessions (hash, sid, user_id, auth_time, last_seen, expires) VALUES ($1, $2, $3, $4, $5, $6)",
    );
    let sql = sql.bind(hash).bind(session.sid).bind(session.user_id).bind(session.auth_time);
    tx.execute(sql.bind(session.auth_time).bind(expires)).await.map(drop)
}

/// The session, if it is neither over nor idle for too long; being asked for keeps it awake.
pub(crate) async fn touch(
    tx: &mut TenantTx,
    hash: [u8; 32],
    now: Timestamp,
    idle: Duration,
) -> Result<Option<Session>, StoreError> {
    let sql = Sql::new(
        "UPDATE {s}sessions SET last_seen = $1 WHERE hash = $2 AND expires > $1 AND last_seen > $3 \
         RETURNING sid, user_id, auth_time",
    );
    let row = tx.fetch_one(sql.bind(now).bind(hash).bind(now.minus(idle))).await?;
    row.as_ref().map(session).transpose()
}

/// Ends a session.
pub(crate) async fn delete(tx: &mut TenantTx, sid: &str) -> Result<(), StoreError> {
    tx.execute(Sql::new("DELETE FROM {s}sessions WHERE sid = $1").bind(sid)).await.map(drop)
}

/// Every session that a user has, or has tokens from: each token of a user names one of them.
pub(crate) async fn of_user(tx: &mut TenantTx, user: ObjectId) -> Result<Vec<String>, StoreError> {
    let sql = Sql::new(
        "SELECT sid FROM {s}sessions WHERE user_id = $1 UNION SELECT sid FROM {s}codes WHERE user_id = $1 \
         UNION SELECT sid FROM {s}refresh_tokens WHERE user_id = $1",
    );
    tx.fetch(sql.bind(user)).await?.iter().map(|row| row.get("sid")).collect()
}
