//! A plan as the Tenant's status. Pure: the same plan twice changes nothing.

use crds::{Tenant, TenantStatus};
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

#[cfg(test)]
mod tests {
    use std::time::Duration;

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
}
