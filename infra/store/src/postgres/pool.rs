//! Connections that can be given up all at once.
//!
//! After a silence of the network every connection may be dead, and nobody says so: a caller would find out one by one, each
//! after the longest that it waits for a connection, and one that was under way would hold its place in the pool until the
//! system gives it up, a quarter of an hour later. Who listens knows when the database speaks again.

use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use sqlx::PgPool;

use super::connect::{self, Access};
use crate::StoreError;

/// How long connections that still live are given to take leave.
const LEAVE: Duration = Duration::from_secs(30);

/// The connections of a login.
pub(super) struct Pool {
    access: Access,
    connections: u32,
    now: RwLock<PgPool>,
}

impl Pool {
    /// None is made yet.
    pub(super) fn new(access: Access, connections: u32) -> Result<Arc<Self>, StoreError> {
        let now = RwLock::new(connect::pool(&access, connections)?);
        Ok(Arc::new(Self { access, connections, now }))
    }

    /// Those of now.
    pub(super) fn get(&self) -> PgPool {
        self.now.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// From now on there are others. Whoever waits for one of the old ones is told at once; what still goes on with one of
    /// them may end.
    pub(super) fn replace(&self) {
        let new = match connect::pool(&self.access, self.connections) {
            Ok(new) => new,
            Err(error) => {
                tracing::warn!(%error, "the connections of the database are kept");
                return;
            }
        };
        let old = std::mem::replace(&mut *self.now.write().unwrap_or_else(PoisonError::into_inner), new);
        // Marked as closed when it is called; the rest is waiting.
        tokio::spawn(async move { tokio::time::timeout(LEAVE, old.close()).await });
    }

    /// Ends them.
    pub(super) async fn close(&self) {
        self.get().close().await;
    }
}
