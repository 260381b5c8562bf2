//! `key_usage`: up to which count the uses of a version are reserved. A crash loses the rest of a block and so counts too
//! many, never too few.

use keyrealm_base::VersionId;
use keyrealm_store::{Sql, StoreError, TenantTx};

/// Reserves `block` more uses; the answer is the new end.
pub(crate) async fn reserve(tx: &mut TenantTx, version: VersionId, block: u32) -> Result<i64, StoreError> {
    let sql = Sql::new(
        "INSERT INTO {s}key_usage (version_id, reserved) VALUES ($1, $2) ON CONFLICT (version_id) DO UPDATE SET \
         reserved = key_usage.reserved + excluded.reserved RETURNING reserved",
    );
    let row = tx.fetch_one(sql.bind(version).bind(block)).await?;
    row.ok_or(StoreError::Column("reserved"))?.get("reserved")
}
