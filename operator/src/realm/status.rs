//! How a Realm stands, as its status. What did not change is not written.

use crds::{CertificateTimes, PkiStatus, RealmStatus, WorkloadStatus};

use super::error::Error;
use super::facts::{DatabaseState, Kept, LeafSeen, Observed};
use super::observe::Pass;
use super::plan::Plan;
use super::ready;
use crate::child::ChildKind;
use crate::children::{Home, Part, secret};
use crate::error::ApiError;
use crate::report::{Report, time};
use crate::wake::OwnerKind;

/// The status that follows from what was seen. What cannot be told at the moment stays as it was.
#[must_use]
pub fn status(
    home: &Home<'_>,
    before: &RealmStatus,
    observed: &Observed,
    report: &Report,
    generation: i64,
    now: &str,
) -> RealmStatus {
    let mut status = before.clone();
    status.observed_generation = Some(generation);
    status.conditions = report.conditions(generation, &before.conditions, now);
    if observed.deletion.is_some() || observed.conflict.is_some() {
        return status;
    }
    status.issuer = Some(home.url(Part::Identity));
    status.kms_url = Some(home.url(Part::Kms));
    if let Kept::There(root) = &observed.root {
        status.trust_bundle = Some(home.at(ChildKind::ConfigMap, "trust-bundle").name);
        let times = |(part, leaf): (&Part, &LeafSeen)| match leaf {
            LeafSeen::Ours(leaf) => Some((
                leaf.not_after,
                CertificateTimes {
                    secret: home.at(ChildKind::Secret, &secret::leaf::suffix(*part)).name,
                    not_after: leaf.not_after.to_string(),
                    renewal: leaf.renewal.to_string(),
                },
            )),
            _ => None,
        };
        let leaves: Vec<_> = observed.leaves.iter().filter_map(times).collect();
        status.expires = leaves.iter().map(|(end, _)| *end).min().map(|end| end.to_string());
        status.pki = Some(PkiStatus {
            root_sha256: root.sha256.clone(),
            not_after: root.not_after.to_string(),
            leaves: leaves.into_iter().map(|(_, times)| times).collect(),
        });
    }
    if let DatabaseState::Ready(database) = &observed.database {
        status.deployment_id = Some(database.deployment_id.to_string());
        status.tenants = Some(database.tenants);
        let of = |part: Part| WorkloadStatus {
            replicas: home.replicas(part),
            available: observed.rollouts.get(&part).map_or(0, |rollout| rollout.available.min(rollout.updated)),
            serving: ready::serving(observed, database, part),
        };
        (status.kms, status.identity) = (Some(of(Part::Kms)), Some(of(Part::Identity)));
    }
    status
}

/// Writes what a plan says.
pub(super) async fn write(pass: &Pass<'_>, observed: &Observed, plan: &Plan) -> Result<(), Error> {
    let before = pass.realm.status.clone().unwrap_or_default();
    let generation = pass.realm.metadata.generation.unwrap_or_default();
    let now = time(pass.context.clock.now());
    let status = status(&pass.home, &before, observed, &plan.report, generation, &now);
    figures(pass, observed);
    Ok(patch(pass, &status).await?)
}

/// Writes that a pass failed, and why; all else stays as it was.
pub(super) async fn failed(pass: &Pass<'_>, report: &Report) -> Result<(), ApiError> {
    let mut status = pass.realm.status.clone().unwrap_or_default();
    let generation = pass.realm.metadata.generation.unwrap_or_default();
    let now = time(pass.context.clock.now());
    status.observed_generation = Some(generation);
    status.conditions = report.conditions(generation, &status.conditions, &now);
    patch(pass, &status).await
}

async fn patch(pass: &Pass<'_>, status: &RealmStatus) -> Result<(), ApiError> {
    let value = serde_json::to_value(status).unwrap_or_default();
    pass.context.patch_status(pass.realm, &value, OwnerKind::Realm.manager()).await
}

fn figures(pass: &Pass<'_>, observed: &Observed) {
    let realm = pass.key.to_string();
    if let Kept::There(root) = &observed.root {
        pass.context.metrics.certificate_not_after(&realm, "root", root.not_after.seconds());
    }
    let ends = observed.leaves.values().filter_map(|leaf| match leaf {
        LeafSeen::Ours(leaf) => Some(leaf.not_after),
        _ => None,
    });
    if let Some(end) = ends.min() {
        pass.context.metrics.certificate_not_after(&realm, "leaf", end.seconds());
    }
}
