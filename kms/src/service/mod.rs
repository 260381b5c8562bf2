//! The use cases on keys that touch the database; the hot ones lie in [`crate::operate`].

mod change;
mod create;
mod inventory;
mod read;
mod state;

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, RwLock};

use keyrealm_barrier::{Barrier, Sealer};
use keyrealm_base::{SharedClock, SharedRandom, TenantId};
use keyrealm_registry::tenants;
use keyrealm_store::{Database, Product, Space, TenantAccess};
use moka::future::Cache;

use crate::domain::algorithm::Algorithm;
use crate::error::KmsError;
use crate::freshness::Freshness;
use crate::seal;
use crate::slow::Slow;
use crate::storage::{self, keys};

use change::Change;
pub(crate) use create::NewKey;
use inventory::Inventory;
pub(crate) use state::KeyPatch;

/// Slow cryptography that waits; more is refused.
const SLOW_QUEUE: usize = 64;

/// The keys of all tenants.
pub(crate) struct KeyService {
    pub(crate) database: Arc<Database>,
    pub(crate) barrier: Barrier,
    pub(crate) clock: SharedClock,
    pub(crate) random: SharedRandom,
    pub(crate) freshness: Arc<Freshness>,
    known: RwLock<HashMap<TenantId, bool>>,
    opened: Cache<TenantId, ()>,
    inventories: inventory::Inventories,
    slow: Slow,
}

impl KeyService {
    pub(crate) fn new(database: Arc<Database>, barrier: Barrier, clock: SharedClock, random: SharedRandom) -> Self {
        let (freshness, known, opened) = (Arc::default(), RwLock::default(), Cache::new(10_000));
        let (inventories, slow) = (inventory::inventories(), Slow::new(SLOW_QUEUE));
        Self { database, barrier, clock, random, freshness, known, opened, inventories, slow }
    }

    /// Reads which tenants there are; the answer is those that were served until now and are not any more.
    pub(crate) async fn read_tenants(&self) -> Result<Vec<TenantId>, KmsError> {
        let mut tx = self.database.control_read().await?;
        let fresh: HashMap<TenantId, bool> =
            tenants::list(&mut tx).await?.into_iter().map(|tenant| (tenant.id, tenant.enabled)).collect();
        let gone: Vec<TenantId> = match self.known.write() {
            Ok(mut known) => {
                let served = known.iter().filter(|(_, enabled)| **enabled).map(|(id, _)| *id);
                let gone = served.filter(|id| fresh.get(id) != Some(&true)).collect();
                *known = fresh;
                gone
            }
            Err(_) => return Ok(Vec::new()),
        };
        for tenant in &gone {
            self.opened.invalidate(tenant).await;
            self.inventories.invalidate(tenant).await;
            self.barrier.forget(*tenant).await;
        }
        Ok(gone)
    }

    /// The tenants that are served; from memory.
    pub(crate) fn enabled_tenants(&self) -> HashSet<TenantId> {
        let enabled = |known: &HashMap<TenantId, bool>| {
            known.iter().filter(|(_, enabled)| **enabled).map(|(tenant, _)| *tenant).collect()
        };
        self.known.read().map(|known| enabled(&known)).unwrap_or_default()
    }

    /// Those of these tenants whose tables are up to date.
    pub(crate) async fn migrated(&self, tenants: &[TenantId]) -> Result<HashSet<TenantId>, KmsError> {
        let spaces: Vec<Space> = tenants.iter().map(|tenant| Space::Tenant(Product::Kms, *tenant)).collect();
        let mut tx = self.database.control_read().await?;
        let found = self.database.schema_versions(&mut tx, &spaces).await?;
        let newest = storage::TENANT.last().map_or(0, |last| last.version);
        let current = |tenant: &&TenantId| found.get(&Space::Tenant(Product::Kms, **tenant)) == Some(&newest);
        Ok(tenants.iter().filter(current).copied().collect())
    }

    /// Brings a tenant's tables up to date.
    pub(crate) async fn migrate(&self, tenant: TenantId) -> Result<(), KmsError> {
        Ok(self.database.migrate(Space::Tenant(Product::Kms, tenant), storage::TENANT).await?)
    }

    /// Refuses tenants that are not known or disabled; from memory.
    pub(crate) fn check_tenant(&self, tenant: TenantId) -> Result<(), KmsError> {
        match self.known.read().ok().and_then(|known| known.get(&tenant).copied()) {
            Some(true) => Ok(()),
            Some(false) => Err(KmsError::TenantDisabled),
            None => Err(KmsError::UnknownTenant),
        }
    }

    /// Makes sure that the tenant exists, its tables are there, and its rows are those of its head. Once a process.
    pub(crate) async fn sealer(&self, tenant: TenantId) -> Result<Arc<Sealer>, KmsError> {
        self.check_tenant(tenant)?;
        if !self.opened.contains_key(&tenant) {
            let opened = self.opened.try_get_with(tenant, self.open(tenant)).await;
            opened.map_err(KmsError::Shared)?;
        }
        Ok(self.barrier.tenant(tenant).await?)
    }

    async fn open(&self, tenant: TenantId) -> Result<(), KmsError> {
        self.migrate(tenant).await?;
        let sealer = self.barrier.tenant(tenant).await?;
        let mut tx = self.database.tenant(Product::Kms, tenant, TenantAccess::Read).await?;
        let state = sealer.state(tenant, &mut tx).await?;
        let inventory = Inventory::read(&sealer, tenant, &mut tx, state).await?;
        for stored in keys::all(&mut tx).await? {
            seal::open_key(&sealer, &stored)?;
        }
        let mend = sealer.check_head(tenant, &mut tx, state).await?;
        drop(tx);
        if let Some(mend) = mend {
            self.mend_head(mend).await?;
        }
        self.inventories.insert(tenant, Arc::new(inventory)).await;
        Ok(())
    }

    /// Runs slow cryptography off the async threads; at most so many calls wait.
    pub(crate) async fn slow<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, KmsError> {
        self.slow.run(work).await
    }

    /// Commits a change of a tenant. Whoever is answered after that sees it; also when the commit seems to have failed, for
    /// then it may have been made.
    async fn commit(&self, tenant: TenantId, change: Change) -> Result<(), KmsError> {
        let done = change.commit().await;
        self.freshness.changed(tenant);
        done
    }

    async fn generate(&self, algorithm: &'static Algorithm) -> Result<keyrealm_crypto::SecretBytes, KmsError> {
        let random = Arc::clone(&self.random);
        Ok(self.slow(move || algorithm.generate(random.as_ref())).await??)
    }
}
