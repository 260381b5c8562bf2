//! `instances`: the running processes, each with its heartbeat.

use std::time::Duration;

use keyrealm_base::InstanceId;
use keyrealm_store::{ControlTx, Row, Sql, StoreError};

use crate::Instance;

/// A process that has been silent for this long is no more.
const GONE: Duration = Duration::from_hours(1);
/// A process that has been silent for this long does not count: it beats every five seconds.
pub const FRESH: Duration = Duration::from_secs(12);

const COLUMNS: &str =
    "SELECT id, product, ready, chain_sha256, bundle_sha256, schema_version, heartbeat, seen FROM {s}instances";

/// Writes the row and takes out those of processes long gone.
///
/// # Errors
/// When the database fails.
pub async fn write(tx: &mut ControlTx, instance: &Instance) -> Result<(), StoreError> {
    let sql = Sql::new(
        "INSERT INTO {s}instances (id, product, ready, chain_sha256, bundle_sha256, schema_version, heartbeat, seen, beat) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, {now}) ON CONFLICT (id) DO UPDATE SET ready = excluded.ready, \
         chain_sha256 = excluded.chain_sha256, bundle_sha256 = excluded.bundle_sha256, \
         schema_version = excluded.schema_version, heartbeat = excluded.heartbeat, seen = excluded.seen, \
         beat = excluded.beat",
    );
    let sql = sql.bind(instance.id).bind(&instance.product).bind(instance.ready);
    let sql = sql.bind(&instance.chain_sha256).bind(&instance.bundle_sha256);
    tx.execute(sql.bind(instance.schema_version).bind(instance.heartbeat).bind(instance.seen)).await?;
    tx.execute(Sql::new("DELETE FROM {s}instances WHERE beat < {now} - $1").bind(millis(GONE))).await.map(drop)
}

/// Takes the row out: the process ends in order.
///
/// # Errors
/// When the database fails.
pub async fn remove(tx: &mut ControlTx, id: InstanceId) -> Result<(), StoreError> {
    tx.execute(Sql::new("DELETE FROM {s}instances WHERE id = $1").bind(id)).await.map(drop)
}

/// The processes that were heard from within this time, by the database's clock.
///
/// # Errors
/// When the database fails.
pub async fn fresh(tx: &mut ControlTx, within: Duration) -> Result<Vec<Instance>, StoreError> {
    let mut sql = Sql::new(COLUMNS);
    sql.push(" WHERE beat >= {now} - ").push_bind(millis(within)).push(" ORDER BY product, id");
    let rows = tx.fetch(sql).await?;
    rows.iter().map(instance).collect()
}

fn instance(row: &Row) -> Result<Instance, StoreError> {
    Ok(Instance {
        id: row.get("id")?,
        product: row.get("product")?,
        ready: row.get("ready")?,
        chain_sha256: row.get("chain_sha256")?,
        bundle_sha256: row.get("bundle_sha256")?,
        schema_version: row.get("schema_version")?,
        heartbeat: row.get("heartbeat")?,
        seen: row.get("seen")?,
    })
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}
