//! Clients in memory: which tenant a client belongs to and what it may do, without a database when warm.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, RwLock};

use keyrealm_base::TenantId;
use keyrealm_registry::tenants;
use keyrealm_store::{Database, Epochs, Product, StoreError, TenantAccess};
use moka::future::Cache;

use crate::storage::clients;
use keyrealm_registry::specs::ClientSpec;

const KEPT: u64 = 10_000;

/// A client and its tenant.
pub(crate) struct Client {
    pub(crate) tenant: TenantId,
    /// The tenant's name, as pages show it.
    pub(crate) tenant_name: String,
    pub(crate) spec: ClientSpec,
    epoch: i64,
    generation: u64,
}

/// The tenants of the registry.
pub(crate) struct Known {
    pub(crate) all: HashSet<TenantId>,
    pub(crate) enabled: Vec<TenantId>,
}

/// The clients of the realm.
pub(crate) struct Directory {
    database: Arc<Database>,
    kept: Cache<String, Arc<Client>>,
    pub(crate) epochs: Epochs,
    /// Rises when all that was read before is not to be believed: what a load under way brings is of an earlier one then,
    /// and its epoch would be compared with none.
    generation: AtomicU64,
    enabled: RwLock<HashMap<TenantId, String>>,
    /// The tenants whose tables are there.
    migrated: RwLock<HashSet<TenantId>>,
}

impl Directory {
    pub(crate) fn new(database: Arc<Database>) -> Self {
        Self {
            database,
            kept: Cache::new(KEPT),
            epochs: Epochs::default(),
            generation: AtomicU64::new(0),
            enabled: RwLock::default(),
            migrated: RwLock::default(),
        }
    }

    /// Every tenant of the registry, served or not.
    pub(crate) async fn all_tenants(&self) -> Result<HashSet<TenantId>, StoreError> {
        let all = tenants::list(&mut self.database.control_read().await?).await?;
        Ok(all.into_iter().map(|tenant| tenant.id).collect())
    }

    /// Reads which tenants there are and which are enabled.
    pub(crate) async fn read_tenants(&self) -> Result<Known, StoreError> {
        let all = tenants::list(&mut self.database.control_read().await?).await?;
        let ids = all.iter().map(|tenant| tenant.id).collect();
        let fresh: HashMap<_, _> =
            all.into_iter().filter(|tenant| tenant.enabled).map(|tenant| (tenant.id, tenant.display_name)).collect();
        let known = Known { all: ids, enabled: fresh.keys().copied().collect() };
        if let Ok(mut enabled) = self.enabled.write() {
            if enabled.iter().any(|(id, name)| fresh.get(id) != Some(name)) {
                self.forget();
            }
            *enabled = fresh;
        }
        if let Ok(mut migrated) = self.migrated.write() {
            migrated.retain(|tenant| known.all.contains(tenant));
        }
        Ok(known)
    }

    /// Whether the tenant is served.
    pub(crate) fn is_enabled(&self, tenant: TenantId) -> bool {
        self.enabled.read().is_ok_and(|enabled| enabled.contains_key(&tenant))
    }

    /// Notes that the tenant's tables are there.
    pub(crate) fn set_migrated(&self, tenant: TenantId) {
        if let Ok(mut migrated) = self.migrated.write() {
            migrated.insert(tenant);
        }
    }

    /// The tenants that are served and whose tables are there.
    pub(crate) fn served(&self) -> Vec<TenantId> {
        let migrated = self.migrated.read().map(|migrated| migrated.clone()).unwrap_or_default();
        migrated.into_iter().filter(|tenant| self.is_enabled(*tenant)).collect()
    }

    /// Forgets all clients: notices were missed, or a tenant has gone.
    pub(crate) fn forget(&self) {
        self.generation.fetch_add(1, Ordering::SeqCst);
        self.kept.invalidate_all();
        self.epochs.clear();
    }

    fn is_current(&self, client: &Client) -> bool {
        client.generation == self.generation.load(Ordering::SeqCst) && client.epoch >= self.epochs.newest(client.tenant)
    }

    /// The client of this id, if it and its tenant are enabled.
    pub(crate) async fn client(&self, client_id: &str) -> Result<Option<Arc<Client>>, StoreError> {
        // Nobody can have an id that long; it need not be looked up.
        if client_id.is_empty() || client_id.len() > 100 {
            return Ok(None);
        }
        self.database.check_fresh()?;
        let usable = |client: &Arc<Client>| client.spec.enabled && self.is_enabled(client.tenant);
        if let Some(client) = self.kept.get(client_id).await
            && self.is_current(&client)
        {
            return Ok(Some(client).filter(usable));
        }
        Ok(Box::pin(self.load(client_id)).await?.filter(usable))
    }

    /// Reads a client and keeps it, unless it was changed, or everything forgotten, while it was read.
    async fn load(&self, client_id: &str) -> Result<Option<Arc<Client>>, StoreError> {
        let mut tries = 0;
        loop {
            let generation = self.generation.load(Ordering::SeqCst);
            let Some(client) = self.read(client_id, generation).await? else { return Ok(None) };
            let client = Arc::new(client);
            if self.is_current(&client) {
                self.kept.insert(client_id.to_owned(), Arc::clone(&client)).await;
                return Ok(Some(client));
            }
            tries += 1;
            // Changes without end: what was read last is the truth of a moment ago, and not kept.
            if tries == 3 {
                return Ok(Some(client));
            }
        }
    }

    async fn read(&self, client_id: &str, generation: u64) -> Result<Option<Client>, StoreError> {
        let mut realm = self.database.realm(Product::Identity).await?;
        let Some(tenant) = clients::tenant_of(&mut realm, client_id).await? else { return Ok(None) };
        drop(realm);
        let name = self.enabled.read().ok().and_then(|enabled| enabled.get(&tenant).cloned());
        let Some(tenant_name) = name else { return Ok(None) };
        let mut tx = self.database.tenant(Product::Identity, tenant, TenantAccess::Read).await?;
        let epoch = tx.epoch().await?;
        let spec = clients::get(&mut tx, client_id).await?;
        Ok(spec.map(|spec| Client { tenant, tenant_name, spec, epoch, generation }))
    }
}
