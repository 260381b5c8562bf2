//! `instances`: the running processes, each with its heartbeat.

use std::time::Duration;

use keyrealm_base::{InstanceId, Timestamp};
use keyrealm_store::{ControlTx, Sql, StoreError};

use crate::Instance;

/// A process that has been silent for this long is no more. By the clock of whoever writes, and machines do not agree on the
/// time: hence so long. Who is fresh, each reader judges for itself.
const GONE: Duration = Duration::from_hours(24);

/// Writes the row and takes out those of processes long gone.
///
/// # Errors
/// When the database fails.
pub async fn write(tx: &mut ControlTx, instance: &Instance) -> Result<(), StoreError> {
    let sql = Sql::new(
        "INSERT INTO {s}instances (id, product, ready, chain_sha256, bundle_sha256, schema_version, heartbeat) \
         VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT (id) DO UPDATE SET ready = excluded.ready, \
         chain_sha256 = excluded.chain_sha256, bundle_sha256 = excluded.bundle_sha256, \
         schema_version = excluded.schema_version, heartbeat = excluded.heartbeat",
    );
    let sql = sql.bind(instance.id).bind(&instance.product).bind(instance.ready);
    let sql = sql.bind(&instance.chain_sha256).bind(&instance.bundle_sha256);
    tx.execute(sql.bind(instance.schema_version).bind(instance.heartbeat)).await?;
    let gone = instance.heartbeat.minus(GONE);
    tx.execute(Sql::new("DELETE FROM {s}instances WHERE heartbeat < $1").bind(gone)).await.map(drop)
}

/// Takes the row out: the process ends in order.
///
/// # Errors
/// When the database fails.
pub async fn remove(tx: &mut ControlTx, id: InstanceId) -> Result<(), StoreError> {
    tx.execute(Sql::new("DELETE FROM {s}instances WHERE id = $1").bind(id)).await.map(drop)
}

/// The processes that were heard from since `since`.
///
/// # Errors
/// When the database fails.
pub async fn fresh(tx: &mut ControlTx, since: Timestamp) -> Result<Vec<Instance>, StoreError> {
    let sql = Sql::new(
        "SELECT id, product, ready, chain_sha256, bundle_sha256, schema_version, heartbeat FROM {s}instances \
         WHERE heartbeat >= $1 ORDER BY product, id",
    );
    let rows = tx.fetch(sql.bind(since)).await?;
    rows.iter()
        .map(|row| {
            Ok(Instance {
                id: row.get("id")?,
                product: row.get("product")?,
                ready: row.get("ready")?,
                chain_sha256: row.get("chain_sha256")?,
                bundle_sha256: row.get("bundle_sha256")?,
                schema_version: row.get("schema_version")?,
                heartbeat: row.get("heartbeat")?,
            })
        })
        .collect()
}
