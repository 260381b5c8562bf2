//! `clients` of a tenant, and `client_ids` of the realm.

use keyrealm_base::{ObjectId, TenantId};
use keyrealm_store::{RealmTx, Row, Sql, StoreError, TenantTx};

use keyrealm_registry::specs::ClientSpec;

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

/// Gives back one client id of a tenant.
pub(crate) async fn release(realm: &mut RealmTx, client_id: &str, tenant: TenantId) -> Result<(), StoreError> {
    let sql = Sql::new("DELETE FROM {s}client_ids WHERE client_id = $1 AND tenant = $2");
    realm.execute(sql.bind(client_id).bind(tenant)).await.map(drop)
}

/// Gives back the client ids of a tenant that is gone.
pub(crate) async fn release_all(realm: &mut RealmTx, tenant: TenantId) -> Result<(), StoreError> {
    realm.execute(Sql::new("DELETE FROM {s}client_ids WHERE tenant = $1").bind(tenant)).await.map(drop)
}

pub(crate) async fn all_tenants(realm: &mut RealmTx) -> Result<Vec<TenantId>, StoreError> {
    let rows = realm.fetch(Sql::new("SELECT DISTINCT tenant FROM {s}client_ids")).await?;
    rows.iter().map(|row| row.get("tenant")).collect()
}

/// A client as it is stored.
pub(crate) struct Stored {
    pub(crate) id: ObjectId,
    pub(crate) spec: ClientSpec,
    /// The client id that it had before and that is not given back yet.
    pub(crate) former: Option<String>,
}

fn spec(row: &Row) -> Result<ClientSpec, StoreError> {
    let text: String = row.get("spec")?;
    serde_json::from_str(&text).map_err(|_| StoreError::Column("spec"))
}

/// The client of the entry of this name.
pub(crate) async fn by_name(tx: &mut TenantTx, name: &str) -> Result<Option<Stored>, StoreError> {
    let row = tx.fetch_one(Sql::new("SELECT id, spec, former FROM {s}clients WHERE name = $1").bind(name)).await?;
    row.map(|row| Ok(Stored { id: row.get("id")?, spec: spec(&row)?, former: row.get("former")? })).transpose()
}

/// The name of the entry that has this client id.
pub(crate) async fn holder(tx: &mut TenantTx, client_id: &str) -> Result<Option<String>, StoreError> {
    let row = tx.fetch_one(Sql::new("SELECT name FROM {s}clients WHERE client_id = $1").bind(client_id)).await?;
    row.map(|row| row.get("name")).transpose()
}

/// Makes or changes the client of an entry.
pub(crate) async fn put(
    tx: &mut TenantTx,
    name: &str,
    id: ObjectId,
    spec: &ClientSpec,
    former: Option<&str>,
) -> Result<ObjectId, StoreError> {
    let sql = Sql::new(
        "INSERT INTO {s}clients (name, client_id, id, spec, former) VALUES ($1, $2, $3, $4, $5) \
         ON CONFLICT (name) DO UPDATE SET client_id = excluded.client_id, spec = excluded.spec, former = excluded.former \
         RETURNING id",
    );
    let text = serde_json::to_string(spec).map_err(|_| StoreError::Column("spec"))?;
    let row = tx.fetch_one(sql.bind(name).bind(&spec.client_id).bind(id).bind(text).bind(former)).await?;
    row.ok_or(StoreError::Column("id"))?.get("id")
}

/// Notes that the former client id is given back.
pub(crate) async fn forget_former(tx: &mut TenantTx, name: &str) -> Result<(), StoreError> {
    tx.execute(Sql::new("UPDATE {s}clients SET former = NULL WHERE name = $1").bind(name)).await.map(drop)
}

pub(crate) async fn get(tx: &mut TenantTx, client_id: &str) -> Result<Option<ClientSpec>, StoreError> {
    let row = tx.fetch_one(Sql::new("SELECT spec FROM {s}clients WHERE client_id = $1").bind(client_id)).await?;
    row.as_ref().map(spec).transpose()
}

/// Takes the client of an entry out, with its codes; what else came of it is the revoker's.
pub(crate) async fn delete(tx: &mut TenantTx, name: &str) -> Result<(), StoreError> {
    let codes = "DELETE FROM {s}codes WHERE client_id IN (SELECT client_id FROM {s}clients WHERE name = $1)";
    tx.execute(Sql::new(codes).bind(name)).await?;
    tx.execute(Sql::new("DELETE FROM {s}clients WHERE name = $1").bind(name)).await.map(drop)
}
