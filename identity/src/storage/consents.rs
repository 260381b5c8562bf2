//! `consents`: what a user has agreed to.

use keyrealm_auth::ScopeSet;
use keyrealm_store::{Sql, StoreError, TenantTx};

/// The scopes that the user has agreed to for a client; `None` before any agreement, which is not the same as an agreement
/// to nothing but being told who logged in.
pub(crate) async fn get(tx: &mut TenantTx, user_id: &str, client_id: &str) -> Result<Option<ScopeSet>, StoreError> {
    let sql =
        Sql::new("SELECT scope FROM {s}consents WHERE user_id = $1 AND client_id = $2").bind(user_id).bind(client_id);
    let Some(row) = tx.fetch_one(sql).await? else { return Ok(None) };
    let text: String = row.get("scope")?;
    Ok(Some(ScopeSet::parse(&text).map(|parsed| parsed.known).unwrap_or_default()))
}

/// Remembers an agreement together with those before.
pub(crate) async fn add(tx: &mut TenantTx, user_id: &str, client_id: &str, scopes: ScopeSet) -> Result<(), StoreError> {
    let before = get(tx, user_id, client_id).await?.unwrap_or_default();
    let all: ScopeSet = before.iter().chain(scopes.iter()).collect();
    let sql = Sql::new(
        "INSERT INTO {s}consents (user_id, client_id, scope) VALUES ($1, $2, $3) ON CONFLICT (user_id, client_id) DO UPDATE \
         SET scope = excluded.scope",
    );
    tx.execute(sql.bind(user_id).bind(client_id).bind(all.to_string())).await.map(drop)
}

/// Forgets the agreements for a client id that is given back: whoever has it next is somebody else.
pub(crate) async fn forget(tx: &mut TenantTx, client_id: &str) -> Result<(), StoreError> {
    tx.execute(Sql::new("DELETE FROM {s}consents WHERE client_id = $1").bind(client_id)).await.map(drop)
}
