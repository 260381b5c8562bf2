//! What this process remembers of Tenants, so that nothing is read or hashed twice. Nothing in it is needed: after a start it
//! is found again.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use keyrealm_base::{TenantId, Timestamp};
use keyrealm_crypto::password::{PasswordPool, PasswordPoolError};
use keyrealm_store::Drift;

use crate::databases::RealmKey;

/// Passwords that wait to be hashed: each pass brings one at a time.
const QUEUE: usize = 64;
/// How often a realm's schemas and roles are looked at.
const DRIFT: Duration = Duration::from_secs(45);

/// The hash of a client's own secret, and the former one with its end.
pub(super) type GivenSecret = (String, Option<(String, Timestamp)>);

/// All of it.
#[derive(Default)]
pub(super) struct Memory {
    tenants: Mutex<HashMap<String, Arc<Mutex<Remembered>>>>,
    drift: Mutex<HashMap<RealmKey, DriftSeen>>,
    pool: OnceLock<PasswordPool>,
}

/// Of one Tenant, by its UID.
#[derive(Default)]
pub(super) struct Remembered {
    /// Generated Secrets whose content fits their marks: name of the client, and UID with version.
    pub(super) intact: HashMap<String, String>,
    /// Passwords by the user's name.
    pub(super) passwords: HashMap<String, Source<String>>,
    /// Clients' own secrets: hash, and the former one with its end.
    pub(super) given: HashMap<String, Source<GivenSecret>>,
    /// The generation of the registry at which the entries changed last.
    pub(super) declared: i64,
    /// Since when a product has had no process.
    pub(super) quiet_since: Option<Timestamp>,
    /// Since when it is being deleted.
    pub(super) deleting_since: Option<Timestamp>,
    /// Since when there is something that its status does not tell.
    pub(super) untold: Option<Timestamp>,
    /// What the last pass that found all well looked at, and until when that holds.
    pub(super) settled: Option<(String, Timestamp)>,
}

/// What came of an entry of a Secret of the user's own.
#[derive(Clone)]
pub(super) struct Source<T> {
    /// Secret and key.
    pub(super) place: String,
    /// The Secret's UID and version; empty when there was none.
    pub(super) version: String,
    /// The Tenant's generation at which it was read.
    pub(super) generation: i64,
    /// When it was read.
    pub(super) read: Timestamp,
    /// What came of it; or why nothing did.
    pub(super) outcome: Outcome<T>,
}

/// What came of a source.
#[derive(Clone)]
pub(super) enum Outcome<T> {
    /// This.
    Usable(T),
    /// Why it cannot be used.
    Refused(&'static str, String),
}

/// What was found at the slow check of a realm.
#[derive(Default)]
struct DriftSeen {
    at: Option<Timestamp>,
    found: HashMap<TenantId, Vec<Drift>>,
}

pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Memory {
    /// Of the Tenant with this UID.
    pub(super) fn of(&self, uid: &str) -> Arc<Mutex<Remembered>> {
        Arc::clone(lock(&self.tenants).entry(uid.to_owned()).or_default())
    }

    /// The Tenant is gone.
    pub(super) fn forget(&self, uid: &str) {
        lock(&self.tenants).remove(uid);
    }

    /// Those that are gone without having been ours to keep are forgotten, once they are many.
    pub(super) fn prune(&self, there: usize, lives: impl Fn(&str) -> bool) {
        let mut tenants = lock(&self.tenants);
        if tenants.len() > 2 * there + 64 {
            tenants.retain(|uid, _| lives(uid));
        }
    }

    /// The pool in which passwords are hashed, one at a time.
    pub(super) fn pool(&self) -> Result<PasswordPool, PasswordPoolError> {
        if let Some(pool) = self.pool.get() {
            return Ok(pool.clone());
        }
        let pool = PasswordPool::start(1, QUEUE)?;
        Ok(self.pool.get_or_init(|| pool).clone())
    }

    /// Whether the slow check of this realm is due. Whoever is told so does it.
    pub(super) fn drift_due(&self, realm: &RealmKey, now: Timestamp) -> bool {
        let due = self.drift_is_due(realm, now);
        if due {
            lock(&self.drift).entry(realm.clone()).or_default().at = Some(now);
        }
        due
    }

    /// The same without taking it on.
    pub(super) fn drift_is_due(&self, realm: &RealmKey, now: Timestamp) -> bool {
        let at = lock(&self.drift).get(realm).and_then(|seen| seen.at);
        at.is_none_or(|at| now.since(at) >= DRIFT || at > now)
    }

    /// What the slow check found.
    pub(super) fn set_drift(&self, realm: &RealmKey, found: HashMap<TenantId, Vec<Drift>>) {
        lock(&self.drift).entry(realm.clone()).or_default().found = found;
    }

    /// What it found of a tenant.
    pub(super) fn drift(&self, realm: &RealmKey, tenant: TenantId) -> Vec<Drift> {
        lock(&self.drift).get(realm).and_then(|seen| seen.found.get(&tenant)).cloned().unwrap_or_default()
    }

    /// It was mended.
    pub(super) fn mended(&self, realm: &RealmKey, tenant: TenantId) {
        if let Some(seen) = lock(&self.drift).get_mut(realm) {
            seen.found.remove(&tenant);
        }
    }
}
