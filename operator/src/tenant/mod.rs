//! Tenant: a tenant in the realm's database with keys, clients and users.

mod allowed;
mod apply;
mod client_secret;
mod deletion;
pub mod entries;
mod memory;
mod observe;
pub mod observed;
pub mod plan;
mod settled;
mod sources;
pub mod status;

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use crds::{ConditionStatus, Tenant};
use kube::runtime::controller::Action;
use kube::runtime::reflector::ObjectRef;

pub use self::apply::Error;
use self::apply::Pass;
use self::memory::{Memory, lock};
use self::plan::{Plan, Step, uid};
use crate::context::Context;
use crate::error::ApiError;
use crate::report::{Report, State};
use crate::wake::OwnerKind;

/// A pass looks and acts this often before others have their turn.
const ROUNDS: usize = 8;
/// How soon it goes on then.
const AGAIN: Duration = Duration::from_millis(50);

/// A pass over a Tenant.
pub type Reconciling = std::pin::Pin<Box<dyn Future<Output = Result<Action, Error>> + Send>>;

/// What works on a Tenant, with what it remembers between two passes.
pub fn reconciler() -> impl Fn(Arc<Tenant>, Arc<Context>) -> Reconciling + Send + Sync + 'static {
    let memory = Arc::new(Memory::default());
    move |tenant, context| Box::pin(reconcile(tenant, context, Arc::clone(&memory)))
}

async fn reconcile(tenant: Arc<Tenant>, context: Arc<Context>, memory: Arc<Memory>) -> Result<Action, Error> {
    let (key, own) = (ObjectRef::from_obj(tenant.as_ref()), uid(&tenant).to_owned());
    if let Some(rest) = settled::holds(&tenant, &context, &memory) {
        return Ok(Action::requeue(rest));
    }
    if observe::is_being_opened(&tenant, &context) {
        return Ok(Action::requeue(plan::SOON));
    }
    let mut tenant = tenant;
    for _ in 0..ROUNDS {
        // First: what changes while the pass is at work is looked at by the next one.
        let inputs = settled::inputs(&tenant, &context);
        let found = match observe::observe(&tenant, &context, &memory).await {
            Ok(found) => found,
            Err(error) => {
                let plan = Plan::wait(error.report(), plan::SOON);
                return failed(&tenant, &context, &plan, Error::Api(error)).await;
            }
        };
        let now = context.clock.now();
        let plan = plan::plan(&tenant, &found.observed, now);
        if plan.steps.is_empty() {
            let (next, remembered) = (status::status(&tenant, &plan, now), memory.of(&own));
            // A clock that was set back begins anew.
            let since = lock(&remembered).untold.filter(|since| *since <= now).unwrap_or(now);
            lock(&remembered).untold = Some(since);
            if let Some(left) = status::may_wait(tenant.status.as_ref(), &next, since, now) {
                return Ok(Action::requeue(left.min(plan.requeue)));
            }
            lock(&remembered).untold = None;
            tell(&tenant, &context, &plan, &next).await?;
            settled::note(&tenant, &context, &memory, (&found, inputs.as_deref()), &plan, now);
            return Ok(Action::requeue(jittered(&own, plan.requeue)));
        }
        if tenant.metadata.deletion_timestamp.is_some() {
            // Afterwards there may be nobody left to say it of.
            say(&tenant, &context, &plan).await?;
        }
        let pass = Pass { tenant: &tenant, context: &context, memory: &memory, found: &found };
        for step in &plan.steps {
            if let Err(error) = pass.apply(step).await {
                return failed(&tenant, &context, &plan, error).await;
            }
            if *step == Step::RemoveFinalizer {
                return Ok(Action::await_change());
            }
        }
        // Our own writes are in the store already.
        match context.stores.tenants().get(&key) {
            Some(next) if next.metadata.uid.as_deref() == Some(&own) => tenant = next,
            _ => return Ok(Action::await_change()),
        }
    }
    let there = context.stores.tenants().state();
    memory.prune(there.len(), |uid| there.iter().any(|one| one.metadata.uid.as_deref() == Some(uid)));
    Ok(Action::requeue(AGAIN))
}

/// A step that waits for somebody's hand is no error that is tried again and again.
async fn failed(tenant: &Tenant, context: &Context, plan: &Plan, error: Error) -> Result<Action, Error> {
    if let Error::Api(ApiError::Conflict { .. } | ApiError::NotLeading { .. }) = &error {
        return Err(error);
    }
    let report = error.report();
    let stalled = report.state == State::Stalled;
    let plan = Plan { report, ready_entries: None, ..plan.clone() };
    say(tenant, context, &plan).await?;
    if stalled { Ok(Action::requeue(plan::SLOW)) } else { Err(error) }
}

/// Says how it stands by this plan.
async fn say(tenant: &Tenant, context: &Context, plan: &Plan) -> Result<(), ApiError> {
    tell(tenant, context, plan, &status::status(tenant, plan, context.clock.now())).await
}

/// Writes the status, which tells transitions of Ready and Stalled as events. What becomes of a Tenant that goes is told, too,
/// although it may not have been ready before.
async fn tell(tenant: &Tenant, context: &Context, plan: &Plan, next: &crds::TenantStatus) -> Result<(), ApiError> {
    let ready = tenant.status.iter().flat_map(|status| &status.conditions).find(|one| one.kind == crds::READY);
    let was_ready = ready.is_some_and(|one| one.status == ConditionStatus::True);
    if tenant.metadata.deletion_timestamp.is_some() && !was_ready && is_news(tenant, &plan.report) {
        let mut before = tenant.clone();
        before.status = Some(crds::TenantStatus {
            conditions: Report::ready("").conditions(0, &[], ""),
            ..crds::TenantStatus::default()
        });
        context.events.transitions(&before, &next.conditions);
    }
    let next = serde_json::to_value(next).unwrap_or_default();
    context.patch_status(tenant, &next, OwnerKind::Tenant.manager()).await
}

/// Whether the status does not say this yet.
fn is_news(tenant: &Tenant, report: &Report) -> bool {
    let said = tenant.status.iter().flat_map(|status| &status.conditions).find(|one| one.kind == crds::READY);
    said.is_none_or(|said| said.reason != report.reason || said.message != report.message)
}

/// A tenth less by its UID, so that many do not come at once.
fn jittered(uid: &str, pause: Duration) -> Duration {
    let byte = keyrealm_crypto::sha256(uid.as_bytes()).first().copied().unwrap_or_default();
    pause.mul_f64(1.0 - 0.1 * f64::from(byte) / 255.0)
}

#[cfg(test)]
mod plan_tests;
