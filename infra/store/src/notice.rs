//! Notices of change between the parts of one process. They are hints: whoever misses some reads everything again.

use keyrealm_base::TenantId;
use tokio::sync::broadcast;

use crate::Product;

/// Something changed in the database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Notice {
    /// What snapshots of this tenant hold is of this epoch now.
    Epoch(Product, TenantId, i64),
    /// Desired rows of this product changed.
    Desired(Product),
    /// Revocations were added.
    Revocations,
}

/// A receiver of notices. On [`broadcast::error::RecvError::Lagged`] the receiver reads everything again.
pub type Notices = broadcast::Receiver<Notice>;
