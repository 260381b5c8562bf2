//! Revocations in memory: what Identity published, looked up on every request without a database.

use std::collections::HashMap;
use std::sync::RwLock;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use keyrealm_base::Timestamp;
use keyrealm_registry::{Revocation, RevocationKind};

use crate::Principal;

/// More entries than this mean that something publishes without end; the oldest information is never dropped, so the
/// list then refuses to answer and the caller gets 503 instead of an unchecked pass.
const MAX_ENTRIES: usize = 1_000_000;

/// The revocations in force, by kind and value, each until the last token that it could touch has expired.
pub struct RevocationList {
    entries: RwLock<Entries>,
    /// When the list was last known to be complete; `i64::MIN` before the first time.
    synced: AtomicI64,
    max_age: Duration,
}

#[derive(Default)]
struct Entries {
    by_name: HashMap<(RevocationKind, String), Timestamp>,
    /// How often something was added beside the readings.
    added: u64,
}

/// A reading of the registry that has begun: what is added after it may not be in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reading(u64);

/// The list cannot answer: it was never filled, is too old, or overflowed.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("the list of revoked tokens is not up to date")]
pub struct RevocationsUnknown;

impl RevocationList {
    /// An empty list that answers only while it was refreshed within `max_age`.
    #[must_use]
    pub fn new(max_age: Duration) -> Self {
        Self { entries: RwLock::default(), synced: AtomicI64::new(i64::MIN), max_age }
    }

    /// Call this before the registry is read.
    #[must_use]
    pub fn begin_reading(&self) -> Reading {
        // When the lock is broken no reading is the right one, and nothing is thrown away.
        Reading(self.entries.read().map_or(u64::MAX, |entries| entries.added))
    }

    /// Replaces the whole content with what the registry holds, read at `now`.
    pub fn replace(&self, revocations: impl IntoIterator<Item = Revocation>, now: Timestamp) {
        self.replace_since(self.begin_reading(), revocations, now);
    }

    /// As [`RevocationList::replace`], with a reading that took its time: what was added meanwhile stays.
    pub fn replace_since(&self, reading: Reading, revocations: impl IntoIterator<Item = Revocation>, now: Timestamp) {
        let fresh: HashMap<_, _> = revocations
            .into_iter()
            .filter(|revocation| revocation.until > now)
            .take(MAX_ENTRIES + 1)
            .map(|revocation| ((revocation.kind, revocation.value), revocation.until))
            .collect();
        let Ok(mut entries) = self.entries.write() else { return };
        if Reading(entries.added) == reading {
            entries.by_name = fresh;
        } else {
            // A revocation never ends early, so that what is there already cannot be wrong.
            entries.by_name.retain(|_, until| *until > now);
            entries.extend(fresh);
        }
        if entries.by_name.len() <= MAX_ENTRIES {
            self.synced.store(now.millis(), Ordering::Release);
        }
    }

    /// Adds revocations at once, where they are made: the next full reading has them, too.
    pub fn add(&self, revocations: impl IntoIterator<Item = Revocation>) {
        if let Ok(mut entries) = self.entries.write() {
            entries.added += 1;
            entries.extend(
                revocations.into_iter().map(|revocation| ((revocation.kind, revocation.value), revocation.until)),
            );
        }
    }

    /// Whether the principal's token, session, family, subject or client is revoked.
    ///
    /// # Errors
    /// When the list is not up to date.
    pub fn is_revoked(&self, principal: &Principal, now: Timestamp) -> Result<bool, RevocationsUnknown> {
        let synced = self.synced.load(Ordering::Acquire);
        if synced == i64::MIN || now.since(Timestamp::from_millis(synced)) > self.max_age {
            return Err(RevocationsUnknown);
        }
        let entries = &self.entries.read().map_err(|_| RevocationsUnknown)?.by_name;
        if entries.is_empty() {
            return Ok(false);
        }
        let hit = |kind, value: &str| entries.get(&(kind, value.to_owned())).is_some_and(|until| *until > now);
        Ok(hit(RevocationKind::Jti, &principal.token_id)
            || hit(RevocationKind::Sub, &principal.subject)
            || hit(RevocationKind::Client, &principal.client_id)
            || principal.session.as_deref().is_some_and(|sid| hit(RevocationKind::Sid, sid))
            || principal.family.as_deref().is_some_and(|family| hit(RevocationKind::Family, family)))
    }
}

impl Entries {
    /// Of two ends of the same revocation the later one counts.
    fn extend(&mut self, revocations: impl IntoIterator<Item = ((RevocationKind, String), Timestamp)>) {
        for (name, until) in revocations {
            let latest = self.by_name.entry(name).or_insert(until);
            *latest = until.max(*latest);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ScopeSet;

    fn principal() -> Principal {
        Principal {
            issuer: "https://id.test".into(),
            subject: "user".into(),
            client_id: "client".into(),
            tenant: None,
            scopes: ScopeSet::EMPTY,
            token_id: "jti".into(),
            session: Some("sid".into()),
            family: Some("family".into()),
            expires: Timestamp::from_seconds(900),
        }
    }

    fn revoked(kind: RevocationKind, value: &str) -> Revocation {
        Revocation { kind, value: value.into(), until: Timestamp::from_seconds(100) }
    }

    #[test]
    fn each_kind_hits_its_own_field_until_it_ends() {
        let now = Timestamp::from_seconds(1);
        for (kind, value) in [
            (RevocationKind::Jti, "jti"),
            (RevocationKind::Sid, "sid"),
            (RevocationKind::Family, "family"),
            (RevocationKind::Sub, "user"),
            (RevocationKind::Client, "client"),
        ] {
            let list = RevocationList::new(Duration::from_secs(1000));
            list.replace([revoked(kind, value)], now);
            assert_eq!(list.is_revoked(&principal(), now), Ok(true));
            assert_eq!(list.is_revoked(&principal(), Timestamp::from_seconds(100)), Ok(false));
            list.replace([revoked(kind, "other")], now);
            assert_eq!(list.is_revoked(&principal(), now), Ok(false));
        }
    }

    /// The registry is being read while a revocation is made here: it counts from then on without a gap.
    #[test]
    fn a_reading_that_began_before_takes_nothing_away() {
        let now = Timestamp::from_seconds(1);
        let list = RevocationList::new(Duration::from_secs(1000));
        list.replace([revoked(RevocationKind::Jti, "old")], now);
        let reading = list.begin_reading();
        list.add([revoked(RevocationKind::Sid, "sid")]);
        list.replace_since(reading, [], now);
        assert_eq!(list.is_revoked(&principal(), now), Ok(true));
        let reading = list.begin_reading();
        list.replace_since(reading, [revoked(RevocationKind::Sid, "other")], now);
        assert_eq!(list.is_revoked(&principal(), now), Ok(false), "a later reading is the whole truth");
    }

    /// Never "active" because nobody asked: an unfilled or old list refuses to answer.
    #[test]
    fn fails_closed() {
        let list = RevocationList::new(Duration::from_secs(30));
        assert_eq!(list.is_revoked(&principal(), Timestamp::from_seconds(1)), Err(RevocationsUnknown));
        list.replace([], Timestamp::from_seconds(1));
        assert_eq!(list.is_revoked(&principal(), Timestamp::from_seconds(31)), Ok(false));
        assert_eq!(list.is_revoked(&principal(), Timestamp::from_seconds(32)), Err(RevocationsUnknown));
    }
}
