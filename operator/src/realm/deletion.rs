//! What is to be done for a Realm that goes, before anything else is looked at.
//!
//! Retain asks nobody: Secrets and database stay, the rest goes with the Realm. Delete drops what is the realm's. It waits
//! for one thing alone: an external database whose login is still there and that cannot be reached.

use std::time::Duration;

use crds::RealmDeletionPolicy;
use keyrealm_base::Timestamp;

use super::facts::{DatabaseState, Deletion, Observed};
use super::plan::{Plan, Step};
use crate::child::ChildKind;
use crate::children::{Home, Part, stateful_set};
use crate::report::Report;

/// How long Tenants may use the database for their own end, and processes for theirs.
const PATIENCE: Duration = Duration::from_mins(1);
const AGAIN: Duration = Duration::from_secs(2);

/// What follows for a Realm that is being deleted.
#[must_use]
pub fn plan(home: &Home<'_>, observed: &Observed, deletion: &Deletion, now: Timestamp) -> Plan {
    let wait = |message: &str| Plan::only(Report::reconciling("Deleting", message), AGAIN);
    if !observed.finalizer {
        return wait("others hold this Realm: see metadata.finalizers");
    }
    let patient = now.since(deletion.since) < PATIENCE;
    if deletion.tenants_ending > 0 && patient {
        return wait("Tenants of this Realm are to be deleted first, which needs its database");
    }
    if home.spec.deletion_policy == RealmDeletionPolicy::Retain {
        return go(vec![Step::Release(None)]);
    }
    let secrets = || deletion.keepsakes.iter().cloned().map(Step::RemoveSecret);
    if let Some(managed) = &home.spec.database.managed {
        let mut steps = Vec::new();
        let mut left = None;
        if observed.managed_exists {
            // Its volume goes with it, whatever the policy was when it was made.
            steps.push(Step::Ensure(Box::new(stateful_set::of(home, managed, &observed.images))));
        } else {
            let at = home.at(ChildKind::StatefulSet, Part::Postgres.name());
            left = Some(format!("{at} had gone already: its volume may still be there"));
        }
        steps.extend(secrets());
        steps.push(Step::Release(left));
        return go(steps);
    }
    if !deletion.servers.is_empty() {
        return go(deletion.servers.iter().cloned().map(Step::Remove).collect());
    }
    let left = match &observed.database {
        DatabaseState::Ready(database) => {
            if !database.instances.is_empty() && patient {
                return wait("the servers are ending");
            }
            return go([Step::DropDatabase].into_iter().chain(secrets()).chain([Step::Release(None)]).collect());
        }
        DatabaseState::SecretMissing(at) => {
            format!("{at} is gone, so that nobody can log in: the realm's schemas and roles are left in the database")
        }
        DatabaseState::Failed(report) if report.reason == "DatabaseInUse" => {
            "the database is another realm's and was not touched".to_owned()
        }
        // What this Realm had was dropped by a pass that ended before it said so.
        DatabaseState::Failed(report) if report.reason == "DatabaseEmpty" && observed.known_before => {
            return go(secrets().chain([Step::Release(None)]).collect());
        }
        DatabaseState::Failed(report) if report.reason == "DatabaseEmpty" => {
            // The data may lie elsewhere, and only these Secrets open them.
            let left = "the data that it should have adopted were not in its database: its Secrets are left for them";
            return go(vec![Step::Release(Some(left.to_owned()))]);
        }
        blocked => {
            let why = blocked.report().map(|report| report.message).unwrap_or_default();
            let message = format!(
                "the realm's data cannot be dropped: {why}; mend that, or set spec.deletionPolicy to Retain, which leaves \
                 the data"
            );
            let reason = blocked.report().map_or("DatabaseUnreachable", |report| report.reason);
            return Plan::only(Report::reconciling(reason, message), Duration::from_secs(5));
        }
    };
    go(secrets().chain([Step::Release(Some(left))]).collect())
}

fn go(steps: Vec<Step>) -> Plan {
    let report = Report::reconciling("Deleting", "the realm's objects are being taken away");
    Plan { steps, children: Vec::new(), report, requeue: AGAIN }
}
