//! Hearing of changes that other processes made, and knowing when one would not hear of them any more.
//!
//! One connection listens. On the same connection all epochs are read again and again: that finds what a lost connection
//! missed, and each success renews the lease. When the lease ends, what is kept in memory is not to be believed.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use keyrealm_base::TenantId;
use sqlx::Row as _;
use sqlx::postgres::PgListener;
use tokio::sync::broadcast;
use tokio::time::Instant;

use super::connect::{Access, listener_pool};
use super::pool::Pool;
use super::transaction::CHANNEL;
use crate::{Notice, Product, StoreError};

/// How often a lost connection is tried again, at the slowest.
const SLOWEST_RETRY: Duration = Duration::from_secs(2);
/// How long one attempt to listen may take. The server limits its own statements only; a silent network limits nothing.
const ATTEMPT: Duration = Duration::from_secs(3);

/// For how long changes are known to be complete.
pub(super) struct Lease {
    began: Instant,
    length: Duration,
    /// Milliseconds from `began` until it ends.
    ends: AtomicU64,
}

impl Lease {
    pub(super) fn new(seconds: u32) -> Self {
        // Not held before the first reading.
        Self { began: Instant::now(), length: Duration::from_secs(seconds.into()), ends: AtomicU64::new(0) }
    }

    pub(super) fn holds(&self) -> bool {
        self.millis(Instant::now()) < self.ends.load(Ordering::Acquire)
    }

    /// Everything that was committed before `at` is known.
    fn renew(&self, at: Instant) {
        self.ends.fetch_max(self.millis(at + self.length), Ordering::AcqRel);
    }

    fn millis(&self, at: Instant) -> u64 {
        u64::try_from(at.saturating_duration_since(self.began).as_millis()).unwrap_or(u64::MAX)
    }
}

type Known = HashMap<(Product, TenantId), i64>;

/// Follows for ever. When a lost connection is replaced, so are those of `pools`: they are as old as it was.
pub(super) async fn follow(
    access: Access,
    pools: Vec<Arc<Pool>>,
    notices: broadcast::Sender<Notice>,
    lease: Arc<Lease>,
) {
    let mut known = Known::new();
    let mut is_lost = false;
    let mut wait = Duration::from_millis(100);
    loop {
        match begin(&access).await {
            Ok(listener) => {
                wait = Duration::from_millis(100);
                if std::mem::replace(&mut is_lost, true) {
                    pools.iter().for_each(|pool| pool.replace());
                }
                // What was told while nobody listened.
                for missed in [
                    Notice::Revocations,
                    Notice::Desired(Product::Kms),
                    Notice::Desired(Product::Identity),
                    Notice::Instances,
                    Notice::Missed,
                ] {
                    let _ = notices.send(missed);
                }
                let lost = listen(listener, access.user(), &notices, &lease, &mut known).await;
                tracing::warn!(error = %lost, "the connection that listens for changes is lost");
            }
            Err(error) => tracing::warn!(%error, "cannot listen for changes"),
        }
        tokio::time::sleep(wait).await;
        wait = (wait * 2).min(SLOWEST_RETRY);
    }
}

/// A connection that listens, in a pool of its own: a listener that is dropped takes leave of the server first, and on a
/// silent network it would hold its place in a common pool until the system gives the connection up.
async fn begin(access: &Access) -> Result<PgListener, StoreError> {
    let pool = listener_pool(access)?;
    let listening = async {
        let mut listener = PgListener::connect_with(&pool).await?;
        listener.eager_reconnect(false);
        listener.listen(CHANNEL).await?;
        Ok::<_, sqlx::Error>(listener)
    };
    let begun = tokio::time::timeout(ATTEMPT, listening).await.map_err(|_| StoreError::silent(access.user()))?;
    begun.map_err(|error| StoreError::connect(access.user(), &error))
}

/// Listens until the connection is lost.
async fn listen(
    mut listener: PgListener,
    login: &str,
    notices: &broadcast::Sender<Notice>,
    lease: &Lease,
    known: &mut Known,
) -> StoreError {
    let every = lease.length / 4;
    loop {
        let at = Instant::now();
        match tokio::time::timeout(every.max(Duration::from_secs(1)), read_epochs(&mut listener, known, notices)).await
        {
            Ok(Ok(())) => lease.renew(at),
            Ok(Err(error)) => return error,
            Err(_) => return StoreError::silent(login),
        }
        let next = at + every;
        while let Ok(received) = tokio::time::timeout_at(next, listener.try_recv()).await {
            match received {
                Ok(Some(notification)) => {
                    if let Ok(notice) = notification.payload().parse::<Notice>() {
                        if let Notice::Epoch(product, tenant, epoch) = notice {
                            let newest = known.entry((product, tenant)).or_insert(epoch);
                            *newest = epoch.max(*newest);
                        }
                        // Nobody may be listening.
                        let _ = notices.send(notice);
                    }
                }
                Ok(None) => return StoreError::connect(login, &sqlx::Error::PoolClosed),
                Err(error) => return StoreError::connect(login, &error),
            }
        }
    }
}

/// Reads all epochs and tells of those that are newer than what was heard.
async fn read_epochs(
    listener: &mut PgListener,
    known: &mut Known,
    notices: &broadcast::Sender<Notice>,
) -> Result<(), StoreError> {
    let failed = |error: sqlx::Error| StoreError::from_sqlx(crate::Space::Control, "reading the epochs", &error);
    // Before the registrar was here there is nothing that could have changed.
    let there: bool = sqlx::query_scalar("SELECT to_regclass('keyrealm.epochs') IS NOT NULL")
        .fetch_one(&mut *listener)
        .await
        .map_err(failed)?;
    if !there {
        return Ok(());
    }
    let rows =
        sqlx::query("SELECT product, tenant, epoch FROM keyrealm.epochs").fetch_all(listener).await.map_err(failed)?;
    for row in rows {
        let read = || -> Result<_, sqlx::Error> {
            Ok((row.try_get::<String, _>(0)?, row.try_get::<String, _>(1)?, row.try_get::<i64, _>(2)?))
        };
        let (product, tenant, epoch) = read().map_err(failed)?;
        let (Some(product), Ok(tenant)) = (Product::from_name(&product), tenant.parse::<TenantId>()) else { continue };
        if known.get(&(product, tenant)).is_none_or(|newest| *newest < epoch) {
            known.insert((product, tenant), epoch);
            let _ = notices.send(Notice::Epoch(product, tenant, epoch));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_lease_holds_from_its_reading_on_and_ends() {
        let lease = Lease::new(10);
        assert!(!lease.holds(), "nothing was read yet");
        tokio::time::advance(Duration::from_secs(1)).await;
        let at = Instant::now();
        tokio::time::advance(Duration::from_secs(3)).await;
        lease.renew(at);
        tokio::time::advance(Duration::from_millis(6_999)).await;
        assert!(lease.holds());
        tokio::time::advance(Duration::from_millis(1)).await;
        assert!(!lease.holds(), "it counts from the beginning of the reading");
        lease.renew(at);
        assert!(!lease.holds(), "an old reading does not bring it back");
    }
}
