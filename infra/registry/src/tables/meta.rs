//! `meta`: one row, written by the registrar.

use keyrealm_base::DeploymentId;
use keyrealm_store::{ControlTx, Sql, StoreError};

use crate::{Meta, Used};

/// The row, once the registrar has written it.
///
/// # Errors
/// When the database fails.
pub async fn read(tx: &mut ControlTx) -> Result<Option<Meta>, StoreError> {
    let row = tx.fetch_one(Sql::new("SELECT deployment_id, realm_uid FROM {s}meta")).await?;
    row.map(|row| Ok(Meta { deployment_id: row.get("deployment_id")?, realm_uid: row.get("realm_uid")? })).transpose()
}

/// Writes the row unless there is one.
///
/// # Errors
/// When the database fails.
pub(crate) async fn insert(tx: &mut ControlTx, meta: &Meta) -> Result<(), StoreError> {
    let sql = Sql::new("INSERT INTO {s}meta (id, deployment_id, realm_uid) VALUES (1, $1, $2) ON CONFLICT DO NOTHING");
    tx.execute(sql.bind(meta.deployment_id).bind(&meta.realm_uid)).await.map(drop)
}

/// The generation of the registry: it rises with every change that the products must see. 0 before the registrar was here.
///
/// # Errors
/// When the database fails.
pub async fn generation(tx: &mut ControlTx) -> Result<i64, StoreError> {
    let row = tx.fetch_one(Sql::new("SELECT generation FROM {s}meta")).await?;
    row.map_or(Ok(0), |row| row.get("generation"))
}

/// Raises the generation; the answer is the new one.
///
/// # Errors
/// When the database fails.
pub(crate) async fn bump(tx: &mut ControlTx) -> Result<i64, StoreError> {
    let row = tx.fetch_one(Sql::new("UPDATE {s}meta SET generation = generation + 1 RETURNING generation")).await?;
    row.map_or(Ok(0), |row| row.get("generation"))
}

/// What was used.
///
/// # Errors
/// When the database fails.
pub async fn used(tx: &mut ControlTx) -> Result<Used, StoreError> {
    let row = tx.fetch_one(Sql::new("SELECT root_sha256, kms_unseal, identity_unseal FROM {s}meta")).await?;
    row.map_or_else(
        || Ok(Used::default()),
        |row| {
            Ok(Used {
                root_sha256: row.get("root_sha256")?,
                kms_unseal: row.get("kms_unseal")?,
                identity_unseal: row.get("identity_unseal")?,
            })
        },
    )
}

/// Notes what was used.
///
/// # Errors
/// When the database fails.
pub(crate) async fn mark_used(tx: &mut ControlTx, used: &Used) -> Result<(), StoreError> {
    let sql = Sql::new("UPDATE {s}meta SET root_sha256 = $1, kms_unseal = $2, identity_unseal = $3");
    let sql = sql.bind(used.root_sha256.clone()).bind(used.kms_unseal.clone()).bind(used.identity_unseal.clone());
    tx.execute(sql).await.map(drop)
}

/// Gives the database of this deployment to a realm; the answer is whether it is that deployment.
///
/// # Errors
/// When the database fails.
pub(crate) async fn adopt(
    tx: &mut ControlTx,
    realm_uid: &str,
    deployment_id: DeploymentId,
) -> Result<bool, StoreError> {
    let sql = Sql::new("UPDATE {s}meta SET realm_uid = $1 WHERE deployment_id = $2");
    Ok(tx.execute(sql.bind(realm_uid).bind(deployment_id)).await? == 1)
}
