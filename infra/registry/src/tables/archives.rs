//! `archives`: the schemas of tenants that were moved aside and wait to be dropped.

use keyrealm_base::{TenantId, Timestamp};
use keyrealm_store::{ControlTx, Product, Sql, StoreError};

/// A schema that was moved aside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Archive {
    /// The schema's name.
    pub name: String,
    /// Whose tables they are.
    pub product: String,
    /// The tenant.
    pub tenant: TenantId,
    /// The name that the tenant had.
    pub slug: String,
    /// When.
    pub archived_at: Timestamp,
}

/// All of them, the oldest first.
///
/// # Errors
/// When the database fails.
pub async fn list(tx: &mut ControlTx) -> Result<Vec<Archive>, StoreError> {
    let sql = Sql::new("SELECT name, product, tenant, slug, archived_at FROM {s}archives ORDER BY archived_at, name");
    let rows = tx.fetch(sql).await?;
    rows.iter()
        .map(|row| {
            Ok(Archive {
                name: row.get("name")?,
                product: row.get("product")?,
                tenant: row.get("tenant")?,
                slug: row.get("slug")?,
                archived_at: row.get("archived_at")?,
            })
        })
        .collect()
}

pub(crate) async fn insert(
    tx: &mut ControlTx,
    name: &str,
    product: Product,
    tenant: (TenantId, &str),
    now: Timestamp,
) -> Result<(), StoreError> {
    let sql = Sql::new(
        "INSERT INTO {s}archives (name, product, tenant, slug, archived_at) VALUES ($1, $2, $3, $4, $5) \
         ON CONFLICT DO NOTHING",
    );
    let sql = sql.bind(name).bind(product.name()).bind(tenant.0).bind(tenant.1);
    tx.execute(sql.bind(now)).await.map(drop)
}

pub(crate) async fn delete(tx: &mut ControlTx, name: &str) -> Result<(), StoreError> {
    tx.execute(Sql::new("DELETE FROM {s}archives WHERE name = $1").bind(name)).await.map(drop)
}
