//! The table of `crds/tests/cases`, each object once.

use crate::cases::{Case, Table, tables};
use crate::control_plane::{Answers, ControlPlane};

fn check(cases: &[Case], answers: &Answers, word: &str) {
    let mut wrong = Vec::new();
    for case in cases {
        let name = case.object["metadata"]["name"].as_str().unwrap();
        let message = answers.refused.get(&case.id);
        let taken = answers.taken.iter().any(|line| line.contains(&format!("/{name} {word}")));
        let right = match message {
            None => case.accepted && taken,
            Some(message) => !case.accepted && message.contains(&case.says),
        };
        if !right {
            wrong.push(format!("{} ({}, accepted: {}): {message:?}", case.id, case.says, case.accepted));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

pub(crate) fn new_objects_are_taken_and_refused(cluster: &ControlPlane) {
    let cases: Vec<Case> = tables().iter().flat_map(Table::cases).filter(|c| c.before.is_none()).collect();
    assert!(cases.len() > 120, "{}", cases.len());
    let objects = cases.iter().map(|case| (case.id.as_str(), &case.object));
    let answers = cluster.send(&["create", "--dry-run=server", "--validate=strict"], objects);
    check(&cases, &answers, "created");
}

pub(crate) fn changes_are_taken_and_refused(cluster: &ControlPlane) {
    let cases: Vec<Case> = tables().iter().flat_map(Table::cases).filter(|c| c.before.is_some()).collect();
    assert!(cases.len() > 40, "{}", cases.len());
    let before = cases.iter().filter_map(|case| Some((case.id.as_str(), case.before.as_ref()?)));
    let made = cluster.send(&["create", "--validate=strict"], before);
    assert!(made.refused.is_empty() && made.taken.len() == cases.len(), "{:#?}", made.refused);
    let after = cases.iter().map(|case| (case.id.as_str(), &case.object));
    let answers = cluster.send(&["replace", "--dry-run=server", "--validate=strict"], after);
    check(&cases, &answers, "replaced");
    cluster.kubectl(&["delete", "keyrealm", "--all", "--timeout=60s"]);
}
