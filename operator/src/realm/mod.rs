//! Realms: certificates, database, keys and the two servers.

pub mod adopt;
pub mod apply;
mod contents;
mod database;
pub mod deletion;
pub mod error;
pub mod facts;
pub mod issue;
mod memory;
pub mod observe;
pub mod plan;
pub mod ready;
pub mod status;
pub mod wanted;

#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use crds::Realm;
use kube::ResourceExt;
use kube::runtime::controller::Action;
use kube::runtime::reflector::ObjectRef;

pub use error::Error;
pub use memory::Memory;

use crate::children::Home;
use crate::context::Context;
use crate::databases::RealmKey;
use crate::report::State;
use apply::Outcome;
use observe::Pass;

/// How often one pass looks, plans and does. What is not finished then is for the next pass.
const ROUNDS: usize = 8;
/// While somebody else's object is in the way, which no watch shows.
const BLOCKED: Duration = Duration::from_secs(30);

/// Makes a Realm as it shall be, as far as it can be now.
///
/// # Errors
/// When a call fails that may go well a little later; the Realm's status says so, too.
pub async fn reconcile(realm: Arc<Realm>, context: Arc<Context>) -> Result<Action, Error> {
    let mut realm = realm;
    for _ in 0..ROUNDS {
        // Our own writes are in the store at once.
        realm = newest(&context, &realm);
        let Some(home) = Home::of(&realm) else { return Ok(Action::await_change()) };
        let key = RealmKey::new(home.namespace, home.name);
        let pass = Pass { context: &context, realm: &realm, home, memory: context.databases.memory(&key), key };
        let round = round(&pass).await;
        let (observed, plan, outcome) = match round {
            Ok(round) => round,
            Err(error) => {
                let report = error.report();
                // A status that cannot be written is written by the next pass.
                let written = status::failed(&pass, &report).await;
                if report.state == State::Stalled && written.is_ok() {
                    return Ok(Action::requeue(BLOCKED));
                }
                return Err(error);
            }
        };
        match outcome {
            Outcome::Released => return Ok(Action::await_change()),
            Outcome::Progress if !plan.steps.is_empty() => {}
            _ => {
                status::write(&pass, &observed, &plan).await?;
                return Ok(Action::requeue(plan.requeue));
            }
        }
    }
    Ok(Action::requeue(Duration::from_secs(1)))
}

async fn round(pass: &Pass<'_>) -> Result<(facts::Observed, plan::Plan, Outcome), Error> {
    let (observed, database) = observe::observe(pass).await?;
    let plan = plan::plan(pass.realm, &observed, pass.context.clock.now());
    let outcome = apply::apply(pass, &observed, database.as_deref(), &plan).await?;
    Ok((observed, plan, outcome))
}

fn newest(context: &Context, realm: &Arc<Realm>) -> Arc<Realm> {
    let found = context.stores.realms().get(&ObjectRef::from_obj(&**realm));
    found.filter(|found| found.uid() == realm.uid()).unwrap_or_else(|| Arc::clone(realm))
}
