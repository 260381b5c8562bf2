//! Holds the crate graph against section 2 of the design: dependencies point one way.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "helpers of tests fail the test")]

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

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
    &["kms", "identity", "crds"],
    &["demo", "operator"],
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
        .args(["tree", "--workspace", "--all-features", "--target=all", "--prefix=none", "--format={p}"])
        .output()
        .unwrap();
    assert!(output.status.success());
    let tree = String::from_utf8(output.stdout).unwrap();
    assert!(tree.lines().any(|line| line.starts_with("aws-lc-rs ")), "the tree is read");
    assert!(tree.lines().any(|line| line.starts_with("kube ")), "the demo's feature is in it");
    for banned in BANNED {
        assert!(!tree.lines().any(|line| line.starts_with(&format!("{banned} "))), "{banned} is in the tree");
    }
}

/// `cargo deny` takes its bans from a file that this test reads, so that the two never name different crates.
#[test]
fn deny_toml_bans_the_same_crates() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deny.toml");
    let deny: toml::Table = fs::read_to_string(path).unwrap().parse().unwrap();
    let rows = deny["bans"]["deny"].as_array().unwrap();
    let banned: Vec<&str> = rows.iter().map(|row| row["crate"].as_str().unwrap()).collect();
    for name in BANNED {
        assert!(banned.contains(name), "{name} is not banned in deny.toml");
    }
    assert_eq!(deny["graph"]["all-features"].as_bool(), Some(true));
    for source in ["unknown-registry", "unknown-git"] {
        assert_eq!(deny["sources"][source].as_str(), Some("deny"), "{source}");
    }
}

/// What a product's unit tests need of servers and databases, its own `src` has.
#[test]
fn tests_that_use_testkit_lie_in_tests() {
    let mut looked_at = 0;
    for package in workspace().iter().filter(|package| !TOOLS.contains(&package.name.as_str())) {
        for file in rust_files(package.manifest_path.parent().unwrap().join("src").as_std_path()) {
            assert!(!fs::read_to_string(&file).unwrap().contains("keyrealm_testkit"), "{}", file.display());
            looked_at += 1;
        }
    }
    assert!(looked_at > 100, "{looked_at}");
}

fn rust_files(folder: &Path) -> Vec<std::path::PathBuf> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let files = entries.flat_map(|path| if path.is_dir() { rust_files(&path) } else { vec![path] });
    files.filter(|path| path.extension().is_some_and(|extension| extension == "rs")).collect()
}
