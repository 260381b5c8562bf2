//! Holds the crate graph against section 2 of the design: dependencies point one way.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "helpers of tests fail the test")]

use std::collections::BTreeMap;

use cargo_metadata::{DependencyKind, MetadataCommand, Package};

/// Crates by level, lowest first; a crate depends on lower levels only.
const LEVELS: &[&[&str]] = &[
    &["keyrealm-base"],
    &["keyrealm-crypto"],
    &["keyrealm-jose", "keyrealm-pki"],
    &["keyrealm-tls", "keyrealm-config", "keyrealm-telemetry"],
    &["keyrealm-http", "keyrealm-store"],
    &["keyrealm-registry", "keyrealm-barrier"],
    &["keyrealm-auth"],
    &["kms", "identity"],
    &["demo"],
];

/// Stand above all; no crate depends on them outside dev-dependencies.
const TOOLS: &[&str] = &["keyrealm-testkit", "xtask", "bench", "postgres-entrypoint"];

/// What no crate of the workspace may bring in.
const BANNED: &[&str] = &["openssl", "openssl-sys", "native-tls", "ring"];

fn workspace() -> Vec<Package> {
    let metadata = MetadataCommand::new().exec().unwrap();
    metadata.workspace_packages().into_iter().cloned().collect()
}

#[test]
fn dependencies_point_one_way() {
    let packages = workspace();
    let level: BTreeMap<&str, usize> =
        LEVELS.iter().enumerate().flat_map(|(level, names)| names.iter().map(move |name| (*name, level))).collect();
    let ours: Vec<&str> = packages.iter().map(|package| package.name.as_str()).collect();
    for package in &packages {
        let name = package.name.as_str();
        if TOOLS.contains(&name) {
            continue;
        }
        let own = *level.get(name).unwrap_or_else(|| panic!("{name} has no place in the design's paragraph"));
        for dependency in package.dependencies.iter().filter(|d| ours.contains(&d.name.as_str())) {
            if dependency.kind == DependencyKind::Development {
                continue;
            }
            let other = level.get(dependency.name.as_str());
            assert!(other.is_some_and(|other| *other < own), "{name} must not depend on {}", dependency.name);
        }
    }
}

/// The resource types take the registry's plain types without a database in their tree.
#[test]
fn registry_builds_without_a_database() {
    let packages = workspace();
    let registry = packages.iter().find(|package| package.name.as_str() == "keyrealm-registry").unwrap();
    for dependency in &registry.dependencies {
        let plain = ["keyrealm-base", "serde", "serde_json", "thiserror"].contains(&dependency.name.as_str());
        let optional = dependency.optional || dependency.kind == DependencyKind::Development;
        assert!(plain || optional, "{} must be optional", dependency.name);
    }
}

#[test]
fn one_cryptographic_module_and_one_tls_library() {
    let output = std::process::Command::new(env!("CARGO"))
        .args(["tree", "--workspace", "--prefix=none", "--format={p}"])
        .output()
        .unwrap();
    assert!(output.status.success());
    let tree = String::from_utf8(output.stdout).unwrap();
    assert!(tree.lines().any(|line| line.starts_with("aws-lc-rs ")), "the tree is read");
    for banned in BANNED {
        assert!(!tree.lines().any(|line| line.starts_with(&format!("{banned} "))), "{banned} is in the tree");
    }
}
