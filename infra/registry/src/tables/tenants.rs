//! `tenants`.

use keyrealm_base::{TenantId, Timestamp};
use keyrealm_store::{ControlTx, Row, Sql, StoreError};

use crate::Tenant;

fn tenant(row: &Row) -> Result<Tenant, StoreError> {
    Ok(Tenant {
        id: row.get("id")?,
        slug: row.get("slug")?,
        display_name: row.get("display_name")?,
        enabled: row.get("enabled")?,
    })
}

/// All tenants, by slug.
///
/// # Errors
/// When the database fails.
pub async fn list(tx: &mut ControlTx) -> Result<Vec<Tenant>, StoreError> {
    let rows = tx.fetch(Sql::new("SELECT id, slug, display_name, enabled FROM {s}tenants ORDER BY slug")).await?;
    rows.iter().map(tenant).collect()
}

/// The tenant of this slug.
///
/// # Errors
/// When the database fails.
pub async fn by_slug(tx: &mut ControlTx, slug: &str) -> Result<Option<Tenant>, StoreError> {
    let sql = Sql::new("SELECT id, slug, display_name, enabled FROM {s}tenants WHERE slug = $1");
    tx.fetch_one(sql.bind(slug)).await?.as_ref().map(tenant).transpose()
}

/// Inserts unless the slug is there already.
///
/// # Errors
/// When the database fails.
pub(crate) async fn insert(tx: &mut ControlTx, tenant: &Tenant, now: Timestamp) -> Result<(), StoreError> {
    let sql = Sql::new(
        "INSERT INTO {s}tenants (id, slug, display_name, enabled, created_at) VALUES ($1, $2, $3, $4, $5) \
         ON CONFLICT (slug) DO NOTHING",
    );
    let sql = sql.bind(tenant.id).bind(&tenant.slug).bind(&tenant.display_name).bind(tenant.enabled).bind(now);
    tx.execute(sql).await.map(drop)
}

/// From now on the tenant is not served.
///
/// # Errors
/// When the database fails.
pub(crate) async fn disable(tx: &mut ControlTx, id: TenantId) -> Result<(), StoreError> {
    tx.execute(Sql::new("UPDATE {s}tenants SET enabled = 0 WHERE id = $1").bind(id)).await.map(drop)
}

/// Deletes a tenant's row; its desired and observed rows must be gone.
///
/// # Errors
/// When the database fails.
pub(crate) async fn delete(tx: &mut ControlTx, id: TenantId) -> Result<(), StoreError> {
    tx.execute(Sql::new("DELETE FROM {s}tenants WHERE id = $1").bind(id)).await.map(drop)
}
