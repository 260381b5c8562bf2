//! Takes out what is over, once a minute, so that no request does it.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use keyrealm_base::{SharedClock, TenantId};
use keyrealm_store::Database;

use crate::config::Tokens;
use crate::directory::Directory;
use crate::storage::purge;

const EVERY: Duration = Duration::from_mins(1);
/// Used codes are remembered for so long at least, to notice who replays them.
const REMEMBER_CODES: Duration = Duration::from_hours(1);

/// Purges for ever.
pub(crate) async fn run(database: Arc<Database>, directory: Arc<Directory>, clock: SharedClock, lifetimes: Tokens) {
    // As long as there may be access tokens that came from them: they name the sessions to end with a user.
    let remember = REMEMBER_CODES.max(Duration::from_secs(u64::from(lifetimes.access_seconds)));
    let mut known: HashSet<TenantId> = directory.served().into_iter().collect();
    loop {
        let served: HashSet<TenantId> = directory.served().into_iter().collect();
        // Of one that has just come nothing is over.
        for tenant in served.intersection(&known).copied() {
            let now = clock.now();
            match purge::purge(&database, tenant, now, now.minus(remember)).await {
                Ok(0) => {}
                Ok(rows) => tracing::debug!(%tenant, rows, "took out what is over"),
                Err(error) => tracing::warn!(%error, %tenant, "cannot take out what is over"),
            }
        }
        known = served;
        tokio::time::sleep(EVERY).await;
    }
}
