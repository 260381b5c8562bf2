//! `consents`: what a user has agreed to.

use keyrealm_auth::ScopeSet;
use keyrealm_store::{Sql, StoreError, TenantTx};

/// The scopes that the user has agreed to for a client.
pub(crate) async fn get(tx: &mut TenantTx, user_id: &str, client_id: &str) -> Result<ScopeSet, StoreError> {
    let sql =
        Sql::new("SELECT scope FROM {s}consents WHERE user_id = $1 AND client_id = $2").bind(user_id).bind(client_id);
    let Some(row) = tx.fetch_one(sql).await? else { return Ok(ScopeSet::EMPTY) };
    let text: String = row.get("scope")?;
    Ok(ScopeSet::parse(&text).map(|parsed| parsed.known).unwrap_or_default())
}

/// Remembers an agreement together with those before.
pub(crate) async fn add(tx: &mut TenantTx, user_id: &str, client_id: &str, scopes: ScopeSet) -> Result<(), StoreError> {
    let all: ScopeSet = get(tx, user_id, client_id).await?.iter().chain(scopes.iter()).collect();
    let sql = Sql::new(
        "INSERT INTO {s}consents (user_id, client_id, scope) VALUES ($1, $2, $3) ON CONFLICT (user_id, client_id) DO UPDATE \
         SET scope = excluded.scope",
    );
    tx.execute(sql.bind(user_id).bind(client_id).bind(all.to_string())).await.map(drop)
}
