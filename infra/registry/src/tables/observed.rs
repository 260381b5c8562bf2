//! `observed`: what the products made of the desired entries.

use keyrealm_store::{ControlTx, Product, Sql, StoreError};

use crate::{DesiredEntry, Observed};

/// Reports on an entry.
///
/// # Errors
/// When the database fails.
pub async fn write(tx: &mut ControlTx, entry: &DesiredEntry, observed: &Observed) -> Result<(), StoreError> {
    let sql = Sql::new(
        "INSERT INTO {s}observed (tenant, product, kind, name, spec_hash, object_id, status, reason, message) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) ON CONFLICT (tenant, product, kind, name) DO UPDATE SET \
         spec_hash = excluded.spec_hash, object_id = excluded.object_id, status = excluded.status, \
         reason = excluded.reason, message = excluded.message",
    );
    let sql = sql.bind(entry.tenant).bind(&entry.product).bind(&entry.kind).bind(&entry.name);
    let sql = sql.bind(&observed.spec_hash).bind(observed.object_id.clone()).bind(observed.status.name());
    tx.execute(sql.bind(&observed.reason).bind(&observed.message)).await.map(drop)
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
