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
    entries: RwLock<HashMap<(RevocationKind, String), Timestamp>>,
    /// When the list was last known to be complete; `i64::MIN` before the first time.
    synced: AtomicI64,
    max_age: Duration,
}

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

    /// Replaces the whole content with what the registry holds, read at `now`.
    pub fn replace(&self, revocations: impl IntoIterator<Item = Revocation>, now: Timestamp) {
        let fresh: HashMap<_, _> = revocations
            .into_iter()
            .filter(|revocation| revocation.until > now)
            .take(MAX_ENTRIES + 1)
            .map(|revocation| ((revocation.kind, revocation.value), revocation.until))
            .collect();
        if fresh.len() > MAX_ENTRIES {
            return;
        }
        if let Ok(mut entries) = self.entries.write() {
            *entries = fresh;
            self.synced.store(now.millis(), Ordering::Release);
        }
    }

    /// Adds revocations at once, where they are made: the next full reading has them, too.
    pub fn add(&self, revocations: impl IntoIterator<Item = Revocation>) {
        if let Ok(mut entries) = self.entries.write() {
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
        let entries = self.entries.read().map_err(|_| RevocationsUnknown)?;
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
