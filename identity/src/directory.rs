//! Clients in memory: which tenant a client belongs to and what it may do, without a database when warm.

use std::collections::HashMap;
use std::sync::{Arc, RwLock};

use keyrealm_base::TenantId;
use keyrealm_registry::tenants;
use keyrealm_store::{Database, Epochs, Product, StoreError, TenantAccess};
use moka::future::Cache;

use crate::domain::client::ClientSpec;
use crate::storage::clients;

const KEPT: u64 = 10_000;

/// A client and its tenant.
pub(crate) struct Client {
    pub(crate) tenant: TenantId,
    /// The tenant's name, as pages show it.
    pub(crate) tenant_name: String,
    pub(crate) spec: ClientSpec,
    epoch: i64,
}

/// The clients of the realm.
pub(crate) struct Directory {
    database: Arc<Database>,
    kept: Cache<String, Arc<Client>>,
    pub(crate) epochs: Epochs,
    enabled: RwLock<HashMap<TenantId, String>>,
}

impl Directory {
    pub(crate) fn new(database: Arc<Database>) -> Self {
        Self { database, kept: Cache::new(KEPT), epochs: Epochs::default(), enabled: RwLock::default() }
    }

    /// Reads which tenants are enabled.
    pub(crate) async fn read_tenants(&self) -> Result<Vec<TenantId>, StoreError> {
        let all = tenants::list(&mut self.database.control().await?).await?;
        let fresh: HashMap<_, _> =
            all.into_iter().filter(|tenant| tenant.enabled).map(|tenant| (tenant.id, tenant.display_name)).collect();
        let ids = fresh.keys().copied().collect();
        if let Ok(mut enabled) = self.enabled.write() {
            if enabled.keys().any(|id| !fresh.contains_key(id)) {
                self.forget();
            }
            *enabled = fresh;
        }
        Ok(ids)
    }

    /// Whether the tenant is served.
    pub(crate) fn is_enabled(&self, tenant: TenantId) -> bool {
        self.enabled.read().is_ok_and(|enabled| enabled.contains_key(&tenant))
    }

    /// Forgets all clients: notices were missed, or a tenant has gone.
    pub(crate) fn forget(&self) {
        self.kept.invalidate_all();
        self.epochs.clear();
    }

    /// The client of this id, if its tenant is enabled.
    pub(crate) async fn client(&self, client_id: &str) -> Result<Option<Arc<Client>>, StoreError> {
        // Nobody can have an id that long; it need not be looked up.
        if client_id.is_empty() || client_id.len() > 100 {
            return Ok(None);
        }
        self.database.check_fresh()?;
        if let Some(client) = self.kept.get(client_id).await
            && client.epoch >= self.epochs.newest(client.tenant)
        {
            return Ok(self.is_enabled(client.tenant).then_some(client));
        }
        let Some(client) = Box::pin(self.read(client_id)).await? else { return Ok(None) };
        let client = Arc::new(client);
        self.kept.insert(client_id.to_owned(), Arc::clone(&client)).await;
        Ok(Some(client))
    }

    async fn read(&self, client_id: &str) -> Result<Option<Client>, StoreError> {
        let mut realm = self.database.realm(Product::Identity).await?;
        let Some(tenant) = clients::tenant_of(&mut realm, client_id).await? else { return Ok(None) };
        drop(realm);
        let name = self.enabled.read().ok().and_then(|enabled| enabled.get(&tenant).cloned());
        let Some(tenant_name) = name else { return Ok(None) };
        let mut tx = self.database.tenant(Product::Identity, tenant, TenantAccess::Read).await?;
        let epoch = tx.epoch().await?;
        let spec = clients::get(&mut tx, client_id).await?;
        Ok(spec.map(|spec| Client { tenant, tenant_name, spec, epoch }))
    }
}
