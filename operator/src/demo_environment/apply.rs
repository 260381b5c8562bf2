//! Carries the plan out, one step after the other.

use crds::DemoEnvironment;
use k8s_openapi::api::core::v1::Secret;
use keyrealm_registry::seed::DemoCredentials;
use kube::Api;
use kube::api::{DeleteParams, Preconditions, PropagationPolicy};

use super::expand::{CREDENTIALS, Expansion};
use super::plan::{Plan, Step};
use crate::context::Context;
use crate::error::ApiError;
use crate::executor::CALL;

/// Why a step failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ApplyError {
    /// A call of the API server.
    #[error(transparent)]
    Api(#[from] ApiError),
    /// The credentials cannot be written down.
    #[error("the credentials of {at} cannot be written as JSON: {cause}")]
    Unwritten {
        /// The Secret.
        at: String,
        /// Why.
        cause: String,
    },
}

/// Does all of it; what comes after a step that failed is not tried.
///
/// # Errors
/// With the first step that failed.
pub(super) async fn apply(
    demo: &DemoEnvironment,
    plan: &Plan,
    context: &Context,
) -> Result<(), (&'static str, ApplyError)> {
    let children = plan.children.iter().map(|child| Step::Ensure(Box::new(child.clone())));
    for step in plan.steps.iter().cloned().chain(children) {
        context.failpoint.reach(step.name());
        one(demo, plan, &step, context).await.map_err(|error| (step.name(), error))?;
        context.failpoint.reach(step.name());
    }
    Ok(())
}

async fn one(demo: &DemoEnvironment, plan: &Plan, step: &Step, context: &Context) -> Result<(), ApplyError> {
    let expansion = Expansion::new(demo);
    match step {
        Step::DeleteSelf => delete_self(&expansion, context).await?,
        Step::DeleteTenant(at, seen) | Step::DeleteCredentials(at, seen) => context.delete_child(at, seen).await?,
        Step::CreateCredentials => {
            let child = drawn(&expansion, plan, &DemoCredentials::default(), context)?;
            context.create_once(&child).await?;
        }
        Step::CompleteCredentials => {
            let at = expansion.credentials_at();
            // Gone by now: the next pass makes it.
            let Some(secret) = context.read_secret(&at.namespace, &at.name).await? else { return Ok(()) };
            let child = drawn(&expansion, plan, &kept(&secret), context)?;
            context.ensure(&child).await?;
        }
        Step::Ensure(child) => {
            context.ensure(child).await?;
        }
    }
    Ok(())
}

/// The Secret with what is known and whatever that lacks.
fn drawn(
    expansion: &Expansion<'_>,
    plan: &Plan,
    known: &DemoCredentials,
    context: &Context,
) -> Result<crate::child::Child, ApplyError> {
    let credentials = known.completed(expansion.tenants(), context.random.as_ref());
    let at = || expansion.credentials_at().to_string();
    expansion
        .credentials(&plan.reset, &credentials)
        .map_err(|error| ApplyError::Unwritten { at: at(), cause: error.to_string() })
}

/// What a Secret has. One that somebody made unreadable has nothing, and all is drawn anew.
fn kept(secret: &Secret) -> DemoCredentials {
    let text = secret.data.as_ref().and_then(|data| data.get(CREDENTIALS));
    text.and_then(|text| serde_json::from_slice(&text.0).ok()).unwrap_or_default()
}

/// Deletes the DemoEnvironment that was looked at, and no other one that has its name by now.
async fn delete_self(expansion: &Expansion<'_>, context: &Context) -> Result<(), ApiError> {
    let at = format!("DemoEnvironment {}/{}", expansion.namespace, expansion.name);
    let parameters = DeleteParams {
        propagation_policy: Some(PropagationPolicy::Background),
        preconditions: Some(Preconditions { uid: Some(expansion.uid.to_owned()), resource_version: None }),
        ..DeleteParams::default()
    };
    let api = Api::<DemoEnvironment>::namespaced(context.client.clone(), expansion.namespace);
    match tokio::time::timeout(CALL, api.delete(expansion.name, &parameters)).await {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(kube::Error::Api(status))) if status.code == 404 => Ok(()),
        Ok(Err(error)) => Err(ApiError::of("delete", &at, &error)),
        Err(_) => Err(ApiError::Timeout { verb: "delete", at, seconds: CALL.as_secs() }),
    }
}
