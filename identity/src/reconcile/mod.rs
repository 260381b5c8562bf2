//! Makes the users and clients that the registry declares, and reports what became of them.

mod make;
mod remove;
mod retry;

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use keyrealm_base::{SharedClock, SharedRandom, TenantId};
use keyrealm_registry::{DesiredEntry, DesiredStatus, Observed, Seen, desired, meta, observed};
use keyrealm_store::{Database, Notice, Notices, Product, Pulse, Space, StoreError};

use self::make::Failure;
use self::retry::Retries;
use crate::directory::Directory;
use crate::revoke::Revoker;
use crate::storage::{self, clients};

/// Behind the notices, for those that were missed.
const POLL: Duration = Duration::from_secs(2);

/// What reconciling needs, and what it remembers.
pub(crate) struct Reconciler {
    database: Arc<Database>,
    directory: Arc<Directory>,
    revoker: Arc<Revoker>,
    clock: SharedClock,
    random: SharedRandom,
    seen: Arc<Seen>,
    /// The tenants whose tables are up to date.
    migrated: HashSet<TenantId>,
    tenants: Retries<TenantId>,
    /// By tenant, kind, name, hash of the specification and whether it was taken away: a changed one is tried at once.
    entries: Retries<(TenantId, String, String, String, bool)>,
}

impl Reconciler {
    pub(crate) fn new(
        database: Arc<Database>,
        directory: Arc<Directory>,
        revoker: Arc<Revoker>,
        clock: SharedClock,
        random: SharedRandom,
        seen: Arc<Seen>,
    ) -> Self {
        let (tenants, entries) = (Retries::default(), Retries::default());
        Self { database, directory, revoker, clock, random, seen, migrated: HashSet::new(), tenants, entries }
    }

    /// Reconciles for ever.
    pub(crate) async fn run(mut self, notices: Notices) {
        let mut pulse = Pulse::new(notices, POLL);
        while pulse.wait(|notice| notice == Notice::Desired(Product::Identity)).await {
            if let Err(error) = self.once().await {
                tracing::warn!(%error, "cannot reconcile");
            }
        }
    }

    /// Brings every declared object to what its entry says. What cannot be made is reported and stops nothing else.
    ///
    /// # Errors
    /// When what all tenants share cannot be read or written.
    pub(crate) async fn once(&mut self) -> Result<(), StoreError> {
        // Read first: what is read afterwards is at least as new.
        let generation = meta::generation(&mut self.database.control_read().await?).await?;
        self.release_gone().await?;
        let known = self.directory.read_tenants().await?;
        self.migrated.retain(|tenant| known.all.contains(tenant));
        self.tenants.retain(|tenant| known.all.contains(tenant));
        self.note_migrated(&known.enabled).await?;
        for tenant in &known.enabled {
            Box::pin(self.migrate(*tenant)).await;
        }
        let entries = desired::pending(&mut self.database.control_read().await?, Product::Identity).await?;
        let keys: HashSet<_> = entries.iter().map(key).collect();
        self.entries.retain(|kept| keys.contains(kept));
        for entry in entries.iter().filter(|entry| known.enabled.contains(&entry.tenant)) {
            if !self.entries.is_due(&key(entry)) {
                continue;
            }
            let report = Box::pin(self.reconcile(entry)).await;
            match report.status {
                DesiredStatus::Failed => self.entries.failed(key(entry)),
                _ => self.entries.succeeded(&key(entry)),
            }
            let mut tx = self.database.control().await?;
            observed::write(&mut tx, entry, &report).await?;
            tx.commit().await?;
        }
        self.seen.set(generation);
        Ok(())
    }

    /// Notes the tenants whose tables are up to date already: one query, instead of one migration each.
    async fn note_migrated(&mut self, enabled: &[TenantId]) -> Result<(), StoreError> {
        let place = |tenant: &TenantId| Space::Tenant(Product::Identity, *tenant);
        let lacking: Vec<TenantId> = enabled.iter().filter(|tenant| !self.migrated.contains(tenant)).copied().collect();
        if lacking.is_empty() {
            return Ok(());
        }
        let spaces: Vec<Space> = lacking.iter().map(place).collect();
        let found = self.database.schema_versions(&mut self.database.control_read().await?, &spaces).await?;
        let newest = storage::TENANT.last().map_or(0, |last| last.version);
        for tenant in lacking.into_iter().filter(|tenant| found.get(&place(tenant)) == Some(&newest)) {
            self.note(tenant);
        }
        Ok(())
    }

    fn note(&mut self, tenant: TenantId) {
        self.tenants.succeeded(&tenant);
        self.migrated.insert(tenant);
        self.directory.set_migrated(tenant);
    }

    /// Gives back the client ids of tenants that are gone. Who has ids is read first: a tenant that is made meanwhile is
    /// among those that are read afterwards.
    async fn release_gone(&self) -> Result<(), StoreError> {
        let holders = clients::all_tenants(&mut self.database.realm(Product::Identity).await?).await?;
        let all = self.directory.all_tenants().await?;
        for gone in holders.into_iter().filter(|holder| !all.contains(holder)) {
            let mut realm = self.database.realm(Product::Identity).await?;
            clients::release_all(&mut realm, gone).await?;
            realm.commit().await?;
        }
        Ok(())
    }

    async fn migrate(&mut self, tenant: TenantId) {
        if self.migrated.contains(&tenant) || !self.tenants.is_due(&tenant) {
            return;
        }
        match self.database.migrate(Space::Tenant(Product::Identity, tenant), storage::TENANT).await {
            Ok(()) => self.note(tenant),
            Err(error) => {
                tracing::warn!(%error, %tenant, "cannot make a tenant's tables");
                self.tenants.failed(tenant);
            }
        }
    }

    async fn reconcile(&self, entry: &DesiredEntry) -> Observed {
        let report = |status, object_id, reason: &str, message: String| Observed {
            spec_hash: entry.spec_hash.clone(),
            object_id,
            status,
            reason: reason.to_owned(),
            message,
        };
        if !self.migrated.contains(&entry.tenant) {
            let message = "the tenant's tables are not up to date; the log of this process says why".to_owned();
            return report(DesiredStatus::Failed, None, "TenantNotMigrated", message);
        }
        if entry.deleted_at.is_some() {
            return match self.remove(entry).await {
                Ok((status, id)) => {
                    let message = match status {
                        DesiredStatus::Disabled => "the object is disabled",
                        DesiredStatus::Deleted => "the object is deleted with all that it held",
                        _ => "the object stays",
                    };
                    report(status, id, "EntryRemoved", format!("{message}; nobody declares it any more"))
                }
                Err(Failure { reason, message }) => {
                    tracing::warn!(reason, message, kind = entry.kind, name = entry.name, "cannot remove an object");
                    report(DesiredStatus::Failed, self.existing(entry).await, reason, message)
                }
            };
        }
        match self.make(entry).await {
            Ok(id) => report(DesiredStatus::Ready, Some(id.to_string()), "Ready", String::new()),
            Err(Failure { reason, message }) => {
                tracing::warn!(reason, message, kind = entry.kind, name = entry.name, "cannot make a declared object");
                report(DesiredStatus::Failed, self.existing(entry).await, reason, message)
            }
        }
    }
}

fn key(entry: &DesiredEntry) -> (TenantId, String, String, String, bool) {
    (entry.tenant, entry.kind.clone(), entry.name.clone(), entry.spec_hash.clone(), entry.deleted_at.is_some())
}
