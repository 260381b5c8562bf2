//! Connections that can be given up all at once.
//!
//! After a silence of the network every connection may be dead, and nobody says so: a caller would find out one by one, each
//! after the longest that it waits for a connection, and one that was under way would hold its place in the pool until the
//! system gives it up, a quarter of an hour later. Who listens knows when the database speaks again.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::{Duration, Instant};

use sqlx::{PgPool, Postgres};

use super::connect::{self, Access};
use crate::StoreError;

/// How long connections that still live are given to take leave.
const LEAVE: Duration = Duration::from_secs(30);

/// How often, a millisecond apart, it is looked whether a connection has come back.
const LOOKS: usize = 5;

/// How often one that was denied a role is ended.
const ENDING: Duration = Duration::from_secs(1);

/// The connections of a login.
pub(super) struct Pool {
    access: Access,
    connections: u32,
    now: RwLock<PgPool>,
    /// Transactions that have one of them.
    held: Arc<AtomicUsize>,
    /// When one was ended because it was denied a role.
    ended: Mutex<Option<Instant>>,
}

/// A connection is in use for as long as this lives.
pub(super) struct Held(Arc<AtomicUsize>);

impl Drop for Held {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

impl Pool {
    /// None is made yet.
    pub(super) fn new(access: Access, connections: u32) -> Result<Arc<Self>, StoreError> {
        let now = RwLock::new(connect::pool(&access, connections)?);
        Ok(Arc::new(Self { access, connections, now, held: Arc::default(), ended: Mutex::default() }))
    }

    /// Begins a transaction on one of these, which are those of now or those of a moment ago.
    ///
    /// sqlx takes a connection back in a task of its own, and makes another one for whoever comes in that moment: a process that
    /// does one thing after the other would soon have as many as it may. Each of them costs the server, which tells all of them
    /// of every change of its catalog. So one that is on its way back is waited for.
    pub(super) async fn begin(
        &self,
        pool: &PgPool,
    ) -> Result<(sqlx::Transaction<'static, Postgres>, Held), sqlx::Error> {
        for _ in 0..LOOKS {
            let held = u32::try_from(self.held.load(Ordering::Acquire)).unwrap_or(u32::MAX);
            if pool.num_idle() > 0 || pool.size() <= held {
                break;
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        let transaction = pool.begin().await?;
        self.held.fetch_add(1, Ordering::AcqRel);
        Ok((transaction, Held(Arc::clone(&self.held))))
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

    /// Whether one that was denied a role may be ended: not all of them, one after the other, where that is how it is.
    pub(super) fn may_end_one(&self) -> bool {
        let mut ended = self.ended.lock().unwrap_or_else(PoisonError::into_inner);
        let may = ended.is_none_or(|before| before.elapsed() >= ENDING);
        if may {
            *ended = Some(Instant::now());
        }
        may
    }

    /// Ends them.
    pub(super) async fn close(&self) {
        self.get().close().await;
    }
}
