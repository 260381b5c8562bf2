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

/// Stores a token; `access` is the id of the access token that is given out with it.
pub(crate) async fn insert(
    tx: &mut TenantTx,
    hash: [u8; 32],
    token: &RefreshToken,
    access: ObjectId,
) -> Result<(), StoreError> {
    let mut sql = Sql::new("INSERT INTO {s}refresh_tokens (hash, access, ");
    sql.push(COLUMNS).push(") VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)");
    let sql = sql.bind(hash).bind(access).bind(token.family).bind(&token.client_id).bind(token.user_id);
    let sql = sql.bind(&token.scope);
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

/// A token that cannot be used any more.
pub(crate) struct Spent {
    pub(crate) token: RefreshToken,
    /// When it was exchanged; never, for one that was given up unused.
    pub(crate) used_at: Option<Timestamp>,
    pub(crate) revoked: bool,
    /// Whether its family or session has ended already.
    pub(crate) ended: bool,
    /// What it was exchanged for.
    pub(crate) successor: Option<Successor>,
}

/// The token that a used one was exchanged for.
pub(crate) struct Successor {
    hash: Vec<u8>,
    /// Whether it was used, too, or given up.
    pub(crate) spent: bool,
    /// The access token that was given out with it.
    pub(crate) access: Option<String>,
}

/// What became of a token that was used, given up or revoked.
pub(crate) async fn spent(tx: &mut TenantTx, hash: [u8; 32], client_id: &str) -> Result<Option<Spent>, StoreError> {
    let sql = Sql::new(
        "SELECT t.family, t.client_id, t.user_id, t.scope, t.sid, t.auth_time, t.expires, t.used_at, t.successor, \
         t.revoked_at, n.used_at AS next_used, n.revoked_at AS next_revoked, n.access AS next_access, \
         (SELECT count(*) FROM {s}ended e WHERE e.value = t.family OR e.value = t.sid) AS ends \
         FROM {s}refresh_tokens t LEFT JOIN {s}refresh_tokens n ON n.hash = t.successor \
         WHERE t.hash = $1 AND t.client_id = $2 AND (t.used_at IS NOT NULL OR t.revoked_at IS NOT NULL)",
    );
    let Some(row) = tx.fetch_one(sql.bind(hash).bind(client_id)).await? else { return Ok(None) };
    let (revoked, ends): (Option<i64>, i64) = (row.get("revoked_at")?, row.get("ends")?);
    let (next_used, next_revoked): (Option<i64>, Option<i64>) = (row.get("next_used")?, row.get("next_revoked")?);
    let next: Option<Vec<u8>> = row.get("successor")?;
    let access = row.get("next_access")?;
    let spent = next_used.is_some() || next_revoked.is_some();
    Ok(Some(Spent {
        token: token(&row)?,
        used_at: row.get("used_at")?,
        revoked: revoked.is_some(),
        ended: ends > 0,
        successor: next.map(|hash| Successor { hash, spent, access }),
    }))
}

/// Gives a used token another successor, if it still has `before` and that one was not used: one caller gets it. The one
/// before is kept, given up: should anybody use it, the answer was not lost but taken.
pub(crate) async fn replace_successor(
    tx: &mut TenantTx,
    hash: [u8; 32],
    before: &Successor,
    after: [u8; 32],
    now: Timestamp,
) -> Result<bool, StoreError> {
    let sql = Sql::new(
        "UPDATE {s}refresh_tokens SET revoked_at = $1 WHERE hash = $2 AND used_at IS NULL AND revoked_at IS NULL \
         AND NOT EXISTS (SELECT 1 FROM {s}ended e WHERE e.value = refresh_tokens.family OR e.value = refresh_tokens.sid)",
    );
    if tx.execute(sql.bind(now).bind(before.hash.as_slice())).await? == 0 {
        return Ok(false);
    }
    let sql = Sql::new("UPDATE {s}refresh_tokens SET successor = $1 WHERE hash = $2 AND successor = $3");
    Ok(tx.execute(sql.bind(after).bind(hash).bind(before.hash.as_slice())).await? == 1)
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
    let end = Sql::new(
        "INSERT INTO {s}ended (value, until) VALUES ($1, $2) ON CONFLICT (value) DO UPDATE SET until = excluded.until",
    );
    tx.execute(end.bind(value).bind(until)).await?;
    tx.execute(Sql::new(update).bind(now).bind(value)).await.map(drop)
}

/// Revokes all refresh tokens and codes of a client.
pub(crate) async fn revoke_client(tx: &mut TenantTx, client_id: &str, now: Timestamp) -> Result<(), StoreError> {
    let sql = Sql::new("UPDATE {s}refresh_tokens SET revoked_at = $1 WHERE client_id = $2 AND revoked_at IS NULL");
    tx.execute(sql.bind(now).bind(client_id)).await?;
    tx.execute(Sql::new("DELETE FROM {s}codes WHERE client_id = $1").bind(client_id)).await.map(drop)
}
