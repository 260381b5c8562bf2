//! The resource definitions on real API servers of both Kubernetes versions.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "helpers of tests fail the test")]

#[path = "../../../crds/tests/cases/mod.rs"]
mod cases;
mod control_plane;
mod examples;
mod invalid;
mod kubectl;
mod table;

use control_plane::ControlPlane;

/// One start of each version serves all that is shown on it.
fn show(version: &str) {
    let cluster = ControlPlane::start(version);
    table::new_objects_are_taken_and_refused(&cluster);
    table::changes_are_taken_and_refused(&cluster);
    invalid::generated_objects_are_refused_with_the_field(&cluster);
    examples::the_documentation_applies(&cluster);
    kubectl::explains(&cluster);
    kubectl::lists(&cluster);
    kubectl::refuses_and_prunes_what_no_field_is(&cluster);
    kubectl::fills_in_defaults(&cluster);
    kubectl::takes_null_for_not_given(&cluster);
}

#[test]
fn kubernetes_1_34_takes_and_refuses_as_written() {
    show("1.34");
}

#[test]
fn kubernetes_1_37_takes_and_refuses_as_written() {
    show("1.37");
}
