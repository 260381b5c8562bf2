//! Makes what the registry declares, and reports what became of it.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use keyrealm_base::TenantId;
use keyrealm_registry::{DesiredEntry, DesiredStatus, ManagedBy, Observed, desired, observed};
use keyrealm_store::{Notice, Notices, Product, Pulse, Sql, StoreError};
use serde::Deserialize;
use tokio::time::Instant;

use crate::domain::key::Key;
use crate::error::KmsError;
use crate::service::{KeyPatch, KeyService, NewKey};
use crate::snapshot::Snapshots;

/// Behind the notices, for those that were missed.
const POLL: Duration = Duration::from_secs(2);
/// The longest pause between two attempts at an entry that somebody has to change.
const LONGEST_PAUSE: Duration = Duration::from_secs(300);
/// The same at one that waits for something that passes.
const LONGEST_WAIT: Duration = Duration::from_secs(15);

/// A declared key.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct KeySpec {
    algorithm: String,
    #[serde(default)]
    description: String,
}

/// What becomes of an entry.
enum Outcome {
    /// It is as declared.
    Ready(String),
    /// Nobody declares it any more; the object, if there is one, is the tenant's own.
    Orphaned(Option<String>),
    /// It cannot be made, and somebody has to change something.
    Failed(String),
    /// It could not be made now; nothing is said of it.
    Later(KmsError),
}

impl From<KmsError> for Outcome {
    fn from(error: KmsError) -> Self {
        if error.is_passing() { Self::Later(error) } else { Self::Failed(error.to_string()) }
    }
}

type Place = (TenantId, String, String);

/// An entry that could not be made.
struct Attempt {
    /// What was tried: another specification is tried at once.
    spec_hash: String,
    deleted: bool,
    pause: Duration,
    next: Instant,
    /// Said already: it is neither written nor logged again.
    said: Option<String>,
}

/// The reconciler of this process.
pub(crate) struct Reconciler {
    service: Arc<KeyService>,
    snapshots: Arc<Snapshots>,
    attempts: HashMap<Place, Attempt>,
}

impl Reconciler {
    pub(crate) fn new(service: Arc<KeyService>, snapshots: Arc<Snapshots>) -> Self {
        Self { service, snapshots, attempts: HashMap::new() }
    }

    /// Reconciles for ever.
    pub(crate) async fn run(mut self, notices: Notices) {
        let mut pulse = Pulse::new(notices, POLL);
        while pulse.wait(|notice| notice == Notice::Desired(Product::Kms)).await {
            if let Err(error) = self.once().await {
                tracing::warn!(%error, "cannot reconcile");
            }
        }
    }

    /// Brings every declared key to what its entry says. One that cannot be made does not stop the others.
    pub(crate) async fn once(&mut self) -> Result<(), KmsError> {
        let gone = self.service.read_tenants().await?;
        self.snapshots.forget(&gone);
        let entries = desired::pending(&mut self.service.database.control_read().await?, Product::Kms).await?;
        let pending: Vec<Place> = entries.iter().map(place).collect();
        self.attempts.retain(|place, _| pending.contains(place));
        for entry in entries {
            if self.is_due(&entry) {
                let outcome = reconcile(&self.service, &entry).await;
                self.report(&entry, outcome).await?;
            }
        }
        Ok(())
    }

    fn is_due(&self, entry: &DesiredEntry) -> bool {
        self.attempts.get(&place(entry)).is_none_or(|attempt| {
            attempt.spec_hash != entry.spec_hash
                || attempt.deleted != entry.deleted_at.is_some()
                || attempt.next <= Instant::now()
        })
    }

    async fn report(&mut self, entry: &DesiredEntry, outcome: Outcome) -> Result<(), KmsError> {
        let (status, object_id, reason, message) = match outcome {
            Outcome::Ready(id) => (DesiredStatus::Ready, Some(id), "Ready", String::new()),
            Outcome::Orphaned(id) => {
                let message = "the key stays, and is changed through the API now: nobody declares it any more";
                (DesiredStatus::Orphaned, id, "EntryRemoved", message.to_owned())
            }
            Outcome::Failed(message) => {
                if !self.failed(entry, &message, LONGEST_PAUSE) {
                    return Ok(());
                }
                tracing::warn!(message, tenant = %entry.tenant, kind = entry.kind, name = entry.name, "cannot be made");
                (DesiredStatus::Failed, None, "Failed", message)
            }
            Outcome::Later(error) => {
                if self.failed(entry, &error.to_string(), LONGEST_WAIT) {
                    tracing::warn!(%error, tenant = %entry.tenant, name = entry.name, "cannot be made now");
                }
                return Ok(());
            }
        };
        if status != DesiredStatus::Failed {
            self.attempts.remove(&place(entry));
        }
        let spec_hash = entry.spec_hash.clone();
        let report = Observed { spec_hash, object_id, status, reason: reason.to_owned(), message };
        let mut tx = self.service.database.control().await?;
        observed::write(&mut tx, entry, &report).await?;
        Ok(tx.commit().await?)
    }

    /// Remembers a failure; the answer is whether it is news.
    fn failed(&mut self, entry: &DesiredEntry, message: &str, longest: Duration) -> bool {
        let deleted = entry.deleted_at.is_some();
        let before = self.attempts.remove(&place(entry));
        let before = before.filter(|before| before.spec_hash == entry.spec_hash && before.deleted == deleted);
        let pause = before.as_ref().map_or(POLL, |before| (before.pause * 2).min(longest));
        let news = before.and_then(|before| before.said).as_deref() != Some(message);
        let (spec_hash, next) = (entry.spec_hash.clone(), Instant::now() + pause);
        let attempt = Attempt { spec_hash, deleted, pause, next, said: Some(message.to_owned()) };
        self.attempts.insert(place(entry), attempt);
        news
    }
}

fn place(entry: &DesiredEntry) -> Place {
    (entry.tenant, entry.kind.clone(), entry.name.clone())
}

async fn reconcile(service: &KeyService, entry: &DesiredEntry) -> Outcome {
    let done = if entry.deleted_at.is_some() { orphan(service, entry).await } else { make(service, entry).await };
    done.unwrap_or_else(|error| error)
}

/// Whoever uses the API owns the key from now on.
async fn orphan(service: &KeyService, entry: &DesiredEntry) -> Result<Outcome, Outcome> {
    if entry.kind != "key" {
        return Ok(Outcome::Orphaned(None));
    }
    let key = service.key_by_name(entry.tenant, &entry.name).await?;
    let Some(key) = key.filter(|key| key.managed_by == ManagedBy::Resource) else { return Ok(Outcome::Orphaned(None)) };
    let key = service.give_to(entry.tenant, key.id, ManagedBy::Api).await?;
    Ok(Outcome::Orphaned(Some(key.id.to_string())))
}

async fn make(service: &KeyService, entry: &DesiredEntry) -> Result<Outcome, Outcome> {
    let refuse = |message: String| Err(Outcome::Failed(message));
    if entry.kind != "key" {
        return refuse(format!("the KMS makes objects of kind `key`, not `{}`", entry.kind));
    }
    let spec: KeySpec = match serde_json::from_value(entry.spec.clone()) {
        Ok(spec) => spec,
        Err(error) => return refuse(error.to_string()),
    };
    let key = match service.key_by_name(entry.tenant, &entry.name).await? {
        Some(key) => key,
        None => create(service, entry, &spec).await?,
    };
    if key.managed_by != ManagedBy::Resource && !was_declared(service, entry, &key).await? {
        return refuse("a key of this name was made through the API; rename one of them".to_owned());
    }
    if key.algorithm != spec.algorithm {
        return refuse(format!("the key has {} and its algorithm cannot change; declare another name", key.algorithm));
    }
    if key.managed_by != ManagedBy::Resource {
        service.give_to(entry.tenant, key.id, ManagedBy::Resource).await?;
    }
    if key.description != spec.description {
        let patch = KeyPatch { name: None, description: Some(spec.description) };
        service.update(entry.tenant, key.id, patch, ManagedBy::Resource).await?;
    }
    Ok(Outcome::Ready(key.id.to_string()))
}

/// Another process may make the same key at the same time: then it is that one.
async fn create(service: &KeyService, entry: &DesiredEntry, spec: &KeySpec) -> Result<Key, KmsError> {
    let new = NewKey {
        name: entry.name.clone(),
        description: spec.description.clone(),
        algorithm: spec.algorithm.clone(),
        managed_by: ManagedBy::Resource,
    };
    match service.create(entry.tenant, new).await {
        Err(KmsError::NameTaken) => service.key_by_name(entry.tenant, &entry.name).await?.ok_or(KmsError::NameTaken),
        made => made,
    }
}

/// Whether the key is the one of this entry, which was taken away and has come back.
async fn was_declared(service: &KeyService, entry: &DesiredEntry, key: &Key) -> Result<bool, KmsError> {
    let sql = Sql::new(
        "SELECT object_id FROM {s}observed WHERE tenant = $1 AND product = $2 AND kind = $3 AND name = $4 \
         AND status = 'orphaned'",
    );
    let sql = sql.bind(entry.tenant).bind(&entry.product).bind(&entry.kind).bind(&entry.name);
    let row = service.database.control_read().await?.fetch_one(sql).await?;
    let object = row.map(|row| row.get::<Option<String>>("object_id")).transpose()?.flatten();
    Ok(object == Some(key.id.to_string()))
}

impl From<StoreError> for Outcome {
    fn from(error: StoreError) -> Self {
        KmsError::from(error).into()
    }
}
