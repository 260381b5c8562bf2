//! The heartbeat by which everybody sees which processes run.

use std::sync::Arc;
use std::time::Duration;

use keyrealm_base::SharedClock;
use keyrealm_store::{Database, StoreError};

use crate::{Instance, instances};

/// How often a process writes its row; one that is three times as old is not fresh any more.
const BEAT: Duration = Duration::from_secs(5);

/// Writes the row of a process again and again, until the task is dropped.
pub async fn heartbeat(database: Arc<Database>, clock: SharedClock, describe: impl Fn() -> Instance) {
    loop {
        let mut instance = describe();
        instance.heartbeat = clock.now();
        if let Err(error) = write(&database, &instance).await {
            tracing::warn!(%error, "cannot write the heartbeat");
        }
        tokio::time::sleep(BEAT).await;
    }
}

async fn write(database: &Database, instance: &Instance) -> Result<(), StoreError> {
    let mut tx = database.control().await?;
    instances::write(&mut tx, instance).await?;
    tx.commit().await
}
