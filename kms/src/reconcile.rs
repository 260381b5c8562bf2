//! Makes what the registry declares, and reports what became of it.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use keyrealm_base::TenantId;
use keyrealm_registry::specs::KeySpec;
use keyrealm_registry::{DesiredEntry, DesiredStatus, ManagedBy, Observed, OnRemove, Seen, desired, meta, observed};
use keyrealm_store::{Notice, Notices, Product, Pulse, StoreError};
use tokio::time::Instant;

use crate::domain::key::{Key, KeyState};
use crate::error::KmsError;
use crate::service::{KeyPatch, KeyService, NewKey};
use crate::snapshot::Snapshots;

/// Behind the notices, for those that were missed.
const POLL: Duration = Duration::from_secs(2);
/// The longest pause between two attempts at an entry that somebody has to change.
const LONGEST_PAUSE: Duration = Duration::from_secs(300);
/// The same at one that waits for something that passes.
const LONGEST_WAIT: Duration = Duration::from_secs(15);

/// What becomes of an entry.
enum Outcome {
    /// It is as declared.
    Ready(String),
    /// Nobody declares it any more; the object, if there is one, is the tenant's own, and stays enabled or not.
    Removed(DesiredStatus, Option<String>),
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
    seen: Arc<Seen>,
    attempts: HashMap<Place, Attempt>,
    /// The tenants whose tables are up to date.
    migrated: HashSet<TenantId>,
    /// When to try the tables of a tenant again.
    waiting: HashMap<TenantId, (Duration, Instant)>,
}

impl Reconciler {
    pub(crate) fn new(service: Arc<KeyService>, snapshots: Arc<Snapshots>, seen: Arc<Seen>) -> Self {
        let (attempts, migrated, waiting) = (HashMap::new(), HashSet::new(), HashMap::new());
        Self { service, snapshots, seen, attempts, migrated, waiting }
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
        // Read first: what is read afterwards is at least as new.
        let generation = meta::generation(&mut self.service.database.control_read().await?).await?;
        let gone = self.service.read_tenants().await?;
        self.snapshots.forget(&gone);
        Box::pin(self.migrate()).await?;
        let entries = desired::pending(&mut self.service.database.control_read().await?, Product::Kms).await?;
        let pending: Vec<Place> = entries.iter().map(place).collect();
        self.attempts.retain(|place, _| pending.contains(place));
        for entry in entries {
            if self.is_due(&entry) {
                let outcome = Box::pin(reconcile(&self.service, &entry)).await;
                self.report(&entry, outcome).await?;
            }
        }
        self.seen.set(generation);
        Ok(())
    }

    /// Makes the tables of tenants that have none or old ones, so that somebody who waits for them need not use the tenant.
    async fn migrate(&mut self) -> Result<(), KmsError> {
        let enabled = self.service.enabled_tenants();
        self.migrated.retain(|tenant| enabled.contains(tenant));
        self.waiting.retain(|tenant, _| enabled.contains(tenant));
        let now = Instant::now();
        let due = |tenant: &TenantId| self.waiting.get(tenant).is_none_or(|(_, next)| *next <= now);
        let lacking: Vec<TenantId> =
            enabled.into_iter().filter(|tenant| !self.migrated.contains(tenant) && due(tenant)).collect();
        if lacking.is_empty() {
            return Ok(());
        }
        let current = self.service.migrated(&lacking).await?;
        for tenant in lacking {
            let done = if current.contains(&tenant) { Ok(()) } else { self.service.migrate(tenant).await };
            match done {
                Ok(()) => {
                    self.waiting.remove(&tenant);
                    self.migrated.insert(tenant);
                }
                Err(error) => {
                    tracing::warn!(%error, %tenant, "cannot make a tenant's tables");
                    let pause = self.waiting.get(&tenant).map_or(POLL, |(pause, _)| (*pause * 2).min(LONGEST_WAIT));
                    self.waiting.insert(tenant, (pause, Instant::now() + pause));
                }
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
            Outcome::Removed(status, id) => {
                let message = match status {
                    DesiredStatus::Disabled => "the key is disabled, and can be enabled through the API",
                    _ => "the key stays, and is changed through the API now",
                };
                (status, id, "EntryRemoved", format!("{message}: nobody declares it any more"))
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
    let done = if entry.deleted_at.is_some() { remove(service, entry).await } else { make(service, entry).await };
    done.unwrap_or_else(|error| error)
}

/// Whoever uses the API owns the key from now on.
async fn remove(service: &KeyService, entry: &DesiredEntry) -> Result<Outcome, Outcome> {
    let nothing = Ok(Outcome::Removed(DesiredStatus::Orphaned, None));
    if entry.kind != "key" {
        return nothing;
    }
    let Some(key) = service.key_by_name(entry.tenant, &entry.name).await? else { return nothing };
    // A run that ended before its report may have given the key away already.
    if key.managed_by != ManagedBy::Resource && !is_of(&key, reported(service, entry).await?.as_ref()) {
        return nothing;
    }
    let (status, state) = match entry.on_remove {
        OnRemove::Orphan => (DesiredStatus::Orphaned, key.state),
        OnRemove::Disable => (DesiredStatus::Disabled, KeyState::Disabled),
        OnRemove::Delete => {
            let message = "a key is not deleted with its entry: declare it again with onRemove orphan or disable, or \
                           leave it out and delete the key through the API";
            return Err(Outcome::Failed(message.to_owned()));
        }
    };
    if key.managed_by == ManagedBy::Resource || key.state != state {
        service.release(entry.tenant, key.id, state).await?;
    }
    Ok(Outcome::Removed(status, Some(key.id.to_string())))
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
    let mut before = None;
    if key.managed_by != ManagedBy::Resource || key.state == KeyState::Disabled {
        before = reported(service, entry).await?;
    }
    if key.managed_by != ManagedBy::Resource && !is_of(&key, before.as_ref()) {
        return refuse("a key of this name was made through the API; rename one of them".to_owned());
    }
    if key.algorithm != spec.algorithm {
        return refuse(format!("the key has {} and its algorithm cannot change; declare another name", key.algorithm));
    }
    // What was disabled with its entry is enabled with it.
    if key.state == KeyState::Disabled && before.is_some_and(|before| before.status == DesiredStatus::Disabled) {
        service.set_state(entry.tenant, key.id, KeyState::Active, ManagedBy::Resource).await?;
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

/// What was said of this entry last.
async fn reported(service: &KeyService, entry: &DesiredEntry) -> Result<Option<Observed>, KmsError> {
    Ok(observed::of_entry(&mut service.database.control_read().await?, entry).await?)
}

/// Whether the key is the one that was made for the entry of this report.
fn is_of(key: &Key, report: Option<&Observed>) -> bool {
    report.is_some_and(|report| report.object_id.as_deref() == Some(key.id.to_string().as_str()))
}

impl From<StoreError> for Outcome {
    fn from(error: StoreError) -> Self {
        KmsError::from(error).into()
    }
}
