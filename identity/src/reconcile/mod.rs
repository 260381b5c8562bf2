//! Makes the users and clients that the registry declares, and reports what became of them.

mod make;
mod retry;

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use keyrealm_base::{SharedClock, SharedRandom, TenantId};
use keyrealm_registry::{DesiredEntry, DesiredStatus, Observed, desired, observed};
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
    /// The tenants whose tables are up to date.
    migrated: HashSet<TenantId>,
    tenants: Retries<TenantId>,
    /// By tenant, kind, name and hash of the specification: a changed one is tried at once.
    entries: Retries<(TenantId, String, String, String)>,
}

impl Reconciler {
    pub(crate) fn new(
        database: Arc<Database>,
        directory: Arc<Directory>,
        revoker: Arc<Revoker>,
        clock: SharedClock,
        random: SharedRandom,
    ) -> Self {
        let (tenants, entries) = (Retries::default(), Retries::default());
        Self { database, directory, revoker, clock, random, migrated: HashSet::new(), tenants, entries }
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
        self.release_gone().await?;
        let known = self.directory.read_tenants().await?;
        self.migrated.retain(|tenant| known.all.contains(tenant));
        self.tenants.retain(|tenant| known.all.contains(tenant));
        for tenant in &known.enabled {
            self.migrate(*tenant).await;
        }
        let entries = desired::pending(&mut self.database.control_read().await?, Product::Identity).await?;
        let keys: HashSet<_> = entries.iter().map(key).collect();
        self.entries.retain(|kept| keys.contains(kept));
        for entry in entries.iter().filter(|entry| known.enabled.contains(&entry.tenant)) {
            if !self.entries.is_due(&key(entry)) {
                continue;
            }
            let report = self.reconcile(entry).await;
            match report.status {
                DesiredStatus::Failed => self.entries.failed(key(entry)),
                DesiredStatus::Ready | DesiredStatus::Orphaned => self.entries.succeeded(&key(entry)),
            }
            let mut tx = self.database.control().await?;
            observed::write(&mut tx, entry, &report).await?;
            tx.commit().await?;
        }
        Ok(())
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
            Ok(()) => {
                self.tenants.succeeded(&tenant);
                self.migrated.insert(tenant);
                self.directory.set_migrated(tenant);
            }
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
            let message = "the object stays; nobody declares it any more".to_owned();
            return report(DesiredStatus::Orphaned, self.existing(entry).await, "EntryRemoved", message);
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

fn key(entry: &DesiredEntry) -> (TenantId, String, String, String) {
    (entry.tenant, entry.kind.clone(), entry.name.clone(), entry.spec_hash.clone())
}
