//! DemoEnvironment: a realm with tenants, users, clients and keys, from one resource. It expands into one Realm, Tenants and
//! a Secret, all with references to it, and ends by itself. It needs no finalizer: what it made goes by these references, and
//! the Realm waits for its Tenants.

pub mod apply;
mod expand;
pub mod observe;
pub mod plan;
pub mod status;

use std::sync::Arc;
use std::time::Duration;

use crds::DemoEnvironment;
use kube::runtime::controller::Action;

use self::apply::ApplyError;
use self::plan::{Plan, Step};
use crate::context::Context;
use crate::error::ApiError;
use crate::report::{Report, State};
use crate::wake::OwnerKind;

/// Looks in one pass.
const LOOKS: usize = 8;
/// While something of others is in the way, of whose going nothing tells.
const SLOW: Duration = Duration::from_mins(1);

/// Why a pass failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// A step failed.
    #[error("{step} of DemoEnvironment {at}: {cause}")]
    Step {
        /// What was done.
        step: &'static str,
        /// Namespace and name.
        at: String,
        /// Why it failed.
        cause: ApplyError,
    },
    /// The status cannot be written.
    #[error("the status of DemoEnvironment {at}: {cause}")]
    Status {
        /// Namespace and name.
        at: String,
        /// Why.
        cause: ApiError,
    },
}

/// One pass over a DemoEnvironment.
///
/// # Errors
/// When a call fails. The status says so, too, where it can be written.
pub async fn reconcile(demo: Arc<DemoEnvironment>, context: Arc<Context>) -> Result<Action, Error> {
    let mut plan = look(&demo, &context);
    for _ in 1..LOOKS {
        if plan.steps.contains(&Step::DeleteSelf) {
            // Before it is gone, so that the end is an event.
            write(&demo, &plan, &plan.report, &context).await?;
        }
        if let Err((step, cause)) = apply::apply(&demo, &plan, &context).await {
            return failed(&demo, &plan, step, cause, &context).await;
        }
        // What is deleted goes in its own time, and the watch tells of it.
        if !plan.steps.iter().any(|step| !matches!(step, Step::DeleteSelf | Step::DeleteTenant(..))) {
            break;
        }
        plan = look(&demo, &context);
    }
    if !plan.steps.contains(&Step::DeleteSelf) {
        write(&demo, &plan, &plan.report, &context).await?;
    }
    Ok(Action::requeue(plan.requeue))
}

/// A step that waits for somebody's hand is no error that is tried again and again.
async fn failed(
    demo: &DemoEnvironment,
    plan: &Plan,
    step: &'static str,
    cause: ApplyError,
    context: &Context,
) -> Result<Action, Error> {
    let report = match &cause {
        ApplyError::Api(error) => error.report(),
        ApplyError::Unwritten { .. } => Report::stalled("InvalidSpec", cause.to_string()),
    };
    let passing = matches!(cause, ApplyError::Api(ApiError::Conflict { .. } | ApiError::NotLeading { .. }));
    if !passing {
        write(demo, plan, &report, context).await?;
    }
    if report.state == State::Stalled {
        return Ok(Action::requeue(SLOW));
    }
    Err(Error::Step { step, at: place(demo), cause })
}

fn look(demo: &DemoEnvironment, context: &Context) -> Plan {
    plan::plan(demo, &observe::observe(demo, &context.stores), context.clock.now())
}

async fn write(demo: &DemoEnvironment, plan: &Plan, report: &Report, context: &Context) -> Result<(), Error> {
    let failed = |cause| Error::Status { at: place(demo), cause };
    let status = status::status(demo, plan, report, context.clock.now());
    let status = serde_json::to_value(status).unwrap_or_default();
    context.patch_status(demo, &status, OwnerKind::DemoEnvironment.manager()).await.map_err(failed)
}

fn place(demo: &DemoEnvironment) -> String {
    let expansion = expand::Expansion::new(demo);
    format!("{}/{}", expansion.namespace, expansion.name)
}
