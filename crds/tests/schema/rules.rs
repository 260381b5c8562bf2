//! Every rule takes what it should and refuses what it should, as kube evaluates it; an API server does the same in
//! `xtask/tests/resources`.

use std::collections::BTreeSet;

use keyrealm_auth::Scope;
use kube::core::cel::Validator;

use crate::cases::tables;
use crate::{schema, walk};

#[test]
fn every_rule_takes_and_refuses_as_the_table_says() {
    let (mut looked_at, mut wrong) = (0, Vec::new());
    for table in tables() {
        let schema = schema(&table.kind());
        for case in table.cases().iter().filter(|case| !case.schema) {
            let said = match Validator::new().validate(&schema, &case.object, case.before.as_ref()) {
                Ok(()) => Vec::new(),
                Err(errors) => errors.into_vec().into_iter().map(|error| error.message).collect(),
            };
            let found = said.iter().any(|message| message.starts_with(&case.says));
            if if case.accepted { !said.is_empty() } else { !found } {
                wrong.push(format!("{} ({}): {said:?}", case.id, case.says));
            }
            let before = case.before.as_ref().map(|before| Validator::new().validate(&schema, before, None));
            if let Some(Err(errors)) = before {
                wrong.push(format!("{}, before: {errors:?}", case.id));
            }
            looked_at += 1;
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert!(looked_at > 150, "{looked_at}");
}

#[test]
fn the_table_knows_every_rule() {
    let mut known = BTreeSet::new();
    for table in tables() {
        let cases = table.cases();
        let mut missing = Vec::new();
        walk(&table.kind(), &schema(&table.kind()), &mut |path, node| {
            for rule in node["x-kubernetes-validations"].as_array().into_iter().flatten() {
                let message = rule["message"].as_str().unwrap_or_else(|| panic!("{path}: {rule} has no message"));
                if cases.iter().any(|case| message.starts_with(&case.says)) {
                    known.insert(message.to_owned());
                }
                if !known.contains(message) {
                    missing.push(format!("{path}: {message}"));
                }
            }
        });
        assert!(missing.is_empty(), "{missing:#?}");
    }
    assert!(known.len() > 40, "{}", known.len());
}

#[test]
fn the_scopes_are_those_of_the_servers() {
    let servers: Vec<&str> = Scope::ALL.iter().map(|scope| scope.name()).collect();
    assert_eq!(crds::SCOPES, servers);
}

#[test]
fn slugs_are_those_of_the_registry() {
    let table = tables().into_iter().find(|table| table.kind() == "tenant").unwrap();
    let mut looked_at = 0;
    for case in table.cases().iter().filter(|case| case.says == "spec.slug: begin with a letter") {
        let slug = case.object["spec"]["slug"].as_str().unwrap();
        assert_eq!(keyrealm_registry::check_slug(slug).is_ok(), case.accepted, "{slug}");
        looked_at += 1;
    }
    assert!(looked_at > 3);
}
