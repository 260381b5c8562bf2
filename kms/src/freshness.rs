//! What a snapshot must be to be believed: read at the newest epoch that was told of, after the last change that this
//! process made itself, and after the last time that notices were missed.

use std::collections::HashMap;
use std::sync::RwLock;
use std::sync::atomic::{AtomicU64, Ordering};

use keyrealm_base::TenantId;
use keyrealm_store::{Notice, Notices, Product};
use tokio::sync::broadcast::error::RecvError;

/// The state of the world that a read began in, or found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Mark {
    /// The tenant's epoch in the database.
    epoch: i64,
    /// Changes of the tenant by this process.
    own: u64,
    /// How often notices were missed.
    lost: u64,
}

impl Mark {
    /// What was found by a read that began at this mark.
    pub(crate) fn at(self, epoch: i64) -> Self {
        Self { epoch, ..self }
    }

    /// Whether what was read at this mark is as new as `needed`.
    pub(crate) fn satisfies(self, needed: Self) -> bool {
        self.epoch >= needed.epoch && self.own >= needed.own && self.lost >= needed.lost
    }
}

/// The marks of all tenants. Ids of tenants never return, and so nothing is taken out.
#[derive(Default)]
pub(crate) struct Freshness {
    /// Epoch and own changes.
    tenants: RwLock<HashMap<TenantId, (i64, u64)>>,
    lost: AtomicU64,
}

impl Freshness {
    /// What is read from now on must be at least this; what is believed now must be, too.
    pub(crate) fn mark(&self, tenant: TenantId) -> Mark {
        // A lock that is broken lets nothing pass.
        let newest = self.tenants.read().map(|tenants| tenants.get(&tenant).copied().unwrap_or_default());
        let (epoch, own) = newest.unwrap_or((i64::MAX, u64::MAX));
        Mark { epoch, own, lost: self.lost.load(Ordering::Acquire) }
    }

    /// This process changed the tenant: who is answered after that must not be served from before, and the notice of the
    /// change may still be on its way.
    pub(crate) fn changed(&self, tenant: TenantId) {
        if let Ok(mut tenants) = self.tenants.write() {
            tenants.entry(tenant).or_default().1 += 1;
        }
    }

    fn told(&self, tenant: TenantId, epoch: i64) {
        if let Ok(mut tenants) = self.tenants.write() {
            let known = tenants.entry(tenant).or_default();
            known.0 = known.0.max(epoch);
        }
    }

    /// Listens to changes for ever.
    pub(crate) async fn follow(&self, mut notices: Notices) {
        loop {
            match notices.recv().await {
                Ok(Notice::Epoch(Product::Kms, tenant, epoch)) => self.told(tenant, epoch),
                Ok(_) => {}
                Err(RecvError::Lagged(_)) => drop(self.lost.fetch_add(1, Ordering::AcqRel)),
                Err(RecvError::Closed) => return,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tenant() -> TenantId {
        "3f2b8c1a-9d4e-4f6a-8b7c-1d2e3f4a5b6c".parse().unwrap()
    }

    #[test]
    fn what_was_read_before_a_change_is_not_believed_after_it() {
        let fresh = Freshness::default();
        let before = fresh.mark(tenant());
        assert!(before.satisfies(fresh.mark(tenant())));
        fresh.changed(tenant());
        assert!(!before.satisfies(fresh.mark(tenant())), "a change of our own, not told yet");
        let read = fresh.mark(tenant()).at(1);
        fresh.told(tenant(), 1);
        fresh.told(tenant(), 0);
        assert!(read.satisfies(fresh.mark(tenant())));
        fresh.told(tenant(), 2);
        assert!(!read.satisfies(fresh.mark(tenant())));
        let other = "3f2b8c1a-9d4e-4f6a-8b7c-1d2e3f4a5b6d".parse().unwrap();
        assert!(Mark::default().satisfies(fresh.mark(other)), "other tenants are not touched");
    }

    /// A read that began before notices were missed is not believed, whatever epoch it found.
    #[tokio::test]
    async fn missed_notices_make_everything_old_and_forget_nothing() {
        let fresh = Freshness::default();
        let (sender, notices) = tokio::sync::broadcast::channel(2);
        fresh.told(tenant(), 7);
        let began = fresh.mark(tenant());
        for _ in 0..5 {
            sender.send(Notice::Revocations).unwrap();
        }
        drop(sender);
        fresh.follow(notices).await;
        assert!(!began.at(9).satisfies(fresh.mark(tenant())));
        assert_eq!(fresh.mark(tenant()).epoch, 7, "epochs are not forgotten");
        assert!(fresh.mark(tenant()).at(7).satisfies(fresh.mark(tenant())));
    }
}
