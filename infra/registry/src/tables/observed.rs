//! `observed`: what the products made of the desired entries.

use keyrealm_base::TenantId;
use keyrealm_store::{ControlTx, Notice, Product, Row, Sql, StoreError};

use crate::{DesiredEntry, DesiredStatus, Observed, ObservedEntry, ObservedSummary};

/// Reports on an entry; who waits for it is told at the commit. A report that says nothing new is not written.
///
/// # Errors
/// When the database fails.
pub async fn write(tx: &mut ControlTx, entry: &DesiredEntry, observed: &Observed) -> Result<(), StoreError> {
    let sql = Sql::new(
        "INSERT INTO {s}observed (tenant, product, kind, name, spec_hash, object_id, status, reason, message) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) ON CONFLICT (tenant, product, kind, name) DO UPDATE SET \
         spec_hash = excluded.spec_hash, object_id = excluded.object_id, status = excluded.status, \
         reason = excluded.reason, message = excluded.message WHERE observed.spec_hash <> excluded.spec_hash \
         OR observed.status <> excluded.status OR observed.reason <> excluded.reason \
         OR observed.message <> excluded.message OR COALESCE(observed.object_id, '') <> COALESCE(excluded.object_id, '')",
    );
    let sql = sql.bind(entry.tenant).bind(&entry.product).bind(&entry.kind).bind(&entry.name);
    let sql = sql.bind(&observed.spec_hash).bind(observed.object_id.clone()).bind(observed.status.name());
    let changed = tx.execute(sql.bind(&observed.reason).bind(&observed.message)).await? > 0;
    if let Some(product) = Product::from_name(&entry.product).filter(|_| changed) {
        tx.notify(Notice::Observed(product, entry.tenant));
    }
    Ok(())
}

/// What the products reported of a tenant's entries, by product, kind and name.
///
/// # Errors
/// When the database fails.
pub async fn of_tenant(tx: &mut ControlTx, tenant: TenantId) -> Result<Vec<ObservedEntry>, StoreError> {
    let sql = Sql::new(
        "SELECT product, kind, name, spec_hash, object_id, status, reason, message FROM {s}observed WHERE tenant = $1 \
         ORDER BY product, kind, name",
    );
    tx.fetch(sql.bind(tenant)).await?.iter().map(observed_entry).collect()
}

/// What the product reported of one entry.
///
/// # Errors
/// When the database fails.
pub async fn of_entry(tx: &mut ControlTx, entry: &DesiredEntry) -> Result<Option<Observed>, StoreError> {
    let sql = Sql::new(
        "SELECT product, kind, name, spec_hash, object_id, status, reason, message FROM {s}observed WHERE tenant = $1 \
         AND product = $2 AND kind = $3 AND name = $4",
    );
    let sql = sql.bind(entry.tenant).bind(&entry.product).bind(&entry.kind).bind(&entry.name);
    tx.fetch_one(sql).await?.map(|row| Ok(observed_entry(&row)?.observed)).transpose()
}

/// How far the products are with the entries of each tenant that has any.
///
/// # Errors
/// When the database fails.
pub async fn summary(tx: &mut ControlTx) -> Result<Vec<ObservedSummary>, StoreError> {
    let sql = Sql::new(
        "SELECT d.tenant, COUNT(CASE WHEN d.deleted_at IS NULL THEN 1 END) AS declared, \
         COUNT(CASE WHEN d.deleted_at IS NULL AND o.status = 'ready' AND o.spec_hash = d.spec_hash THEN 1 END) AS ready, \
         COUNT(CASE WHEN o.status = 'failed' THEN 1 END) AS failed FROM {s}desired d \
         LEFT JOIN {s}observed o ON o.tenant = d.tenant AND o.product = d.product AND o.kind = d.kind AND o.name = d.name \
         GROUP BY d.tenant ORDER BY d.tenant",
    );
    let rows = tx.fetch(sql).await?;
    rows.iter()
        .map(|row| {
            Ok(ObservedSummary {
                tenant: row.get("tenant")?,
                declared: row.get("declared")?,
                ready: row.get("ready")?,
                failed: row.get("failed")?,
            })
        })
        .collect()
}

fn observed_entry(row: &Row) -> Result<ObservedEntry, StoreError> {
    let status: String = row.get("status")?;
    Ok(ObservedEntry {
        product: row.get("product")?,
        kind: row.get("kind")?,
        name: row.get("name")?,
        observed: Observed {
            spec_hash: row.get("spec_hash")?,
            object_id: row.get("object_id")?,
            status: DesiredStatus::from_name(&status).ok_or(StoreError::Column("status"))?,
            reason: row.get("reason")?,
            message: row.get("message")?,
        },
    })
}

/// The entries that a product could not make: `kind/name: message`.
///
/// # Errors
/// When the database fails.
pub async fn failures(tx: &mut ControlTx, product: Product) -> Result<Vec<String>, StoreError> {
    let sql = Sql::new(
        "SELECT kind, name, message FROM {s}observed WHERE product = $1 AND status = 'failed' ORDER BY kind, name",
    );
    let rows = tx.fetch(sql.bind(product.name())).await?;
    rows.iter()
        .map(|row| {
            let (kind, name, message): (String, String, String) =
                (row.get("kind")?, row.get("name")?, row.get("message")?);
            Ok(format!("{kind}/{name}: {message}"))
        })
        .collect()
}
