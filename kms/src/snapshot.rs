//! Parsed keys in memory: what encrypt, decrypt, sign and verify work on. A snapshot is taken whole and never changed;
//! a later change of its tenant makes it old.

use std::collections::HashSet;
use std::sync::Arc;

use keyrealm_base::{KeyId, TenantId, VersionId};
use keyrealm_store::StoreError;
use moka::future::Cache;

use crate::domain::algorithm::{Algorithm, Material};
use crate::domain::key::Key;
use crate::error::KmsError;
use crate::freshness::Mark;
use crate::seal;
use crate::service::KeyService;
use crate::usage::UsageCounter;

/// Keys that are kept.
const KEPT: u64 = 10_000;
/// Reads until one is believed.
const LOADS: usize = 3;

/// A key with all its versions, parsed.
pub(crate) struct Snapshot {
    pub(crate) key: Key,
    /// The newest first; there is always one.
    pub(crate) versions: Vec<Version>,
    mark: Mark,
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
}

impl Snapshots {
    pub(crate) fn new() -> Self {
        let kept = Cache::builder().max_capacity(KEPT).support_invalidation_closures().build();
        Self { kept, counters: Cache::new(KEPT * 4) }
    }

    /// The snapshot of a key; read from the database at most once for all who ask at the same time.
    pub(crate) async fn get(
        &self,
        service: &KeyService,
        tenant: TenantId,
        id: KeyId,
    ) -> Result<Arc<Snapshot>, KmsError> {
        let place = (tenant, id);
        let needed = service.freshness.mark(tenant);
        if let Some(snapshot) = self.kept.get(&place).await {
            if snapshot.mark.satisfies(needed) {
                return Ok(snapshot);
            }
            // On the heap, as everything below: the future of a warm operation stays small, and it is moved often.
            Box::pin(self.drop_stale(place, needed)).await;
        }
        Box::pin(self.load(service, place, needed)).await
    }

    async fn load(
        &self,
        service: &KeyService,
        place: (TenantId, KeyId),
        needed: Mark,
    ) -> Result<Arc<Snapshot>, KmsError> {
        // The read that is joined may have begun before the caller came. The one after it has not.
        for _ in 0..LOADS {
            let read = self.read(service, place.0, place.1);
            let snapshot = self.kept.try_get_with(place, read).await.map_err(KmsError::Shared)?;
            if snapshot.mark.satisfies(needed) {
                return Ok(snapshot);
            }
            self.drop_stale(place, needed).await;
        }
        // The database is behind what it told: somebody put it back.
        Err(StoreError::Stale.into())
    }

    async fn drop_stale(&self, place: (TenantId, KeyId), needed: Mark) {
        // Only this one: somebody else may have put a newer one there already.
        let kept = self.kept.entry(place).and_compute_with(|entry| {
            let stale = entry.is_some_and(|entry| !entry.value().mark.satisfies(needed));
            let op = if stale { moka::ops::compute::Op::Remove } else { moka::ops::compute::Op::Nop };
            std::future::ready(op)
        });
        kept.await;
    }

    async fn read(&self, service: &KeyService, tenant: TenantId, id: KeyId) -> Result<Arc<Snapshot>, KmsError> {
        // Before the read: what happens meanwhile is not in it.
        let began = service.freshness.mark(tenant);
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
        Ok(Arc::new(Snapshot { key: stored.key, versions, mark: began.at(epoch) }))
    }

    /// Forgets the keys of tenants that are no more or not served any more.
    pub(crate) fn forget(&self, tenants: &[TenantId]) {
        let gone: HashSet<TenantId> = tenants.iter().copied().collect();
        // Fails only where closures are not supported.
        let _ = self.kept.invalidate_entries_if(move |(tenant, _), _| gone.contains(tenant));
    }
}
