//! `tenants`.

use keyrealm_base::{TenantId, Timestamp};
use keyrealm_store::{ControlTx, Row, Sql, StoreError};

use crate::Tenant;

const COLUMNS: &str = "SELECT id, slug, display_name, enabled, owner, home, changed FROM {s}tenants";

fn tenant(row: &Row) -> Result<Tenant, StoreError> {
    Ok(Tenant {
        id: row.get("id")?,
        slug: row.get("slug")?,
        display_name: row.get("display_name")?,
        enabled: row.get("enabled")?,
        owner: row.get("owner")?,
        home: row.get("home")?,
        changed: row.get("changed")?,
    })
}

async fn one(tx: &mut ControlTx, sql: Sql) -> Result<Option<Tenant>, StoreError> {
    tx.fetch_one(sql).await?.as_ref().map(tenant).transpose()
}

/// All tenants, by slug.
///
/// # Errors
/// When the database fails.
pub async fn list(tx: &mut ControlTx) -> Result<Vec<Tenant>, StoreError> {
    let mut sql = Sql::new(COLUMNS);
    sql.push(" ORDER BY slug");
    tx.fetch(sql).await?.iter().map(tenant).collect()
}

/// The tenant of this slug.
///
/// # Errors
/// When the database fails.
pub async fn by_slug(tx: &mut ControlTx, slug: &str) -> Result<Option<Tenant>, StoreError> {
    let mut sql = Sql::new(COLUMNS);
    sql.push(" WHERE slug = ").push_bind(slug);
    one(tx, sql).await
}

/// The tenant of this id.
///
/// # Errors
/// When the database fails.
pub async fn by_id(tx: &mut ControlTx, id: TenantId) -> Result<Option<Tenant>, StoreError> {
    let mut sql = Sql::new(COLUMNS);
    sql.push(" WHERE id = ").push_bind(id);
    one(tx, sql).await
}

/// The tenant of this resource.
///
/// # Errors
/// When the database fails.
pub async fn by_owner(tx: &mut ControlTx, owner: &str) -> Result<Option<Tenant>, StoreError> {
    let mut sql = Sql::new(COLUMNS);
    sql.push(" WHERE owner <> '' AND owner = ").push_bind(owner);
    one(tx, sql).await
}

/// Inserts; the caller has looked that slug, id and owner are free.
///
/// # Errors
/// When the database fails.
pub(crate) async fn insert(tx: &mut ControlTx, tenant: &Tenant, now: Timestamp) -> Result<(), StoreError> {
    let sql = Sql::new(
        "INSERT INTO {s}tenants (id, slug, display_name, enabled, owner, home, changed, created_at) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
    );
    let sql = sql.bind(tenant.id).bind(&tenant.slug).bind(&tenant.display_name).bind(tenant.enabled);
    let sql = sql.bind(&tenant.owner).bind(&tenant.home);
    tx.execute(sql.bind(tenant.changed).bind(now)).await.map(drop)
}

/// Writes name, state and owner.
///
/// # Errors
/// When the database fails.
pub(crate) async fn update(tx: &mut ControlTx, tenant: &Tenant) -> Result<(), StoreError> {
    let sql = Sql::new(
        "UPDATE {s}tenants SET display_name = $1, enabled = $2, owner = $3, home = $4, changed = $5 WHERE id = $6",
    );
    let sql = sql.bind(&tenant.display_name).bind(tenant.enabled).bind(&tenant.owner).bind(&tenant.home);
    tx.execute(sql.bind(tenant.changed).bind(tenant.id)).await.map(drop)
}

/// Deletes a tenant's row; its desired and observed rows must be gone.
///
/// # Errors
/// When the database fails.
pub(crate) async fn delete(tx: &mut ControlTx, id: TenantId) -> Result<(), StoreError> {
    tx.execute(Sql::new("DELETE FROM {s}tenants WHERE id = $1").bind(id)).await.map(drop)
}
