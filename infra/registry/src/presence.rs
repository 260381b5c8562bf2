//! A process among those of its product: its row in `instances`, and what it finds out about its own state.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use keyrealm_base::{InstanceId, SharedClock, SharedRandom};
use keyrealm_store::{Database, Notice, Product, StoreError};
use tokio::time::Instant;

use crate::{instances, observed};

/// How often a process writes its row; see [`instances::FRESH`].
const BEAT: Duration = Duration::from_secs(5);
/// How soon it writes what is new.
const NEWS: Duration = Duration::from_millis(100);
/// How often a process looks after its own state.
const LOOK: Duration = Duration::from_secs(1);
/// A database that takes longer than this to answer does not answer.
const ANSWER: Duration = Duration::from_secs(5);

/// How it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Condition {
    /// All is well.
    Good,
    /// Some declared objects cannot be made; everything else is served.
    Declared(String),
    /// The database does not answer, or was silent for too long.
    Database(String),
}

/// The generation of the registry that a process has taken in.
#[derive(Debug, Default)]
pub struct Seen(AtomicI64);

impl Seen {
    /// Everything up to this one is taken in.
    pub fn set(&self, generation: i64) {
        self.0.fetch_max(generation, Ordering::AcqRel);
    }

    /// The newest one that is taken in, 0 before any.
    #[must_use]
    pub fn get(&self) -> i64 {
        self.0.load(Ordering::Acquire)
    }
}

/// What a process says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Vitals {
    /// Whether it serves.
    pub ready: bool,
    /// SHA-256 of the certificate chain that it serves, hex.
    pub chain_sha256: String,
    /// SHA-256 of the CA bundle that it trusts, hex.
    pub bundle_sha256: String,
    /// The version of the tenants' tables that it knows.
    pub schema_version: i64,
    /// What the reconciler has taken in.
    pub seen: i64,
}

/// One process.
pub struct Presence {
    database: Arc<Database>,
    product: Product,
    clock: SharedClock,
    id: InstanceId,
}

impl Presence {
    /// A new process of this product.
    #[must_use]
    pub fn new(database: Arc<Database>, product: Product, clock: SharedClock, random: &SharedRandom) -> Arc<Self> {
        let id = InstanceId::new(clock.as_ref(), random.as_ref());
        Arc::new(Self { database, product, clock, id })
    }

    /// Writes the row every few seconds, and at once when it says something else than before, until the task is dropped.
    pub async fn beat(self: Arc<Self>, vitals: impl Fn() -> Vitals) {
        let mut said = None;
        let mut due = Instant::now();
        loop {
            let now = vitals();
            let news = said.as_ref() != Some(&now);
            if news || Instant::now() >= due {
                due = Instant::now() + BEAT;
                match tokio::time::timeout(ANSWER, self.write(&now, news)).await {
                    Ok(Ok(())) => said = Some(now),
                    failed => {
                        match failed {
                            Ok(Err(error)) => tracing::warn!(%error, "cannot write the heartbeat"),
                            _ => tracing::warn!("cannot write the heartbeat: the database does not answer"),
                        }
                        tokio::time::sleep(LOOK).await;
                    }
                }
            }
            tokio::time::sleep(NEWS).await;
        }
    }

    async fn write(&self, vitals: &Vitals, news: bool) -> Result<(), StoreError> {
        let instance = crate::Instance {
            id: self.id,
            product: self.product.name().to_owned(),
            ready: vitals.ready,
            chain_sha256: vitals.chain_sha256.clone(),
            bundle_sha256: vitals.bundle_sha256.clone(),
            schema_version: vitals.schema_version,
            heartbeat: self.clock.now(),
            seen: vitals.seen,
        };
        let mut tx = self.database.control().await?;
        instances::write(&mut tx, &instance).await?;
        if news {
            tx.notify(Notice::Instances);
        }
        tx.commit().await
    }

    /// Reports the condition again and again, until the task is dropped.
    pub async fn watch(self: Arc<Self>, report: impl Fn(Condition)) {
        loop {
            report(self.condition().await);
            tokio::time::sleep(LOOK).await;
        }
    }

    async fn condition(&self) -> Condition {
        if let Err(stale) = self.database.check_fresh() {
            return Condition::Database(stale.to_string());
        }
        let failures = async { observed::failures(&mut self.database.control_read().await?, self.product).await };
        match tokio::time::timeout(ANSWER, failures).await {
            Ok(Ok(failures)) if failures.is_empty() => Condition::Good,
            Ok(Ok(failures)) => Condition::Declared(failures.join("; ")),
            Ok(Err(error)) => Condition::Database(error.to_string()),
            Err(_) => Condition::Database(format!("the database has not answered for {} s", ANSWER.as_secs())),
        }
    }

    /// Takes the row out: the process ends in order.
    pub async fn leave(&self) {
        let removed = async {
            let mut tx = self.database.control().await?;
            instances::remove(&mut tx, self.id).await?;
            tx.notify(Notice::Instances);
            tx.commit().await
        };
        match tokio::time::timeout(ANSWER, removed).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!(%error, "cannot take out the instance's row"),
            Err(_) => tracing::warn!("cannot take out the instance's row: the database does not answer"),
        }
    }
}
