//! The plan as status.

use crds::{DemoEnvironment, DemoEnvironmentStatus};
use keyrealm_base::Timestamp;

use super::plan::Plan;
use crate::report::{Report, time};

/// The status that follows. What says nothing new keeps its times.
#[must_use]
pub fn status(demo: &DemoEnvironment, plan: &Plan, report: &Report, now: Timestamp) -> DemoEnvironmentStatus {
    let before = demo.status.as_ref().map(|status| status.conditions.as_slice()).unwrap_or_default();
    let generation = demo.metadata.generation.unwrap_or_default();
    DemoEnvironmentStatus {
        observed_generation: demo.metadata.generation,
        conditions: report.conditions(generation, before, &time(now)),
        endpoints: Some(plan.endpoints.clone()),
        credentials_secret: plan.credentials_secret.clone(),
        expires: plan.expires.map(|end| end.to_string()),
        reset_token: plan.reset_done.clone(),
    }
}
