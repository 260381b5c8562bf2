//! `overlaps`: until when the former secret of a client is valid. For whoever declares the client, so that an end that was
//! promised holds over its restarts; the products only see that the hash is declared no more.

use keyrealm_base::TenantId;
use keyrealm_store::{ControlTx, Sql, StoreError};

use crate::Overlap;

/// Those of a tenant, by the client's name.
///
/// # Errors
/// When the database fails.
pub async fn of_tenant(tx: &mut ControlTx, tenant: TenantId) -> Result<Vec<Overlap>, StoreError> {
    let sql = Sql::new("SELECT client, former_sha256, until FROM {s}overlaps WHERE tenant = $1 ORDER BY client");
    let rows = tx.fetch(sql.bind(tenant)).await?;
    rows.iter()
        .map(|row| {
            Ok(Overlap {
                client: row.get("client")?,
                former_sha256: row.get("former_sha256")?,
                until: row.get("until")?,
            })
        })
        .collect()
}

/// These and no others.
pub(crate) async fn replace(tx: &mut ControlTx, tenant: TenantId, overlaps: &[Overlap]) -> Result<(), StoreError> {
    forget(tx, tenant).await?;
    for overlap in overlaps {
        let sql = Sql::new("INSERT INTO {s}overlaps (tenant, client, former_sha256, until) VALUES ($1, $2, $3, $4)");
        let sql = sql.bind(tenant).bind(&overlap.client).bind(&overlap.former_sha256);
        tx.execute(sql.bind(overlap.until)).await?;
    }
    Ok(())
}

/// The tenant goes.
pub(crate) async fn forget(tx: &mut ControlTx, tenant: TenantId) -> Result<(), StoreError> {
    tx.execute(Sql::new("DELETE FROM {s}overlaps WHERE tenant = $1").bind(tenant)).await.map(drop)
}
