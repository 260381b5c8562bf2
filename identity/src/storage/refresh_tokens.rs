//! `refresh_tokens`: rotated on each use, single use by one statement, revoked by family.

use keyrealm_base::{ObjectId, Timestamp};
use keyrealm_store::{Row, Sql, StoreError, TenantTx};

/// What a refresh token stands for.
#[derive(Clone)]
pub(crate) struct RefreshToken {
    pub(crate) family: ObjectId,
    pub(crate) client_id: String,
    pub(crate) user_id: ObjectId,
    pub(crate) scope: String,
    pub(crate) sid: ObjectId,
    pub(crate) auth_time: Timestamp,
    pub(crate) expires: Timestamp,
}

const COLUMNS: &str = "family, client_id, user_id, scope, sid, auth_time, expires";

fn token(row: &Row) -> Result<RefreshToken, StoreError> {
    Ok(RefreshToken {
        family: row.get("family")?,
        client_id: row.get("client_id")?,
        user_id: row.get("user_id")?,
        scope: row.get("scope")?,
        sid: row.get("sid")?,
        auth_time: row.get("auth_time")?,
        expires: row.get("expires")?,
    })
}

/// Stores a token; those that have expired are taken out.
pub(crate) async fn insert(
    tx: &mut TenantTx,
    hash: [u8; 32],
    token: &RefreshToken,
    now: Timestamp,
) -> Result<(), StoreError> {
    tx.execute(Sql::new("DELETE FROM {s}refresh_tokens WHERE expires <= $1").bind(now)).await?;
    let mut sql = Sql::new("INSERT INTO {s}refresh_tokens (hash, ");
    sql.push(COLUMNS).push(") VALUES ($1, $2, $3, $4, $5, $6, $7, $8)");
    let sql = sql.bind(hash).bind(token.family).bind(&token.client_id).bind(token.user_id).bind(&token.scope);
    tx.execute(sql.bind(token.sid).bind(token.auth_time).bind(token.expires)).await.map(drop)
}

/// Uses a token and names its successor: of all who try, one gets it.
pub(crate) async fn consume(
    tx: &mut TenantTx,
    hash: [u8; 32],
    client_id: &str,
    successor: [u8; 32],
    now: Timestamp,
) -> Result<Option<RefreshToken>, StoreError> {
    let mut sql = Sql::new(
        "UPDATE {s}refresh_tokens SET used_at = $1, successor = $2 WHERE hash = $3 AND client_id = $4 AND used_at IS NULL \
         AND revoked_at IS NULL AND expires > $1 AND NOT EXISTS (SELECT 1 FROM {s}ended e \
         WHERE e.value = refresh_tokens.family OR e.value = refresh_tokens.sid) RETURNING ",
    );
    sql.push(COLUMNS);
    tx.fetch_one(sql.bind(now).bind(successor).bind(hash).bind(client_id)).await?.as_ref().map(token).transpose()
}

/// A token that was used before.
pub(crate) struct Used {
    pub(crate) token: RefreshToken,
    pub(crate) used_at: Timestamp,
    pub(crate) revoked: bool,
    pub(crate) successor: Vec<u8>,
    /// Whether the token that it was exchanged for was used, too.
    pub(crate) successor_used: bool,
}

pub(crate) async fn used(tx: &mut TenantTx, hash: [u8; 32], client_id: &str) -> Result<Option<Used>, StoreError> {
    let sql = Sql::new(
        "SELECT t.family, t.client_id, t.user_id, t.scope, t.sid, t.auth_time, t.expires, t.used_at, t.successor, \
         t.revoked_at, n.used_at AS next_used FROM {s}refresh_tokens t LEFT JOIN {s}refresh_tokens n ON n.hash = t.successor \
         WHERE t.hash = $1 AND t.client_id = $2 AND t.used_at IS NOT NULL",
    );
    let Some(row) = tx.fetch_one(sql.bind(hash).bind(client_id)).await? else { return Ok(None) };
    let (revoked_at, next_used): (Option<i64>, Option<i64>) = (row.get("revoked_at")?, row.get("next_used")?);
    Ok(Some(Used {
        token: token(&row)?,
        used_at: row.get("used_at")?,
        revoked: revoked_at.is_some(),
        successor: row.get("successor")?,
        successor_used: next_used.is_some(),
    }))
}

/// Gives a used token another successor, if it still has `before` and that one was not used: one caller gets it.
pub(crate) async fn replace_successor(
    tx: &mut TenantTx,
    hash: [u8; 32],
    before: &[u8],
    after: [u8; 32],
) -> Result<bool, StoreError> {
    let sql = Sql::new("DELETE FROM {s}refresh_tokens WHERE hash = $1 AND used_at IS NULL").bind(before);
    if tx.execute(sql).await? == 0 {
        return Ok(false);
    }
    let sql = Sql::new("UPDATE {s}refresh_tokens SET successor = $1 WHERE hash = $2 AND successor = $3");
    Ok(tx.execute(sql.bind(after).bind(hash).bind(before)).await? == 1)
}

/// A token that could still be used.
pub(crate) async fn live(
    tx: &mut TenantTx,
    hash: [u8; 32],
    now: Timestamp,
) -> Result<Option<RefreshToken>, StoreError> {
    let mut sql = Sql::new("SELECT ");
    sql.push(COLUMNS)
        .push(" FROM {s}refresh_tokens t WHERE hash = $1 AND used_at IS NULL AND revoked_at IS NULL AND expires > $2")
        .push(" AND NOT EXISTS (SELECT 1 FROM {s}ended e WHERE e.value = t.family OR e.value = t.sid)");
    tx.fetch_one(sql.bind(hash).bind(now)).await?.as_ref().map(token).transpose()
}

/// The family and client of a token, whatever its state.
pub(crate) async fn owner(tx: &mut TenantTx, hash: [u8; 32]) -> Result<Option<(String, String)>, StoreError> {
    let row =
        tx.fetch_one(Sql::new("SELECT family, client_id FROM {s}refresh_tokens WHERE hash = $1").bind(hash)).await?;
    row.map(|row| Ok((row.get("family")?, row.get("client_id")?))).transpose()
}

/// What ends.
pub(crate) enum Ended<'a> {
    /// The tokens that came from one authorization.
    Family(&'a str),
    /// Those of a log-in session.
    Session(&'a str),
}

/// Revokes all tokens of a family or a session: those that are there, and by the row in `ended` also one that somebody is
/// exchanging at this moment and whose successor nobody sees yet. `until` is when the last of them expires.
pub(crate) async fn revoke(
    tx: &mut TenantTx,
    what: Ended<'_>,
    now: Timestamp,
    until: Timestamp,
) -> Result<(), StoreError> {
    let (value, update) = match what {
        Ended::Family(family) => {
            (family, "UPDATE {s}refresh_tokens SET revoked_at = $1 WHERE family = $2 AND revoked_at IS NULL")
        }
        Ended::Session(sid) => {
            (sid, "UPDATE {s}refresh_tokens SET revoked_at = $1 WHERE sid = $2 AND revoked_at IS NULL")
        }
    };
    tx.execute(Sql::new("DELETE FROM {s}ended WHERE until <= $1").bind(now)).await?;
    let end = Sql::new("INSERT INTO {s}ended (value, until) VALUES ($1, $2) ON CONFLICT DO NOTHING");
    tx.execute(end.bind(value).bind(until)).await?;
    tx.execute(Sql::new(update).bind(now).bind(value)).await.map(drop)
}
