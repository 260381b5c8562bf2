//! Flags that do not go together, or that lead nowhere: said by name, with exit code 2, before anything is done.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "helpers of tests fail the test")]

use std::process::{Command, Stdio};

use identity::seed::DemoCredentials;
use keyrealm_testkit::TestTls;
use serde_json::Value;

/// What the demo says when it cannot start.
fn complaint(args: &[&str]) -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_demo"));
    let output = command.args(["all", "--json"]).args(args).stdin(Stdio::null()).output().unwrap();
    let text = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{text}");
    assert!(text.starts_with("demo: cannot start: "), "{text}");
    let document: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((document["passed_steps"].as_u64(), document["errors"][0]["step"].as_str()), (Some(0), Some("start")));
    text
}

#[test]
fn flags_that_do_not_fit_the_target_are_named() {
    let text = complaint(&["--target", "urls", "--kms-url", "https://k"]);
    assert!(text.contains("--target urls needs --identity-url, --ca, --credentials"), "{text}");
    let text = complaint(&["--target", "kubernetes", "--kms-url", "https://k"]);
    assert!(text.contains("needs --identity-url, --ca, --credentials, --namespace"), "{text}");
    let text = complaint(&["--target", "kubernetes", "--data-dir", "d", "--reset-demo", "--demo-password", "--keep"]);
    assert!(text.contains("--data-dir, --reset-demo, --demo-password, --keep cannot be used"), "{text}");
    let text = complaint(&["--reset-demo", "--on-partial", "cleanup"]);
    assert!(text.contains("--reset-demo, --on-partial cleanup needs --data-dir"), "{text}");
    let text = complaint(&["--kms-url", "https://k"]);
    assert!(text.contains("--kms-url cannot be used with --target embedded"), "{text}");
}

#[test]
fn only_targets_that_exist_are_offered() {
    let mut command = Command::new(env!("CARGO_BIN_EXE_demo"));
    let output = command.args(["all", "--target", "compose"]).output().unwrap();
    let text = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(text.contains("embedded, urls, kubernetes"), "{text}");
}

#[test]
fn files_and_urls_are_checked_first() {
    let tls = TestTls::new();
    let file = |name: &str, text: &[u8]| tls.private_file(name, text).to_str().unwrap().to_owned();
    let (ca, rubbish) = (tls.path("ca.pem").to_str().unwrap().to_owned(), file("rubbish", b"{}"));
    let good = file("good", serde_json::to_string(&DemoCredentials::documented()).unwrap().as_bytes());
    let told = |kms: &str, ca: &str, credentials: &str, more: &[&str]| {
        let urls = ["--target", "urls", "--identity-url", "https://id:1", "--kms-url", kms];
        complaint(&[&urls[..], &["--ca", ca, "--credentials", credentials], more].concat())
    };
    assert!(told("http://kms", &ca, &good, &[]).contains("--kms-url http://kms: expected https://HOST"));
    assert!(told("https://id:1", &ca, &good, &[]).contains("name the same server"));
    assert!(told("https://kms", &rubbish, &good, &[]).contains("--ca cannot be used"));
    let text = told("https://kms", &ca, &rubbish, &[]);
    assert!(
        text.contains("--credentials") && text.contains("rubbish") && text.contains("--demo-credentials"),
        "{text}"
    );
    assert!(told("https://kms", &ca, "/nowhere/c.json", &[]).contains("/nowhere/c.json"));
    // The CA bundle is public, and so not private enough for passwords.
    assert!(told("https://kms", &ca, &ca, &[]).contains("chmod 600"));
    let text = told("https://kms", &ca, &good, &["--client-certificate", &ca, "--client-key", &rubbish]);
    assert!(text.contains("--client-certificate and --client-key cannot be used"), "{text}");
}

#[test]
#[cfg(not(feature = "kubernetes"))]
fn a_build_without_the_feature_says_how_to_get_one() {
    let flags = ["--target", "kubernetes", "--namespace", "n", "--ca", "a", "--credentials", "c"];
    let text = complaint(&[&flags[..], &["--kms-url", "https://k", "--identity-url", "https://i"]].concat());
    assert!(text.contains("cargo build --release -p demo --features kubernetes"), "{text}");
}

#[test]
#[cfg(feature = "kubernetes")]
fn a_kubeconfig_that_is_not_there_is_named() {
    let tls = TestTls::new();
    let credentials = serde_json::to_string(&DemoCredentials::documented()).unwrap();
    let credentials = tls.private_file("credentials.json", credentials.as_bytes());
    let ca = tls.path("ca.pem");
    let files = ["--ca", ca.to_str().unwrap(), "--credentials", credentials.to_str().unwrap()];
    let flags = ["--target", "kubernetes", "--namespace", "n", "--kubeconfig", "/nowhere/kubeconfig"];
    let urls = ["--kms-url", "https://k", "--identity-url", "https://i"];
    let text = complaint(&[&flags[..], &files, &urls].concat());
    assert!(text.contains("--kubeconfig /nowhere/kubeconfig"), "{text}");
}
