//! `desired`: what shall exist. Written by the registrar alone.

use keyrealm_base::{TenantId, Timestamp};
use keyrealm_store::{ControlTx, Product, Row, Sql, StoreError};

use crate::{DesiredEntry, OnRemove};

/// The entries of a product whose specification the product has not reported on yet.
///
/// # Errors
/// When the database fails.
pub async fn pending(tx: &mut ControlTx, product: Product) -> Result<Vec<DesiredEntry>, StoreError> {
    let sql = Sql::new(
        "SELECT d.tenant, d.product, d.kind, d.name, d.spec, d.spec_hash, d.generation, d.deleted_at, d.on_remove FROM {s}desired d \
         LEFT JOIN {s}observed o ON o.tenant = d.tenant AND o.product = d.product AND o.kind = d.kind AND o.name = d.name \
         WHERE d.product = $1 AND ((d.deleted_at IS NULL AND (o.spec_hash IS NULL OR o.spec_hash <> d.spec_hash \
         OR o.status <> 'ready')) OR (d.deleted_at IS NOT NULL AND (o.status IS NULL \
         OR o.status NOT IN ('orphaned', 'disabled', 'deleted')))) \
         ORDER BY d.tenant, d.kind, d.name",
    );
    tx.fetch(sql.bind(product.name())).await?.iter().map(entry).collect()
}

/// All entries of a tenant, those that were taken away included, by product, kind and name.
///
/// # Errors
/// When the database fails.
pub async fn of_tenant(tx: &mut ControlTx, tenant: TenantId) -> Result<Vec<DesiredEntry>, StoreError> {
    let sql = Sql::new(
        "SELECT tenant, product, kind, name, spec, spec_hash, generation, deleted_at, on_remove FROM {s}desired \
         WHERE tenant = $1 ORDER BY product, kind, name",
    );
    tx.fetch(sql.bind(tenant)).await?.iter().map(entry).collect()
}

/// How many entries a tenant has.
///
/// # Errors
/// When the database fails.
pub async fn count(tx: &mut ControlTx, tenant: TenantId, product: Product) -> Result<i64, StoreError> {
    let sql =
        Sql::new("SELECT count(*) AS n FROM {s}desired WHERE tenant = $1 AND product = $2 AND deleted_at IS NULL");
    tx.fetch_one(sql.bind(tenant).bind(product.name())).await?.map_or(Ok(0), |row| row.get("n"))
}

fn entry(row: &Row) -> Result<DesiredEntry, StoreError> {
    let spec: String = row.get("spec")?;
    Ok(DesiredEntry {
        tenant: row.get("tenant")?,
        product: row.get("product")?,
        kind: row.get("kind")?,
        name: row.get("name")?,
        spec: serde_json::from_str(&spec).map_err(|_| StoreError::Column("spec"))?,
        spec_hash: row.get("spec_hash")?,
        generation: row.get("generation")?,
        deleted_at: row.get("deleted_at")?,
        on_remove: OnRemove::from_name(&row.get::<String>("on_remove")?).unwrap_or_default(),
    })
}

/// Writes an entry; an unchanged one is left as it is. The answer is whether it changed.
///
/// # Errors
/// When the database fails.
pub(crate) async fn upsert(tx: &mut ControlTx, entry: &DesiredEntry) -> Result<bool, StoreError> {
    let sql = Sql::new(
        "INSERT INTO {s}desired (tenant, product, kind, name, spec, spec_hash, generation, deleted_at, on_remove) \
         VALUES ($1, $2, $3, $4, $5, $6, 1, NULL, $7) ON CONFLICT (tenant, product, kind, name) DO UPDATE SET \
         spec = excluded.spec, spec_hash = excluded.spec_hash, on_remove = excluded.on_remove, deleted_at = NULL, \
         generation = desired.generation + CASE WHEN desired.spec_hash <> excluded.spec_hash \
         OR desired.deleted_at IS NOT NULL THEN 1 ELSE 0 END \
         WHERE desired.spec_hash <> excluded.spec_hash OR desired.deleted_at IS NOT NULL \
         OR desired.on_remove <> excluded.on_remove",
    );
    let sql = sql.bind(entry.tenant).bind(&entry.product).bind(&entry.kind).bind(&entry.name);
    let sql = sql.bind(entry.spec.to_string()).bind(&entry.spec_hash).bind(entry.on_remove.name());
    Ok(tx.execute(sql).await? > 0)
}

/// Takes an entry away; the product does with its object what the entry says.
///
/// # Errors
/// When the database fails.
pub(crate) async fn withdraw(tx: &mut ControlTx, entry: &DesiredEntry, now: Timestamp) -> Result<(), StoreError> {
    let sql = Sql::new(
        "UPDATE {s}desired SET deleted_at = $1 WHERE tenant = $2 AND product = $3 AND kind = $4 AND name = $5 \
         AND deleted_at IS NULL",
    );
    let sql = sql.bind(now).bind(entry.tenant).bind(&entry.product);
    tx.execute(sql.bind(&entry.kind).bind(&entry.name)).await.map(drop)
}

/// Takes all entries of a tenant out of the table, with what was observed of them.
///
/// # Errors
/// When the database fails.
pub(crate) async fn forget(tx: &mut ControlTx, tenant: TenantId) -> Result<(), StoreError> {
    tx.execute(Sql::new("DELETE FROM {s}observed WHERE tenant = $1").bind(tenant)).await?;
    tx.execute(Sql::new("DELETE FROM {s}desired WHERE tenant = $1").bind(tenant)).await.map(drop)
}
