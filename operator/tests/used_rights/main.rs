//! The rights of the operator are exactly what its code calls: each is used by the suites that ran before, and each of their
//! calls has one. `cargo xtask test` gives all of them one folder in KEYREALM_TEST_CALLS and runs this one last. By hand:
//! `export KEYREALM_TEST_CALLS=$(mktemp -d)`, then `api_server`, `tenants` and this one.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "helpers of tests fail the test")]

mod calls;

use std::collections::BTreeSet;

use operator::rights::{RIGHTS, Right};

/// Suites that must have run.
const SUITES: [&str; 2] = ["api_server", "tenants"];

type Called = BTreeSet<(String, String, String)>;

/// What is wrong: a line for each right that nothing uses, and for each call that has none.
fn differences(rights: &[Right], called: &Called) -> Vec<String> {
    let listed: Called = rights
        .iter()
        .flat_map(|right| right.verbs.iter().map(|verb| (right.group, right.resource, *verb)))
        .map(|(group, resource, verb)| (group.to_owned(), resource.to_owned(), verb.to_owned()))
        .collect();
    let line = |(group, resource, verb): &(String, String, String), what| format!("{group}/{resource} {verb}: {what}");
    let surplus = listed.difference(called).map(|one| line(one, "the right is listed, and nothing uses it"));
    surplus.chain(called.difference(&listed).map(|one| line(one, "it is called, and no right is listed"))).collect()
}

fn call(line: &str) -> Option<(String, String, String)> {
    let mut parts = line.split(' ').map(str::to_owned);
    let call = (parts.next()?, parts.next()?, parts.next()?);
    // What every account may: the versions of the API server.
    (!call.1.is_empty()).then_some(call)
}

#[test]
fn each_right_is_used_and_each_call_has_one() {
    let folder = calls::folder().expect("KEYREALM_TEST_CALLS: the folder that the other suites were given");
    let (mut called, mut ran) = (Called::new(), BTreeSet::new());
    for entry in std::fs::read_dir(&folder).expect("no suite has kept a call there") {
        let path = entry.unwrap().path();
        ran.extend(path.file_stem().map(|stem| stem.to_string_lossy().into_owned()));
        called.extend(std::fs::read_to_string(&path).unwrap().lines().filter_map(call));
    }
    assert!(SUITES.iter().all(|suite| ran.contains(*suite)), "{SUITES:?} run first; there is {ran:?}");
    let wrong = differences(RIGHTS, &called);
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn what_is_too_much_and_what_lacks_is_named() {
    let rights = [Right { verbs: &["get", "list"], ..RIGHTS[0] }];
    let (group, resource) = (RIGHTS[0].group, RIGHTS[0].resource);
    let of = |verbs: &[&str]| -> Called {
        verbs.iter().map(|verb| (group.to_owned(), resource.to_owned(), (*verb).to_owned())).collect()
    };
    assert_eq!(differences(&rights, &of(&["get", "list"])), Vec::<String>::new());
    let wrong = differences(&rights, &of(&["get", "watch"]));
    assert!(
        wrong.len() == 2 && wrong[0].contains("list: the right is listed") && wrong[1].contains("watch: it is called")
    );
    assert_eq!(call(" secrets get"), Some((String::new(), "secrets".to_owned(), "get".to_owned())));
    assert_eq!(call("  get"), None);
}
