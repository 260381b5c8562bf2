//! The reasons of conditions: the code's, those of the guides, and both ways round.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "helpers of tests fail the test")]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use operator::report::REASONS;

/// Words of this form in the code that are no reasons of conditions: kinds and their values, algorithms, and what products say
/// of an entry.
const OTHERS: &[&str] = &[
    "ClusterIP",
    "ConfigMap",
    "DatabaseFailed",
    "DeleteOptions",
    "DemoEnvironment",
    "EdDSA",
    "IfNotPresent",
    "NetworkPolicy",
    "PersistentVolumeClaim",
    "PodDisruptionBudget",
    "ReadWriteOnce",
    "ReplicaFailure",
    "RollingUpdate",
    "ScheduleAnyway",
    "SelfSubjectAccessReview",
    "ServiceAccount",
    "StatefulSet",
    "TenantNotMigrated",
];

fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// What the code says, tests and the list itself left out.
fn sources() -> String {
    let mut text = String::new();
    let mut open = vec![workspace().join("operator/src")];
    while let Some(folder) = open.pop() {
        for path in std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
            let name = path.file_name().unwrap().to_str().unwrap().to_owned();
            if path.is_dir() {
                open.push(path);
            } else if name.ends_with(".rs") && !name.ends_with("tests.rs") {
                let source = std::fs::read_to_string(path).unwrap();
                let source = source.split("#[cfg(test)]\nmod tests").next().unwrap();
                text.push_str(if name == "report.rs" { source.split_once("];\n").unwrap().1 } else { source });
            }
        }
    }
    text
}

/// `"TwoHumps"`.
fn humps(source: &str) -> BTreeSet<&str> {
    let words = source.split('"').filter(|word| word.starts_with(|first: char| first.is_ascii_uppercase()));
    let words = words.filter(|word| word.bytes().all(|byte| byte.is_ascii_alphabetic()));
    let inner = |word: &&str| {
        let rest = word.get(1..).unwrap();
        rest.bytes().any(|byte| byte.is_ascii_uppercase()) && rest.bytes().any(|byte| byte.is_ascii_lowercase())
    };
    words.filter(inner).collect()
}

/// The words in code marks of the first column of a table that begins with `reason`.
fn told(guide: &str) -> BTreeSet<String> {
    let text = std::fs::read_to_string(workspace().join("docs").join(guide)).unwrap();
    let (_, table) = text.split_once("\n| reason |").unwrap();
    let rows = table.lines().skip(2).take_while(|line| line.starts_with('|'));
    let firsts = rows.map(|line| line.split('|').nth(1).unwrap());
    firsts.flat_map(|cell| cell.split('`').skip(1).step_by(2).map(str::to_owned).collect::<Vec<_>>()).collect()
}

#[test]
fn every_reason_of_the_code_is_in_the_list_and_the_other_way_round() {
    let text = sources();
    let humps = humps(&text);
    for word in &humps {
        assert!(
            REASONS.contains(word) != OTHERS.contains(word),
            "{word}: a reason (REASONS and the guides), or OTHERS"
        );
    }
    for word in REASONS {
        assert!(text.contains(&format!("\"{word}\"")), "{word}: nothing says it");
    }
    for word in OTHERS {
        assert!(humps.contains(word), "{word}: is not in the code any more");
    }
}

#[test]
fn both_guides_tell_of_every_reason_and_of_no_other() {
    // What is ready needs no help.
    let all: BTreeSet<String> =
        REASONS.iter().filter(|word| **word != "Ready").map(|word| (*word).to_owned()).collect();
    for guide in ["resources.md", "operations.md"] {
        assert_eq!(told(guide), all, "docs/{guide}");
    }
}
