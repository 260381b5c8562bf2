//! Who has to be looked at again, and the queues in which they wait: each object at most once in each.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tokio::sync::Notify;

/// The kinds that people write and we work on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum OwnerKind {
    /// Realm.
    Realm,
    /// Tenant.
    Tenant,
    /// DemoEnvironment.
    DemoEnvironment,
}

impl OwnerKind {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Realm, Self::Tenant, Self::DemoEnvironment];

    /// Its `kind`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Realm => "Realm",
            Self::Tenant => "Tenant",
            Self::DemoEnvironment => "DemoEnvironment",
        }
    }

    /// The field manager of its controller.
    #[must_use]
    pub const fn manager(self) -> &'static str {
        match self {
            Self::Realm => "keyrealm-realm",
            Self::Tenant => "keyrealm-tenant",
            Self::DemoEnvironment => "keyrealm-demo",
        }
    }

    /// The one with this `kind`.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }

    /// The one with this field manager.
    #[must_use]
    pub fn by_manager(manager: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.manager() == manager)
    }
}

/// An object that has to be looked at.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Wake {
    /// Its kind.
    pub kind: OwnerKind,
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

impl Wake {
    /// This object.
    #[must_use]
    pub fn new(kind: OwnerKind, namespace: &str, name: &str) -> Self {
        Self { kind, namespace: namespace.to_owned(), name: name.to_owned() }
    }
}

/// Namespace and name.
pub type Key = (String, String);

/// The objects of one kind that wait.
#[derive(Debug, Clone, Default)]
pub struct Queue(Arc<QueueState>);

#[derive(Debug, Default)]
struct QueueState {
    waiting: Mutex<Waiting>,
    more: Notify,
}

#[derive(Debug, Default)]
struct Waiting {
    /// Since when each waits for its pass.
    since: HashMap<Key, Instant>,
    /// Those that were not handed on yet.
    fresh: VecDeque<Key>,
    queued: HashSet<Key>,
}

impl Queue {
    /// Adds an object, unless it is there already.
    pub fn push(&self, key: Key) {
        let Ok(mut waiting) = self.0.waiting.lock() else { return };
        if waiting.queued.insert(key.clone()) {
            waiting.fresh.push_back(key.clone());
        }
        waiting.since.entry(key).or_insert_with(Instant::now);
        drop(waiting);
        self.0.more.notify_one();
    }

    /// The next one.
    pub async fn next(&self) -> Key {
        loop {
            let more = self.0.more.notified();
            let next = self.0.waiting.lock().ok().and_then(|mut waiting| {
                let key = waiting.fresh.pop_front()?;
                waiting.queued.remove(&key);
                Some(key)
            });
            match next {
                Some(key) => return key,
                None => more.await,
            }
        }
    }

    /// Its pass begins (or it is gone): how long it waited.
    #[must_use]
    pub fn begin(&self, key: &Key) -> Option<Duration> {
        Some(self.0.waiting.lock().ok()?.since.remove(key)?.elapsed())
    }

    /// How many wait.
    #[must_use]
    pub fn depth(&self) -> usize {
        self.0.waiting.lock().map_or(0, |waiting| waiting.since.len())
    }
}

/// The queues of all kinds.
#[derive(Debug, Clone, Default)]
pub struct Queues([Queue; 3]);

impl Queues {
    /// The queue of a kind.
    #[must_use]
    pub fn of(&self, kind: OwnerKind) -> &Queue {
        let [realm, tenant, demo] = &self.0;
        match kind {
            OwnerKind::Realm => realm,
            OwnerKind::Tenant => tenant,
            OwnerKind::DemoEnvironment => demo,
        }
    }

    /// Adds these.
    pub fn wake(&self, wakes: impl IntoIterator<Item = Wake>) {
        for wake in wakes {
            self.of(wake.kind).push((wake.namespace, wake.name));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_object_waits_once_however_often_it_is_woken() {
        let queues = Queues::default();
        let queue = queues.of(OwnerKind::Tenant);
        for name in ["a", "b", "a"] {
            queues.wake([Wake::new(OwnerKind::Tenant, "ns", name)]);
        }
        assert_eq!((queue.depth(), queues.of(OwnerKind::Realm).depth()), (2, 0));
        let (a, b) = (queue.next().await, queue.next().await);
        assert_eq!((a.1.as_str(), b.1.as_str()), ("a", "b"));
        // Handed on, but not begun: what happens meanwhile is not lost.
        queue.push(a.clone());
        assert_eq!(queue.next().await, a);
        assert!(queue.begin(&a).is_some() && queue.begin(&a).is_none());
        assert_eq!(queue.depth(), 1);
        let next = queue.next();
        queue.push(b.clone());
        assert_eq!(next.await, b, "a waiter hears of it");
    }
}
