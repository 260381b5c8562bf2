//! Keeps the list of revocations up to date: at once on a notice, and every few seconds in any case.

use std::sync::Arc;
use std::time::Duration;

use keyrealm_base::SharedClock;
use keyrealm_registry::revocations;
use keyrealm_store::{Database, Notice, StoreError};
use tokio::sync::broadcast::error::RecvError;

use crate::RevocationList;

const POLL: Duration = Duration::from_secs(5);

/// Reads the revocations now and then for ever, until the task is dropped.
///
/// # Errors
/// When the first read fails; later failures are logged, and the list grows too old to answer.
pub async fn follow_revocations(
    database: Arc<Database>,
    list: Arc<RevocationList>,
    clock: SharedClock,
) -> Result<impl Future<Output = ()>, StoreError> {
    let mut notices = database.notices();
    read(&database, &list, &clock).await?;
    Ok(async move {
        loop {
            match tokio::time::timeout(POLL, notices.recv()).await {
                Ok(Ok(Notice::Revocations) | Err(RecvError::Lagged(_))) | Err(_) => {}
                Ok(Ok(_)) => continue,
                Ok(Err(RecvError::Closed)) => return,
            }
            if let Err(error) = read(&database, &list, &clock).await {
                tracing::warn!(%error, "cannot read the revocations");
            }
        }
    })
}

async fn read(database: &Database, list: &RevocationList, clock: &SharedClock) -> Result<(), StoreError> {
    // Taken before the read: what is revoked meanwhile comes with the next one.
    let now = clock.now();
    let mut tx = database.control().await?;
    list.replace(revocations::in_force(&mut tx, now).await?, now);
    Ok(())
}
