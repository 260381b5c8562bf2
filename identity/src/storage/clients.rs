//! `clients` of a tenant, and `client_ids` of the realm.

use keyrealm_base::{ObjectId, TenantId};
use keyrealm_store::{RealmTx, Sql, StoreError, TenantTx};

use crate::domain::client::ClientSpec;

/// Reserves a client id for a tenant; the answer is whose it is.
pub(crate) async fn reserve(realm: &mut RealmTx, client_id: &str, tenant: TenantId) -> Result<TenantId, StoreError> {
    let sql = Sql::new("INSERT INTO {s}client_ids (client_id, tenant) VALUES ($1, $2) ON CONFLICT DO NOTHING");
    realm.execute(sql.bind(client_id).bind(tenant)).await?;
    tenant_of(realm, client_id).await.map(|owner| owner.unwrap_or(tenant))
}

pub(crate) async fn tenant_of(realm: &mut RealmTx, client_id: &str) -> Result<Option<TenantId>, StoreError> {
    let sql = Sql::new("SELECT tenant FROM {s}client_ids WHERE client_id = $1").bind(client_id);
    realm.fetch_one(sql).await?.map(|row| row.get("tenant")).transpose()
}

/// Gives back the client ids of a tenant that is gone.
pub(crate) async fn release(realm: &mut RealmTx, tenant: TenantId) -> Result<(), StoreError> {
    realm.execute(Sql::new("DELETE FROM {s}client_ids WHERE tenant = $1").bind(tenant)).await.map(drop)
}

pub(crate) async fn all_tenants(realm: &mut RealmTx) -> Result<Vec<TenantId>, StoreError> {
    let rows = realm.fetch(Sql::new("SELECT DISTINCT tenant FROM {s}client_ids")).await?;
    rows.iter().map(|row| row.get("tenant")).collect()
}

pub(crate) async fn put(tx: &mut TenantTx, id: ObjectId, spec: &ClientSpec) -> Result<ObjectId, StoreError> {
    let sql = Sql::new(
        "INSERT INTO {s}clients (client_id, id, spec) VALUES ($1, $2, $3) ON CONFLICT (client_id) DO UPDATE SET \
         spec = excluded.spec RETURNING id",
    );
    let text = serde_json::to_string(spec).map_err(|_| StoreError::Column("spec"))?;
    let row = tx.fetch_one(sql.bind(&spec.client_id).bind(id).bind(text)).await?;
    row.ok_or(StoreError::Column("id"))?.get("id")
}

pub(crate) async fn get(tx: &mut TenantTx, client_id: &str) -> Result<Option<ClientSpec>, StoreError> {
    let row = tx.fetch_one(Sql::new("SELECT spec FROM {s}clients WHERE client_id = $1").bind(client_id)).await?;
    row.map(|row| {
        let text: String = row.get("spec")?;
        serde_json::from_str(&text).map_err(|_| StoreError::Column("spec"))
    })
    .transpose()
}
