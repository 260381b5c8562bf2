//! Parsed keys in memory: what encrypt, decrypt, sign and verify work on. A snapshot is taken whole and never changed;
//! a later epoch of its tenant makes it old.

use std::sync::Arc;

use keyrealm_base::{KeyId, TenantId, VersionId};
use keyrealm_store::{Epochs, Notices, Product};
use moka::future::Cache;

use crate::domain::algorithm::{Algorithm, Material};
use crate::domain::key::Key;
use crate::error::KmsError;
use crate::seal;
use crate::service::KeyService;
use crate::usage::UsageCounter;

/// Keys that are kept.
const KEPT: u64 = 10_000;

/// A key with all its versions, parsed.
pub(crate) struct Snapshot {
    pub(crate) key: Key,
    /// The newest first; there is always one.
    pub(crate) versions: Vec<Version>,
    epoch: i64,
}

/// A parsed version.
pub(crate) struct Version {
    pub(crate) id: VersionId,
    pub(crate) version: u32,
    pub(crate) material: Material,
    pub(crate) usage: Arc<UsageCounter>,
}

/// The snapshots of all tenants.
pub(crate) struct Snapshots {
    kept: Cache<(TenantId, KeyId), Arc<Snapshot>>,
    /// Outlive their snapshots: what was reserved is not thrown away with each change of a key.
    counters: Cache<VersionId, Arc<UsageCounter>>,
    epochs: Epochs,
}

impl Snapshots {
    pub(crate) fn new() -> Self {
        Self { kept: Cache::new(KEPT), counters: Cache::new(KEPT * 4), epochs: Epochs::default() }
    }

    /// The snapshot of a key; read from the database at most once for all who ask at the same time.
    pub(crate) async fn get(
        &self,
        service: &KeyService,
        tenant: TenantId,
        id: KeyId,
    ) -> Result<Arc<Snapshot>, KmsError> {
        let place = (tenant, id);
        if let Some(snapshot) = self.kept.get(&place).await {
            if snapshot.epoch >= self.epochs.newest(tenant) {
                return Ok(snapshot);
            }
            // On the heap, as everything below: the future of a warm operation stays small, and it is moved often.
            Box::pin(self.drop_stale(place, snapshot.epoch)).await;
        }
        Box::pin(self.kept.try_get_with(place, self.read(service, tenant, id))).await.map_err(KmsError::Shared)
    }

    async fn drop_stale(&self, place: (TenantId, KeyId), old: i64) {
        // Only this one: somebody else may have put a newer one there already.
        let kept = self.kept.entry(place).and_compute_with(|entry| {
            let stale = entry.is_some_and(|entry| entry.value().epoch <= old);
            let op = if stale { moka::ops::compute::Op::Remove } else { moka::ops::compute::Op::Nop };
            std::future::ready(op)
        });
        kept.await;
    }

    async fn read(&self, service: &KeyService, tenant: TenantId, id: KeyId) -> Result<Arc<Snapshot>, KmsError> {
        let sealer = service.sealer(tenant).await?;
        let (stored, rows, epoch) = service.versions(tenant, id).await?;
        let algorithm = Algorithm::from_name(&stored.key.algorithm).ok_or(KmsError::UnknownAlgorithm)?;
        let mut versions = Vec::with_capacity(rows.len());
        for row in rows {
            let material = algorithm.parse(seal::open_version(&sealer, &row, &stored.key.algorithm)?)?;
            let usage = self.counters.get_with(row.id, std::future::ready(Arc::new(UsageCounter::new()))).await;
            versions.push(Version { id: row.id, version: row.version, material, usage });
        }
        if versions.first().map(|newest| newest.version) != Some(stored.key.latest_version) {
            return Err(KmsError::Integrity(format!("the newest version of key {id} is missing")));
        }
        Ok(Arc::new(Snapshot { key: stored.key, versions, epoch }))
    }

    /// Forgets a tenant: its schema was dropped, its epochs begin anew.
    pub(crate) fn forget(&self) {
        self.kept.invalidate_all();
        self.epochs.clear();
    }

    /// Listens to changes for ever.
    pub(crate) async fn follow(&self, notices: Notices) {
        self.epochs.follow(Product::Kms, notices, || self.forget()).await;
    }
}
