//! The picture of a realm's registry: read when something is told, and every two seconds in any case. Only what changed is
//! told to the controllers.

use std::collections::{HashMap, HashSet};
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use arc_swap::ArcSwap;
use futures_util::FutureExt;
use keyrealm_base::{SharedClock, TenantId, Timestamp};
use keyrealm_registry::{
    Instance, ObservedSummary, Registrar, RegistryError, Tenant, Used, Versions, instances, observed, tenants,
};
use keyrealm_store::{Notice, Notices};
use tokio::sync::broadcast;
use tokio::sync::broadcast::error::{RecvError, TryRecvError};
use tokio::time::Instant;

use super::{Change, RealmKey, lock};

/// How often processes and generation are read in any case.
const POLL: Duration = Duration::from_secs(2);
/// How often all is.
const ALL: Duration = Duration::from_secs(10);
/// A database that takes longer than this to answer does not answer.
pub(super) const ANSWER: Duration = Duration::from_secs(10);
/// What every process has had time to take in.
const SETTLE: Duration = Duration::from_secs(10);
/// Generations that are remembered until they have settled.
const RISING: usize = 4096;
/// How many times as long as a reading took the rest after it is.
const REST: u32 = 8;
/// The longest rest after a reading.
const LONGEST_REST: Duration = Duration::from_secs(1);
/// The longest wait for a database that does not answer.
const LONGEST_WAIT: Duration = Duration::from_secs(15);

/// A realm's registry, as it was read last.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct RegistryView {
    /// When, by the operator's clock.
    pub read_at: Timestamp,
    /// The registry's generation.
    pub generation: i64,
    /// The generation of some ten seconds ago: every process has had time to take it in.
    pub settled: i64,
    /// Whether the servers' logins are there: no tenant can be made before.
    pub logins: bool,
    /// All tenants.
    pub tenants: HashMap<TenantId, Tenant>,
    /// The versions of their tables.
    pub versions: HashMap<TenantId, Versions>,
    /// How far the products are with their entries.
    pub summaries: HashMap<TenantId, ObservedSummary>,
    /// Processes that were heard from a moment ago, by the database's clock.
    pub instances: Vec<Instance>,
    /// What of the irreplaceable Secrets was used.
    pub used: Used,
    /// Why it could not be read since.
    pub failure: Option<ViewFailure>,
    rising: Vec<(Timestamp, i64)>,
}

/// A registry that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ViewFailure {
    /// Since when.
    pub since: Timestamp,
    /// The database's answer.
    pub message: String,
}

/// How much is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Depth {
    /// Generation, processes, what was used; tenants when the generation rose.
    Pulse,
    /// All.
    All,
}

/// Reads the registry.
pub(super) async fn read(
    registrar: &Registrar,
    before: &RegistryView,
    now: Timestamp,
    depth: Depth,
) -> Result<RegistryView, RegistryError> {
    let mut view = before.clone();
    (view.read_at, view.failure) = (now, None);
    view.generation = registrar.generation().await?;
    view.used = registrar.used().await?;
    view.instances = instances::fresh(&mut registrar.database().control_read().await?, instances::FRESH).await?;
    // Nothing in the registry changes with them, so whoever waits for them has to be told by this look.
    if depth == Depth::All || !before.logins {
        view.logins = registrar.has_logins().await?;
    }
    if depth == Depth::All || view.generation != before.generation {
        let mut tx = registrar.database().control_read().await?;
        view.tenants = tenants::list(&mut tx).await?.into_iter().map(|tenant| (tenant.id, tenant)).collect();
        view.summaries = observed::summary(&mut tx).await?.into_iter().map(|one| (one.tenant, one)).collect();
        drop(tx);
        view.versions = registrar.versions().await?;
    }
    view.settle(now);
    Ok(view)
}

impl RegistryView {
    /// Notes since when there is this generation, and finds the newest one that has been there for long enough.
    fn settle(&mut self, now: Timestamp) {
        if self.rising.last().is_none_or(|(_, generation)| *generation != self.generation) {
            self.rising.push((now, self.generation));
        }
        if let Some(at) = self.rising.iter().rposition(|(since, _)| now.since(*since) >= SETTLE) {
            self.rising.drain(..at);
            self.settled = self.rising.first().map_or(self.settled, |(_, generation)| *generation);
        }
        // Ten seconds of changes, one a poll or notice: what is beyond that settles a little later.
        if self.rising.len() > RISING {
            self.rising.remove(1);
        }
    }

    /// The generation that every process has taken in.
    fn seen(&self) -> i64 {
        self.instances.iter().map(|one| one.seen).min().unwrap_or(0)
    }

    /// What is told to the controllers: nothing when only heartbeats went on.
    pub(super) fn changes(&self, before: &Self, realm: &RealmKey) -> Vec<Change> {
        let mut changed = HashSet::new();
        let ids = self.tenants.keys().chain(before.tenants.keys());
        for id in ids {
            if self.tenants.get(id) != before.tenants.get(id)
                || self.versions.get(id) != before.versions.get(id)
                || self.summaries.get(id) != before.summaries.get(id)
            {
                changed.insert(*id);
            }
        }
        let said = |view: &Self| -> Vec<_> { view.instances.iter().map(said).collect() };
        let processes = said(self) != said(before);
        if processes {
            // Whose change every process has seen now, or not any more. Who waits on is not asked at each step of the way.
            let (was, is) = (before.seen(), self.seen());
            let crossed = |one: &Tenant| one.changed > was.min(is) && one.changed <= was.max(is);
            let known = |view: &Self| view.instances.iter().map(|one| one.schema_version).max();
            let all = before.instances.len() != self.instances.len() || known(self) != known(before);
            changed.extend(self.tenants.values().filter(|one| all || crossed(one)).map(|one| one.id));
        }
        let failing = |view: &Self| view.failure.as_ref().map(|failure| failure.since);
        let whole = processes
            || self.settled != before.settled
            || self.used != before.used
            || self.logins != before.logins
            || failing(self) != failing(before)
            || self.tenants.len() != before.tenants.len();
        let mut all: Vec<Change> = changed.into_iter().map(|id| Change::Tenant(realm.clone(), id)).collect();
        if whole {
            all.push(Change::Realm(realm.clone()));
        }
        if self.logins && !before.logins {
            all.push(Change::Opened(realm.clone()));
        }
        all
    }
}

/// All of a process but its heartbeat.
fn said(instance: &Instance) -> (String, bool, String, String, i64, i64) {
    (
        instance.id.to_string(),
        instance.ready,
        instance.chain_sha256.clone(),
        instance.bundle_sha256.clone(),
        instance.schema_version,
        instance.seen,
    )
}

/// The picture of one realm, and what is needed to draw it.
pub(super) struct Picture {
    pub(super) registrar: Registrar,
    pub(super) clock: SharedClock,
    pub(super) realm: RealmKey,
    pub(super) changes: broadcast::Sender<Change>,
    pub(super) view: ArcSwap<RegistryView>,
    /// Generations in which tenants' objects were declared, until every process has taken them in. The rows do not tell.
    pub(super) awaited: Mutex<HashMap<TenantId, i64>>,
    /// One reads at a time, so that what was read first does not overwrite what was read last.
    pub(super) reading: tokio::sync::Mutex<()>,
}

impl Picture {
    /// Reads the registry; whoever called sees afterwards what it wrote before.
    ///
    /// # Errors
    /// With what the database said, which the view says, too.
    pub(super) async fn read(&self, depth: Depth) -> Result<(), String> {
        let _alone = self.reading.lock().await;
        let before = self.view.load_full();
        let now = self.clock.now();
        let reading = tokio::time::timeout(ANSWER, read(&self.registrar, &before, now, depth)).await;
        let message = match reading {
            Ok(Ok(view)) => {
                self.put(&before, view);
                return Ok(());
            }
            Ok(Err(error)) => error.to_string(),
            Err(_) => format!("it has not answered for {} s", ANSWER.as_secs()),
        };
        let since = before.failure.as_ref().map_or(now, |failure| failure.since);
        if since == now {
            tracing::warn!(realm = %self.realm, error = message, "the realm's registry cannot be read");
        }
        let failure = Some(ViewFailure { since, message: message.clone() });
        self.put(&before, RegistryView { failure, ..RegistryView::clone(&before) });
        Err(message)
    }

    fn put(&self, before: &RegistryView, view: RegistryView) {
        let mut changes = view.changes(before, &self.realm);
        let seen = view.seen();
        self.view.store(Arc::new(view));
        for id in reached(&mut lock(&self.awaited), seen) {
            let change = Change::Tenant(self.realm.clone(), id);
            if !changes.contains(&change) {
                changes.push(change);
            }
        }
        for change in changes {
            let _ = self.changes.send(change);
        }
    }
}

/// Takes out whose generation was taken in.
fn reached(awaited: &mut HashMap<TenantId, i64>, seen: i64) -> Vec<TenantId> {
    awaited.extract_if(|_, generation| *generation <= seen).map(|(id, _)| id).collect()
}

/// Keeps the picture for ever; a panic is told and the task begun again.
pub(super) async fn supervise(picture: Arc<Picture>) {
    loop {
        let ended = AssertUnwindSafe(keep(&picture)).catch_unwind().await;
        if ended.is_ok() {
            return;
        }
        tracing::error!(realm = %picture.realm, "the task that reads the realm's registry panicked and is begun again");
        tokio::time::sleep(POLL).await;
    }
}

async fn keep(picture: &Picture) {
    let mut notices = picture.registrar.database().notices();
    let mut next = Instant::now() + POLL;
    let mut all = Instant::now() + ALL;
    let mut wait = POLL;
    while let Some(told) = heard(&mut notices, next).await {
        let depth = if told || Instant::now() >= all { Depth::All } else { Depth::Pulse };
        let began = Instant::now();
        if picture.read(depth).await.is_ok() {
            wait = POLL;
            if depth == Depth::All {
                all = Instant::now() + ALL;
            }
        } else {
            // What was told is read in full once it can be.
            all = Instant::now();
            wait = (wait * 2).min(LONGEST_WAIT);
        }
        next = Instant::now() + wait;
        // All tenants are read at once, so while many are made most of the time is for others.
        tokio::time::sleep((began.elapsed() * REST).min(LONGEST_REST)).await;
    }
}

/// Waits until it is time or somebody says so; the answer is whether tenants may have changed, or `None` at the end.
async fn heard(notices: &mut Notices, next: Instant) -> Option<bool> {
    loop {
        let told = match tokio::time::timeout_at(next, notices.recv()).await {
            Err(_) => return Some(false),
            Ok(Ok(notice)) => of(notice),
            Ok(Err(RecvError::Lagged(_))) => Some(true),
            Ok(Err(RecvError::Closed)) => return None,
        };
        let Some(mut told) = told else {
            // The clock is looked at here, too: with a notice always at hand the timeout would never be polled.
            if Instant::now() >= next {
                return Some(false);
            }
            continue;
        };
        // All that was told until now is read at once.
        loop {
            match notices.try_recv() {
                Ok(notice) => told |= of(notice).unwrap_or(false),
                Err(TryRecvError::Lagged(_)) => told = true,
                Err(_) => return Some(told),
            }
        }
    }
}

/// Whether a notice is about something here, and whether that is about tenants.
fn of(notice: Notice) -> Option<bool> {
    match notice {
        Notice::Instances => Some(false),
        Notice::Desired(_) | Notice::Observed(..) | Notice::Missed => Some(true),
        Notice::Epoch(..) | Notice::Revocations => None,
    }
}

#[cfg(test)]
mod tests {
    use keyrealm_base::{InstanceId, SystemClock};
    use keyrealm_crypto::SystemRandom;

    use super::*;

    fn key() -> RealmKey {
        RealmKey::new("acme", "main")
    }

    fn at(seconds: i64, generation: i64, before: &RegistryView) -> RegistryView {
        let mut view = RegistryView { generation, ..before.clone() };
        view.settle(Timestamp::from_seconds(seconds));
        view
    }

    #[test]
    fn a_generation_settles_after_ten_seconds_whatever_comes_after_it() {
        let mut view = at(0, 5, &RegistryView::default());
        assert_eq!(view.settled, 0);
        view = at(9, 6, &view);
        assert_eq!(view.settled, 0);
        view = at(10, 7, &view);
        assert_eq!(view.settled, 5);
        view = at(19, 7, &view);
        assert_eq!(view.settled, 6);
        view = at(20, 7, &view);
        assert_eq!((view.settled, view.rising.len()), (7, 1));
        view = at(1000, 7, &view);
        assert_eq!(view.settled, 7);
        // A change every second: never all at once, never lost.
        for second in 0..100 {
            view = at(1000 + second, 8 + second, &view);
        }
        assert_eq!((view.settled, view.rising.len()), (8 + 89, 11));
    }

    #[test]
    fn who_declared_something_is_told_once_when_every_process_has_taken_it_in() {
        let ids = [TenantId::new(&SystemRandom), TenantId::new(&SystemRandom)];
        let mut awaited = HashMap::from([(ids[0], 5), (ids[1], 7)]);
        assert_eq!(reached(&mut awaited, 4), []);
        assert_eq!(reached(&mut awaited, 5), [ids[0]]);
        assert_eq!(reached(&mut awaited, 6), []);
        assert_eq!((reached(&mut awaited, 9), awaited.len()), (vec![ids[1]], 0));
    }

    #[test]
    fn only_what_says_something_new_is_told() {
        let tenant = |changed: i64| Tenant {
            id: TenantId::new(&SystemRandom),
            slug: "a".to_owned(),
            display_name: "A".to_owned(),
            enabled: true,
            owner: "uid".to_owned(),
            home: "team/a".to_owned(),
            changed,
        };
        let instance = Instance {
            id: InstanceId::new(&SystemClock, &SystemRandom),
            product: "kms".to_owned(),
            ready: true,
            chain_sha256: "c".to_owned(),
            bundle_sha256: "b".to_owned(),
            schema_version: 1,
            heartbeat: Timestamp::from_seconds(1),
            seen: 3,
        };
        let (old, new) = (tenant(2), tenant(4));
        let before = RegistryView {
            tenants: [&old, &new].map(|one| (one.id, one.clone())).into(),
            instances: vec![instance],
            ..RegistryView::default()
        };
        let mut beat = before.clone();
        beat.instances[0].heartbeat = Timestamp::from_seconds(6);
        beat.read_at = Timestamp::from_seconds(7);
        assert_eq!(beat.changes(&before, &key()), []);
        // Who waits for the process to take its change in, and the realm; not who had been taken in before.
        let mut seen = beat.clone();
        seen.instances[0].seen = 4;
        assert_eq!(seen.changes(&before, &key()), [Change::Tenant(key(), new.id), Change::Realm(key())]);
        // A step on the way wakes only the realm.
        let mut step = before.clone();
        step.tenants.get_mut(&new.id).unwrap().changed = 9;
        let from = step.clone();
        step.instances[0].seen = 5;
        assert_eq!(step.changes(&from, &key()), [Change::Realm(key())]);
        step.instances[0].seen = 9;
        assert!(step.changes(&from, &key()).contains(&Change::Tenant(key(), new.id)));
        assert!(from.changes(&step, &key()).contains(&Change::Tenant(key(), new.id)), "a process that begins anew");
        let mut versions = before.clone();
        versions.versions.insert(old.id, Versions { kms: 1, identity: 1 });
        assert_eq!(versions.changes(&before, &key()), [Change::Tenant(key(), old.id)]);
        let mut gone = before.clone();
        gone.tenants.remove(&old.id);
        assert_eq!(gone.changes(&before, &key()), [Change::Tenant(key(), old.id), Change::Realm(key())]);
        // Who waited for the logins hears of them; of their loss only the Realm does, which makes them again.
        let prepared = RegistryView { logins: true, ..before.clone() };
        assert_eq!(prepared.changes(&before, &key()), [Change::Realm(key()), Change::Opened(key())]);
        assert_eq!(before.changes(&prepared, &key()), [Change::Realm(key())]);
        // A failure is told once, whatever it says the second time.
        let failing = |message: &str| RegistryView {
            failure: Some(ViewFailure { since: Timestamp::from_seconds(1), message: message.to_owned() }),
            ..before.clone()
        };
        assert_eq!(failing("a").changes(&before, &key()), [Change::Realm(key())]);
        assert_eq!(failing("b").changes(&failing("a"), &key()), []);
    }
}
