//! `users` of a tenant.

use keyrealm_base::ObjectId;
use keyrealm_store::{Row, Sql, StoreError, TenantTx};

use keyrealm_registry::specs::UserSpec;

/// A user.
pub(crate) struct User {
    pub(crate) id: ObjectId,
    pub(crate) username: String,
    pub(crate) spec: UserSpec,
    stored: String,
}

fn user(row: &Row) -> Result<User, StoreError> {
    let text: String = row.get("spec")?;
    let spec = serde_json::from_str(&text).map_err(|_| StoreError::Column("spec"))?;
    Ok(User { id: row.get("id")?, username: row.get("username")?, spec, stored: text })
}

pub(crate) async fn put(
    tx: &mut TenantTx,
    id: ObjectId,
    username: &str,
    spec: &UserSpec,
) -> Result<ObjectId, StoreError> {
    let sql = Sql::new(
        "INSERT INTO {s}users (id, username, spec) VALUES ($1, $2, $3) ON CONFLICT (username) DO UPDATE SET \
         spec = excluded.spec RETURNING id",
    );
    let text = serde_json::to_string(spec).map_err(|_| StoreError::Column("spec"))?;
    tx.fetch_one(sql.bind(id).bind(username).bind(text)).await?.ok_or(StoreError::Column("id"))?.get("id")
}

pub(crate) async fn by_name(tx: &mut TenantTx, username: &str) -> Result<Option<User>, StoreError> {
    let sql = Sql::new("SELECT id, username, spec FROM {s}users WHERE username = $1").bind(username);
    tx.fetch_one(sql).await?.as_ref().map(user).transpose()
}

/// Keeps the user as it was read until this transaction ends; `false` when it was changed meanwhile. So a log-in with a
/// password that is being replaced leaves no session behind.
pub(crate) async fn hold(tx: &mut TenantTx, user: &User) -> Result<bool, StoreError> {
    let sql = Sql::new("UPDATE {s}users SET spec = spec WHERE id = $1 AND spec = $2");
    Ok(tx.execute(sql.bind(user.id).bind(&user.stored)).await? == 1)
}

/// The user of this id, if enabled.
pub(crate) async fn enabled(tx: &mut TenantTx, id: &str) -> Result<Option<User>, StoreError> {
    let row = tx.fetch_one(Sql::new("SELECT id, username, spec FROM {s}users WHERE id = $1").bind(id)).await?;
    Ok(row.as_ref().map(user).transpose()?.filter(|user| user.spec.enabled))
}

/// Takes a user out, with the consents and codes of his; what came of his sessions is the revoker's.
pub(crate) async fn delete(tx: &mut TenantTx, id: ObjectId) -> Result<(), StoreError> {
    tx.execute(Sql::new("DELETE FROM {s}codes WHERE user_id = $1").bind(id)).await?;
    tx.execute(Sql::new("DELETE FROM {s}consents WHERE user_id = $1").bind(id)).await?;
    tx.execute(Sql::new("DELETE FROM {s}users WHERE id = $1").bind(id)).await.map(drop)
}
