//! Whether the servers serve: by their Deployments and by what each process says of itself. Nobody is dialled.

use super::facts::{DatabaseFacts, LeafSeen, Observed};
use crate::children::{Home, Part};
use crate::report::Report;

/// How many processes of a server serve with the newest certificate.
#[must_use]
pub fn serving(observed: &Observed, database: &DatabaseFacts, part: Part) -> i32 {
    let Some(LeafSeen::Ours(leaf)) = observed.leaves.get(&part) else { return 0 };
    let serves = database.instances.iter().filter(|instance| {
        instance.part == part
            && instance.ready
            && instance.chain_sha256 == leaf.chain_sha256
            && instance.bundle_sha256 == leaf.bundle_sha256
            && instance.seen >= database.settled
    });
    i32::try_from(serves.count()).unwrap_or(i32::MAX)
}

/// What is still missing.
#[must_use]
pub fn problem(home: &Home<'_>, observed: &Observed, database: &DatabaseFacts) -> Option<Report> {
    Part::SERVERS.into_iter().find_map(|part| {
        let name = format!("Deployment {}/{}-{}", home.namespace, home.name, part.name());
        let Some(rollout) = observed.rollouts.get(&part) else {
            return Some(Report::reconciling("RolloutInProgress", format!("{name} is being made")));
        };
        let wanted = home.replicas(part);
        if !rollout.is_done() || rollout.wanted != wanted {
            let mut message = format!(
                "{name}: of {wanted} pods {} are of the newest kind and {} available",
                rollout.updated, rollout.available
            );
            if let Some(hindrance) = &rollout.hindrance {
                message = format!("{message}; {hindrance}");
            }
            return Some(Report::reconciling("RolloutInProgress", message));
        }
        let serving = serving(observed, database, part);
        (serving < wanted).then(|| {
            let heard = database.instances.iter().filter(|instance| instance.part == part).count();
            let message = format!(
                "{}: of {wanted} processes {serving} say that they serve with the newest certificates ({heard} were heard \
                 from); a certificate takes up to two minutes to reach a pod",
                part.name()
            );
            Report::reconciling("InstancesNotReady", message)
        })
    })
}
