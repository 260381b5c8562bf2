//! What follows for a Tenant that is being deleted. Pure. Nothing is made here, and no other gate stands before it.

use std::time::Duration;

use crds::{FINALIZER, Tenant, TenantDeletionPolicy};
use keyrealm_registry::all_seen;

use super::observed::{DatabaseSeen, Observed, RealmSeen, Registry};
use super::plan::{Plan, SLOW, SOON, Step, not_watched, realm_name};
use crate::report::Report;

/// A product of which no process was heard for this long serves nobody.
const QUIET: Duration = Duration::from_secs(10);
/// A Realm whose database was not looked for yet, as after a start of the operator, is given this long.
const PATIENCE: Duration = Duration::from_secs(30);

pub(super) fn plan(desired: &Tenant, observed: &Observed) -> Plan {
    let ours = desired.metadata.finalizers.as_ref().is_some_and(|all| all.iter().any(|one| one == FINALIZER));
    if !ours {
        return Plan::wait(deleting("nothing of it is kept by this operator"), SLOW);
    }
    let policy = desired.spec.deletion_policy;
    match &observed.database {
        DatabaseSeen::Open(registry) => in_registry(policy, registry),
        _ if observed.realm == RealmSeen::Missing => {
            let what = format!("the Realm {} is gone, and with it the way to its database", realm_name(desired));
            leave(policy, &what)
        }
        DatabaseSeen::Gone(what) => leave(policy, what),
        DatabaseSeen::None | DatabaseSeen::Unprepared if observed.deleting_for < PATIENCE => {
            Plan::wait(deleting("waits for the database of the Realm"), SOON)
        }
        DatabaseSeen::None | DatabaseSeen::Unprepared | DatabaseSeen::Unreachable(_) => {
            unreachable(desired, policy, observed)
        }
    }
}

fn deleting(message: &str) -> Report {
    Report::reconciling("Deleting", message)
}

fn in_registry(policy: TenantDeletionPolicy, registry: &Registry) -> Plan {
    // By the UID that the row names: of one that lost its name to another there is no row.
    let Some(own) = &registry.own else {
        return Plan::steps(deleting("nothing in the database is its own"), vec![Step::RemoveFinalizer]);
    };
    let id = own.id;
    if policy == TenantDeletionPolicy::Retain {
        let steps = vec![Step::Retain(id), Step::RemoveFinalizer];
        return Plan { id: Some(id), ..Plan::steps(deleting("its data are kept and no longer served"), steps) };
    }
    if own.enabled {
        return Plan { id: Some(id), ..Plan::steps(deleting("it is no longer served"), vec![Step::Disable(id)]) };
    }
    let seen = all_seen(&registry.fresh, own.changed);
    let quiet = registry.quiet_for.is_none_or(|quiet| quiet >= QUIET);
    if !seen || !quiet {
        let message = "waits until every server has stopped serving it";
        return Plan { id: Some(id), ..Plan::wait(deleting(message), Duration::from_secs(1)) };
    }
    let (step, message) = match policy {
        TenantDeletionPolicy::Archive => (Step::Archive(id), "its schemas are moved aside"),
        _ => (Step::Destroy(id), "its keys are destroyed and its schemas dropped"),
    };
    Plan { id: Some(id), ..Plan::steps(deleting(message), vec![step, Step::RemoveFinalizer]) }
}

/// The database will not come back: whoever waits for it waits for ever.
fn leave(policy: TenantDeletionPolicy, what: &str) -> Plan {
    let message = match policy {
        TenantDeletionPolicy::Retain => {
            format!("{what}; the tenant's data stay, and it was not noted that it is retained")
        }
        TenantDeletionPolicy::Archive => format!("{what}; the tenant's schemas stay where they are"),
        TenantDeletionPolicy::Delete => {
            format!("{what}; the tenant's keys and schemas were not destroyed by the operator")
        }
    };
    let steps = vec![Step::LeaveBehind { what: metric(policy), message }, Step::RemoveFinalizer];
    Plan::steps(deleting("its database is out of reach for good"), steps)
}

const fn metric(policy: TenantDeletionPolicy) -> &'static str {
    match policy {
        TenantDeletionPolicy::Retain => "tenant-retained",
        TenantDeletionPolicy::Archive => "tenant-archive",
        TenantDeletionPolicy::Delete => "tenant-schemas",
    }
}

fn unreachable(desired: &Tenant, policy: TenantDeletionPolicy, observed: &Observed) -> Plan {
    let realm = realm_name(desired);
    let why = match &observed.database {
        DatabaseSeen::Unreachable(why) => format!("the database of the Realm {realm} does not answer: {why}"),
        _ => match &observed.realm {
            RealmSeen::NotWatched(watched) => not_watched(&realm, watched),
            _ => format!("the Realm {realm} has no database that answers"),
        },
    };
    if policy == TenantDeletionPolicy::Retain {
        // Keeping needs nobody's answer. A new Tenant of the slug can still adopt it: its owner is seen to be gone.
        return leave(policy, &why);
    }
    let message = format!(
        "{why}; the tenant is deleted once it answers. To let go of its data instead: kubectl patch tenant {} -n {} --type merge \
         -p '{{\"spec\":{{\"deletionPolicy\":\"Retain\"}}}}'",
        desired.metadata.name.as_deref().unwrap_or_default(),
        desired.metadata.namespace.as_deref().unwrap_or_default(),
    );
    Plan::wait(Report::reconciling("DatabaseUnreachable", message), SOON)
}
