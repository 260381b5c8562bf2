//! Keeps the list of revocations up to date: at once on a notice, and every few seconds in any case.

use std::sync::Arc;
use std::time::Duration;

use keyrealm_base::SharedClock;
use keyrealm_registry::revocations;
use keyrealm_store::{Database, Notice, Pulse, StoreError};

use crate::RevocationList;

/// How often the revocations are read without a notice.
pub const REVOCATIONS_POLL: Duration = Duration::from_secs(5);

/// Reads the revocations now and then for ever, until the task is dropped.
///
/// # Errors
/// When the first read fails; later failures are logged, and the list grows too old to answer.
pub async fn follow_revocations(
    database: Arc<Database>,
    list: Arc<RevocationList>,
    clock: SharedClock,
) -> Result<impl Future<Output = ()>, StoreError> {
    follow_revocations_every(REVOCATIONS_POLL, database, list, clock).await
}

/// As [`follow_revocations`], with another time between two reads.
///
/// # Errors
/// As [`follow_revocations`].
pub async fn follow_revocations_every(
    every: Duration,
    database: Arc<Database>,
    list: Arc<RevocationList>,
    clock: SharedClock,
) -> Result<impl Future<Output = ()>, StoreError> {
    let mut pulse = Pulse::new(database.notices(), every);
    read(&database, &list, &clock).await?;
    Ok(async move {
        while pulse.wait(|notice| notice == Notice::Revocations).await {
            if let Err(error) = read(&database, &list, &clock).await {
                tracing::warn!(%error, "cannot read the revocations");
            }
        }
    })
}

async fn read(database: &Database, list: &RevocationList, clock: &SharedClock) -> Result<(), StoreError> {
    // Both taken before the read: what is revoked meanwhile comes with the next one, and is not lost by this one.
    let (reading, now) = (list.begin_reading(), clock.now());
    let mut tx = database.control_read().await?;
    list.replace_since(reading, revocations::in_force(&mut tx, now).await?, now);
    Ok(())
}
