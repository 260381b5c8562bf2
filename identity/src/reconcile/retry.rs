//! When to try again what failed: later each time, so that one bad entry does not keep the database busy.

use std::collections::HashMap;
use std::hash::Hash;
use std::time::Duration;

use tokio::time::Instant;

const LONGEST: Duration = Duration::from_mins(1);

/// What failed, and when it is due again.
pub(super) struct Retries<K>(HashMap<K, (u32, Instant)>);

impl<K> Default for Retries<K> {
    fn default() -> Self {
        Self(HashMap::new())
    }
}

impl<K: Eq + Hash> Retries<K> {
    pub(super) fn is_due(&self, key: &K) -> bool {
        self.0.get(key).is_none_or(|(_, due)| *due <= Instant::now())
    }

    pub(super) fn failed(&mut self, key: K) {
        let (times, due) = self.0.entry(key).or_insert((0, Instant::now()));
        *times = times.saturating_add(1);
        *due = Instant::now() + wait(*times);
    }

    pub(super) fn succeeded(&mut self, key: &K) {
        self.0.remove(key);
    }

    pub(super) fn retain(&mut self, keep: impl Fn(&K) -> bool) {
        self.0.retain(|key, _| keep(key));
    }
}

/// 1 s, 2 s, 4 s ... up to a minute.
fn wait(times: u32) -> Duration {
    Duration::from_secs(1 << times.saturating_sub(1).min(6)).min(LONGEST)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_fails_is_tried_later_and_later() {
        let mut retries = Retries::default();
        assert!(retries.is_due(&"a"));
        retries.failed("a");
        assert!(!retries.is_due(&"a") && retries.is_due(&"b"), "others are not held up");
        retries.succeeded(&"a");
        assert!(retries.is_due(&"a"));
        assert_eq!([1, 2, 3, 6, 7, 1000].map(wait).map(|wait| wait.as_secs()), [1, 2, 4, 32, 60, 60]);
    }
}
