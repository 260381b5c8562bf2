//! The newest epoch of each tenant that anybody told of: what was read at an older one is not to be believed.

use std::collections::HashMap;
use std::sync::RwLock;

use keyrealm_base::TenantId;
use tokio::sync::broadcast::error::RecvError;

use crate::{Notice, Notices, Product};

/// Epochs of one product's tenants.
#[derive(Default)]
pub struct Epochs(RwLock<HashMap<TenantId, i64>>);

impl Epochs {
    /// The newest epoch known, 0 before any.
    #[must_use]
    pub fn newest(&self, tenant: TenantId) -> i64 {
        self.0.read().map_or(i64::MAX, |epochs| epochs.get(&tenant).copied().unwrap_or(0))
    }

    /// Forgets a tenant's epochs: its schema was dropped, a new one begins at 0.
    pub fn clear(&self) {
        if let Ok(mut epochs) = self.0.write() {
            epochs.clear();
        }
    }

    /// Listens for ever; `lost` is called when notices were missed and nothing that is kept can be believed.
    pub async fn follow(&self, product: Product, mut notices: Notices, lost: impl Fn()) {
        loop {
            match notices.recv().await {
                Ok(Notice::Epoch(of, tenant, epoch)) if of == product => self.told(tenant, epoch),
                Ok(_) => {}
                Err(RecvError::Lagged(_)) => lost(),
                Err(RecvError::Closed) => return,
            }
        }
    }

    fn told(&self, tenant: TenantId, epoch: i64) {
        if let Ok(mut epochs) = self.0.write() {
            let newest = epochs.entry(tenant).or_insert(epoch);
            *newest = epoch.max(*newest);
        }
    }
}
