//! The use cases on keys that touch the database; the hot ones lie in [`crate::operate`].

mod change;
mod create;
mod inventory;
mod read;
mod state;

use std::collections::HashMap;
use std::sync::{Arc, RwLock};

use keyrealm_barrier::{Barrier, Sealer};
use keyrealm_base::{SharedClock, SharedRandom, TenantId};
use keyrealm_registry::tenants;
use keyrealm_store::{Database, Product, Space, TenantAccess};
use moka::future::Cache;
use tokio::sync::Semaphore;

use crate::domain::algorithm::Algorithm;
use crate::error::KmsError;
use crate::seal;
use crate::storage::{self, keys};

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
    known: RwLock<HashMap<TenantId, bool>>,
    opened: Cache<TenantId, ()>,
    inventories: inventory::Inventories,
    slow: Semaphore,
}

impl KeyService {
    pub(crate) fn new(database: Arc<Database>, barrier: Barrier, clock: SharedClock, random: SharedRandom) -> Self {
        let opened = Cache::new(10_000);
        let (known, inventories, slow) = (RwLock::default(), inventory::inventories(), Semaphore::new(SLOW_QUEUE));
        Self { database, barrier, clock, random, known, opened, inventories, slow }
    }

    /// Reads which tenants there are; the answer is whether one has gone.
    pub(crate) async fn read_tenants(&self) -> Result<bool, KmsError> {
        let mut tx = self.database.control_read().await?;
        let fresh: HashMap<TenantId, bool> =
            tenants::list(&mut tx).await?.into_iter().map(|tenant| (tenant.id, tenant.enabled)).collect();
        let gone: Vec<TenantId> = match self.known.write() {
            Ok(mut known) => {
                let gone = known.keys().filter(|id| !fresh.contains_key(id)).copied().collect();
                *known = fresh;
                gone
            }
            Err(_) => return Ok(false),
        };
        for tenant in &gone {
            self.opened.invalidate(tenant).await;
            self.inventories.invalidate(tenant).await;
            self.barrier.forget(*tenant).await;
        }
        Ok(!gone.is_empty())
    }

    /// Makes sure that the tenant exists, its tables are there, and its rows are those of its head. Once a process.
    pub(crate) async fn sealer(&self, tenant: TenantId) -> Result<Arc<Sealer>, KmsError> {
        let enabled = self.known.read().ok().and_then(|known| known.get(&tenant).copied());
        if enabled != Some(true) {
            return Err(KmsError::UnknownTenant);
        }
        if !self.opened.contains_key(&tenant) {
            let opened = self.opened.try_get_with(tenant, self.open(tenant)).await;
            opened.map_err(KmsError::Shared)?;
        }
        Ok(self.barrier.tenant(tenant).await?)
    }

    async fn open(&self, tenant: TenantId) -> Result<(), KmsError> {
        self.database.migrate(Space::Tenant(Product::Kms, tenant), storage::TENANT).await?;
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
        let _permit = self.slow.try_acquire().map_err(|_| KmsError::Busy)?;
        tokio::task::spawn_blocking(work).await.map_err(|_| KmsError::Busy)
    }

    async fn generate(&self, algorithm: &'static Algorithm) -> Result<keyrealm_crypto::SecretBytes, KmsError> {
        let random = Arc::clone(&self.random);
        Ok(self.slow(move || algorithm.generate(random.as_ref())).await??)
    }
}
