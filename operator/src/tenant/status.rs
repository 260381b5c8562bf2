//! A plan as the Tenant's status. Pure: the same plan twice changes nothing.

use std::time::Duration;

use crds::{ConditionStatus, READY, RECONCILING, Tenant, TenantStatus};
use keyrealm_base::Timestamp;

use super::entries;
use super::plan::Plan;
use crate::report::time;

/// The status that follows. Where the plan could not look, what was known before stays.
#[must_use]
pub fn status(desired: &Tenant, plan: &Plan, now: Timestamp) -> TenantStatus {
    let before = desired.status.clone().unwrap_or_default();
    let generation = desired.metadata.generation.unwrap_or_default();
    let looked = plan.ready_entries.is_some();
    let tenant_id = plan.id.map(|id| id.to_string()).or(before.tenant_id);
    TenantStatus {
        observed_generation: Some(generation),
        conditions: plan.report.conditions(generation, &before.conditions, &time(now)),
        slug: tenant_id.is_some().then(|| entries::slug(desired).to_owned()),
        tenant_id,
        entries: if looked { plan.entries.clone() } else { before.entries },
        ready_entries: plan.ready_entries.clone().or(before.ready_entries),
    }
}

/// Progress is told when it has been so for this long: what is made at once is told as ready alone.
const PROGRESS: Duration = Duration::from_secs(10);

/// How long this may still wait, because it only says how far the same work has got; `since` is when that was first seen.
/// Whatever else changed is told at once.
#[must_use]
pub fn may_wait(
    before: Option<&TenantStatus>,
    next: &TenantStatus,
    since: Timestamp,
    now: Timestamp,
) -> Option<Duration> {
    let before = before?;
    let same = before.tenant_id == next.tenant_id && before.observed_generation == next.observed_generation;
    let left = PROGRESS.saturating_sub(now.since(since));
    (same && before != next && is_progress(before) && is_progress(next) && !left.is_zero()).then_some(left)
}

fn is_progress(status: &TenantStatus) -> bool {
    let of = |kind: &str| status.conditions.iter().find(|one| one.kind == kind);
    of(RECONCILING).is_some_and(|one| one.status == ConditionStatus::True)
        && of(READY).is_some_and(|one| ["NotMigrated", "EntriesPending"].contains(&one.reason.as_str()))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::report::Report;

    #[test]
    fn what_could_not_be_looked_at_stays() {
        let mut tenant = Tenant::new("acme", serde_json::from_value(json!({"realmRef": {"name": "main"}})).unwrap());
        tenant.metadata.generation = Some(3);
        let mut plan = Plan {
            steps: vec![],
            report: Report::ready("served"),
            id: Some("3f2b8c1a-9d4e-4f6a-8b7c-1d2e3f4a5b6c".parse().unwrap()),
            entries: vec![],
            ready_entries: Some("2/2".to_owned()),
            requeue: Duration::ZERO,
        };
        let first = status(&tenant, &plan, Timestamp::from_seconds(1));
        tenant.status = Some(first.clone());
        let again = status(&tenant, &plan, Timestamp::from_seconds(2));
        assert_eq!(first, again);
        (plan.id, plan.ready_entries) = (None, None);
        plan.report = Report::reconciling("DatabaseUnreachable", "refused");
        let blind = status(&tenant, &plan, Timestamp::from_seconds(3));
        assert_eq!((&blind.tenant_id, blind.ready_entries.as_deref()), (&first.tenant_id, Some("2/2")));
        assert_eq!(blind.observed_generation, Some(3));
    }

    #[test]
    fn only_progress_waits_and_not_for_long() {
        let mut tenant = Tenant::new("acme", serde_json::from_value(json!({"realmRef": {"name": "main"}})).unwrap());
        tenant.metadata.generation = Some(1);
        let at = Timestamp::from_seconds;
        let said = |report: Report, entries: &str| {
            let mut plan = Plan::wait(report, Duration::ZERO);
            plan.ready_entries = Some(entries.to_owned());
            status(&tenant, &plan, at(0))
        };
        let first = said(Report::reconciling("NotMigrated", "no tables"), "0/2");
        let next = said(Report::reconciling("EntriesPending", "1 of 2"), "1/2");
        assert_eq!(may_wait(Some(&first), &next, at(10), at(11)), Some(Duration::from_secs(9)));
        for (before, next, since, now) in [
            (Some(&first), &next, at(10), at(20)),
            (None, &next, at(10), at(11)),
            (Some(&next), &next, at(10), at(11)),
            (Some(&first), &said(Report::ready(""), "2/2"), at(10), at(11)),
            (Some(&first), &said(Report::stalled("EntriesFailed", ""), "1/2"), at(10), at(11)),
            (Some(&first), &said(Report::reconciling("DatabaseUnreachable", ""), "1/2"), at(10), at(11)),
            (Some(&said(Report::ready(""), "2/2")), &next, at(10), at(11)),
        ] {
            assert_eq!(may_wait(before, next, since, now), None, "{before:?} {next:?}");
        }
        let mut other = next.clone();
        other.observed_generation = Some(2);
        assert_eq!(may_wait(Some(&first), &other, at(10), at(11)), None, "another specification");
    }
}
