//! How an object stands, as conditions. Pure: the same report twice changes nothing.

use crds::{Condition, ConditionStatus, READY, RECONCILING, STALLED};
use keyrealm_base::Timestamp;

/// Every reason of a condition. docs/resources.md and docs/operations.md say what to do for each; a test compares.
pub const REASONS: &[&str] = &[
    "DatabaseUnreachable",
    "DatabaseRefused",
    "DatabaseInUse",
    "DatabaseEmpty",
    "DatabaseSecretMissing",
    "UnsealKeyMissing",
    "RootKeyMissing",
    "RoleSecretMissing",
    "ForeignObject",
    "RolloutInProgress",
    "InstancesNotReady",
    "RealmNotFound",
    "RealmNotReady",
    "RealmNotWatched",
    "NamespaceNotAllowed",
    "SlugTaken",
    "IdTaken",
    "TenantRetained",
    "EntriesFailed",
    "EntriesPending",
    "NotMigrated",
    "SecretMissing",
    "Deleting",
    "InvalidSpec",
    "Conflict",
    "Forbidden",
    "ApiServerUnreachable",
    "ApiServerRefused",
    "TenantsNotReady",
    "Resetting",
    "Expired",
    "Ready",
];

/// How an object stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum State {
    /// All that was asked for is there and works.
    Ready,
    /// Work is under way, or something that passes is in the way.
    Reconciling,
    /// Nothing more happens until somebody changes something.
    Stalled,
}

/// State, reason and message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// How it stands.
    pub state: State,
    /// One word for programs, such as `DatabaseUnreachable`.
    pub reason: &'static str,
    /// A sentence for people: what is so, and how to mend it. No secret ever.
    pub message: String,
}

impl Report {
    /// Ready.
    #[must_use]
    pub fn ready(message: impl Into<String>) -> Self {
        Self::new(State::Ready, "Ready", message)
    }

    /// Under way.
    #[must_use]
    pub fn reconciling(reason: &'static str, message: impl Into<String>) -> Self {
        Self::new(State::Reconciling, reason, message)
    }

    /// Somebody has to change something.
    #[must_use]
    pub fn stalled(reason: &'static str, message: impl Into<String>) -> Self {
        Self::new(State::Stalled, reason, message)
    }

    fn new(state: State, reason: &'static str, message: impl Into<String>) -> Self {
        debug_assert!(REASONS.contains(&reason), "{reason}: belongs into REASONS and the guides");
        Self { state, reason, message: message.into() }
    }

    /// The conditions that follow; one whose status is as before keeps its time. `now` is RFC 3339.
    #[must_use]
    pub fn conditions(&self, generation: i64, before: &[Condition], now: &str) -> Vec<Condition> {
        let condition = |kind: &str, holds: bool| {
            let status = if holds { ConditionStatus::True } else { ConditionStatus::False };
            let old = before.iter().find(|old| old.kind == kind && old.status == status);
            Condition {
                kind: kind.to_owned(),
                status,
                observed_generation: generation,
                last_transition_time: old.map_or(now, |old| &old.last_transition_time).to_owned(),
                reason: self.reason.to_owned(),
                message: self.message.chars().take(4096).collect(),
            }
        };
        vec![
            condition(READY, self.state == State::Ready),
            condition(RECONCILING, self.state == State::Reconciling),
            condition(STALLED, self.state == State::Stalled),
        ]
    }
}

/// A time as Kubernetes writes it: RFC 3339 without fractions.
#[must_use]
pub fn time(now: Timestamp) -> String {
    Timestamp::from_seconds(now.seconds()).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_no_fractions() {
        assert_eq!(time(Timestamp::from_millis(1_767_225_600_987)), "2026-01-01T00:00:00Z");
    }

    #[test]
    fn a_condition_keeps_its_time_until_its_status_changes() {
        let waiting = Report::reconciling("DatabaseUnreachable", "it does not answer");
        let first = waiting.conditions(1, &[], "2026-01-01T00:00:00Z");
        let again = waiting.conditions(1, &first, "2026-01-02T00:00:00Z");
        assert_eq!(first, again);
        let ready = Report::ready("").conditions(2, &again, "2026-01-03T00:00:00Z");
        let time = |kind: &str| ready.iter().find(|one| one.kind == kind).unwrap().last_transition_time.clone();
        assert_eq!([READY, RECONCILING].map(time), ["2026-01-03T00:00:00Z", "2026-01-03T00:00:00Z"]);
        assert_eq!(time(STALLED), "2026-01-01T00:00:00Z");
    }
}
