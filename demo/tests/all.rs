//! The demo as people and programs run it: the binary itself.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "helpers of tests fail the test")]

mod support;

use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

use demo::steps_of;
use serde_json::Value;

use self::support::{demo, document, events, failed, run, text};

/// The document of one command: every step of it passes, and the counts are its own.
fn passes(command: &str, steps: usize) -> Value {
    let output = run(&[command, "--json"]);
    let document = document(&output);
    assert!(output.status.success(), "{document:#}");
    assert_eq!((document["success"].as_bool(), document["failed_steps"].as_u64()), (Some(true), Some(0)));
    assert_eq!(document["total_steps"], steps);
    assert_eq!((&document["passed_steps"], &document["skipped_steps"]), (&steps.into(), &0.into()));
    document
}

#[test]
fn every_step_passes_and_json_is_one_document() {
    assert_eq!(passes("all", demo::STEPS.len())["card"]["users"].as_array().unwrap().len(), 4);
}

/// Each product can be shown by itself, with what it needs of the other.
#[test]
fn each_product_has_a_command() {
    for (name, command) in [("kms", demo::Command::Kms), ("identity", demo::Command::Identity)] {
        passes(name, steps_of(command).count());
        let output = run(&[name, "--output", "structured"]);
        let shown = text(&output.stdout);
        let lines: Vec<Value> = shown.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let steps: Vec<&str> = lines.iter().filter_map(|line| line["attributes"]["step"].as_str()).collect();
        assert_eq!(steps, steps_of(command).map(|step| step.id).collect::<Vec<_>>());
        assert!(text(&run(&[name]).stdout).contains(&format!("[OK]   [ 1/{}] ", steps.len())));
    }
    let output = run(&["version"]);
    assert_eq!(
        (output.status.code(), text(&output.stdout)),
        (Some(0), format!("demo {}\n", env!("CARGO_PKG_VERSION")))
    );
    let output = run(&["version", "--json"]);
    assert_eq!(document(&output)["version"], env!("CARGO_PKG_VERSION"));
    assert!(text(&run(&["help"]).stdout).contains("identity"));
}

#[test]
fn structured_is_one_object_a_line() {
    let output = run(&["all", "--output", "structured"]);
    let lines: Vec<Value> = text(&output.stdout).lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let trace = lines[0]["trace_id"].as_str().unwrap();
    assert!(trace.len() == 32 && trace.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')), "{trace}");
    for line in &lines {
        // The fields of a log record of OpenTelemetry, and no others.
        let names: Vec<&str> = line.as_object().unwrap().keys().map(String::as_str).collect();
        assert_eq!(names, ["attributes", "body", "severity", "timestamp", "trace_id"], "{line}");
        assert_eq!(line["trace_id"], trace, "one run is one trace");
        assert!(["INFO", "WARN", "ERROR"].contains(&line["severity"].as_str().unwrap()), "{line}");
        let timestamp = line["timestamp"].as_str().unwrap();
        assert!(timestamp.len() >= 20 && timestamp.contains('T') && timestamp.ends_with('Z'), "{line}");
        assert!(line["body"].is_string() && line["attributes"].is_object(), "{line}");
    }
    let steps: Vec<&str> = lines.iter().filter_map(|line| line["attributes"]["step"].as_str()).collect();
    let ids: Vec<&str> = demo::STEPS.iter().map(|step| step.id).collect();
    assert_eq!(steps, ids);
    let other = text(&run(&["version", "--output", "structured"]).stdout);
    assert!(!other.contains(trace), "another run is another trace");
}

/// In a pipe there is no colour and no spinner.
#[test]
fn text_in_a_pipe_is_plain() {
    let output = run(&["all"]);
    let (out, err) = (text(&output.stdout), text(&output.stderr));
    assert!(!out.contains('\x1b') && !err.contains('\x1b'), "escape bytes");
    assert!(
        out.starts_with("[INFO] Keyrealm")
            && out.contains("[OK]   [ 1/")
            && out.contains("\n[SUCCESS] ")
            && out.contains("To paste"),
        "{out}"
    );
    assert!(!err.contains("[1/"), "the counter is for terminals: {err}");
    let quiet = text(&run(&["all", "--quiet"]).stdout);
    assert!(quiet.trim().lines().count() == 1 && quiet.contains("[SUCCESS] "), "{quiet}");
}

/// Every exchange of every step, and no secret of any.
#[test]
fn verbose_shows_exchanges_without_secrets() {
    let output = run(&["all", "--verbose", "--json"]);
    let err = text(&output.stderr);
    for exchange in [
        "GET /readyz -> 200",
        "POST /oauth2/v1/token -> 200",
        "GET /oauth2/v1/authorize?response_type=code&client_id=demo-confidential-client&",
        "POST /oidc/v1/login -> 401",
        "POST /oidc/v1/consent -> 303 See Other to http://localhost:3000/callback?code=***&state=***",
        "GET /oidc/v1/userinfo -> 200",
        "-> 303 See Other to http://localhost:3000/logged-out?state=***",
    ] {
        assert!(err.contains(exchange), "{exchange} in {err}");
    }
    let document = document(&output);
    let (users, clients) = (&document["card"]["users"], &document["card"]["clients"]);
    let secrets = users.as_array().unwrap().iter().map(|user| &user["password"]);
    for secret in secrets.chain(clients.as_array().unwrap().iter().map(|client| &client["secret"])) {
        let secret = secret.as_str().unwrap();
        assert!(secret.is_empty() || !err.contains(secret), "{secret}");
    }
    assert!(!err.contains("Bearer") && !err.contains("eyJ"), "no token in the exchanges");
}

/// A kept folder is used again with its passwords; a reset makes new tenants.
#[test]
fn a_data_folder_lasts_and_can_be_reset() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().to_str().unwrap().to_owned();
    let ports = ["all", "--kms-port", "0", "--identity-port", "0", "--output", "structured", "--data-dir", &path];
    let tenant = |output: &Output| {
        assert!(output.status.success(), "{}{}", text(&output.stdout), text(&output.stderr));
        let out = text(&output.stdout);
        let begin = out.find("tenant_id ").unwrap();
        out[begin..begin + 46].to_owned()
    };
    let first = tenant(&run(&ports));
    let passwords = std::fs::read_to_string(folder.path().join("credentials.json")).unwrap();
    let second = tenant(&run(&ports));
    assert_eq!(first, second);
    assert_eq!(std::fs::read_to_string(folder.path().join("credentials.json")).unwrap(), passwords);
    let third = tenant(&run(&[&ports[..], &["--reset-demo", "--demo-password"]].concat()));
    assert_ne!(first, third, "tenant ids are drawn anew");
    assert!(std::fs::read_to_string(folder.path().join("credentials.json")).unwrap().contains("demo-admin-password"));
    for secret in ["card.txt", "credentials.json", "ca-key.pem", "kms-key.pem", "kms-unseal.key"] {
        let mode = folder.path().join(secret).metadata().unwrap().mode();
        assert_eq!(mode & 0o777, 0o600, "{secret}");
    }
}

#[test]
fn what_cannot_start_says_so_and_ends_with_2() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let told = |more: &[&str]| {
        let output = run(&[&["all", "--kms-port", &port], more].concat());
        assert_eq!(output.status.code(), Some(2));
        let err = text(&output.stderr);
        assert!(err.contains("demo: cannot start: ") && err.contains(&port), "{err}");
        output
    };
    let counts = |outcome: &Value| {
        assert!(outcome["errors"][0].to_string().contains("server.public.address"), "{outcome}");
        assert_eq!((&outcome["failed_steps"], &outcome["skipped_steps"]), (&0.into(), &demo::STEPS.len().into()));
    };
    counts(&document(&told(&["--json"])));
    let out = text(&told(&["--output", "structured"]).stdout);
    let last: Value = serde_json::from_str(out.lines().last().unwrap()).unwrap();
    assert_eq!((&last["body"], &last["severity"]), (&"FAILURE".into(), &"ERROR".into()));
    counts(&last["attributes"]["outcome"]);
    let out = text(&told(&[]).stdout);
    assert!(out.contains("[FAILURE] 0 of ") && !out.contains("cannot start"), "{out}");
    assert_eq!(run(&["all", "--output", "nonsense"]).status.code(), Some(2));
}

/// A client that was declared with another secret fails its own steps; the others pass, and the exit code is 1.
#[test]
fn a_broken_client_fails_its_own_steps_only() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().to_str().unwrap().to_owned();
    let args = ["all", "--kms-port", "0", "--identity-port", "0", "--json", "--retry", "0", "--data-dir", &path];
    assert!(run(&args).status.success());
    let file = folder.path().join("credentials.json");
    let mut credentials: Value = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
    let clients = credentials["clients"].as_array_mut().unwrap();
    let broken = clients.iter_mut().find(|client| client["client_id"] == "demo-service-client").unwrap();
    broken["secret"] = "another".into();
    std::fs::write(&file, credentials.to_string()).unwrap();
    let output = run(&args);
    assert_eq!(output.status.code(), Some(1));
    let document_of = document(&output);
    assert_eq!(failed(&document_of), ["identity.entities", "integration.scope"]);
    let error = &document_of["errors"][0];
    assert!(error["cause"]["message"].as_str().unwrap().contains("invalid_client"), "{error}");
    assert!(error["details"].to_string().contains("POST /oauth2/v1/token -> 401"), "{error}");

    // With --fail-fast all that follows is skipped, and said to be, in every format.
    let total = demo::STEPS.len();
    let document = document(&run(&[&args[..], &["--fail-fast"]].concat()));
    assert_eq!((&document["passed_steps"], &document["failed_steps"]), (&3.into(), &1.into()));
    assert_eq!(document["skipped_steps"], total - 4);
    let human = [&args[..5], &args[6..], &["--fail-fast"]].concat();
    let out = text(&run(&human).stdout);
    assert!(out.contains(&format!("\n[FAIL] [ 4/{total}] ")) && out.contains("because: "), "{out}");
    assert_eq!(out.matches("\n[SKIP] [").count(), total - 4, "{out}");
    assert!(out.contains(&format!("\n[PARTIAL] 3 of {total} steps passed, 1 failed, {} skipped", total - 4)), "{out}");
    let out = text(&run(&[&human[..], &["--output", "structured"]].concat()).stdout);
    assert_eq!(out.matches("\"status\":\"skipped\"").count(), total - 4, "{out}");
}

/// A demo that keeps running, ended when dropped.
struct Kept {
    child: Child,
    card: Value,
}

impl Kept {
    fn start() -> Self {
        let mut child = demo(&["all", "--keep", "--output", "structured"])
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let last = events(child.stdout.take().unwrap()).find(|line| line["body"] == "SUCCESS");
        Self { child, card: last.unwrap()["attributes"]["card"].clone() }
    }

    fn shell(&self, command: &str) -> String {
        let output = Command::new("sh").arg("-c").arg(command).output().unwrap();
        assert!(output.status.success(), "{command}: {}", text(&output.stderr));
        text(&output.stdout)
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if let Some(folder) = self.card["ca_bundle"].as_str().and_then(|path| Path::new(path).parent()) {
            let _ = std::fs::remove_dir_all(folder);
        }
    }
}

/// The commands of the card, pasted; `curl` and `openssl s_client` against both servers.
#[test]
fn the_cards_commands_and_real_clients_work() {
    let kept = Kept::start();
    let commands: Vec<&str> =
        kept.card["commands"].as_array().unwrap().iter().map(|c| c["command"].as_str().unwrap()).collect();
    let metadata: Value = serde_json::from_str(&kept.shell(commands[0])).unwrap();
    assert_eq!(metadata["issuer"], kept.card["issuer"]);
    let token: Value = serde_json::from_str(&kept.shell(commands[1])).unwrap();
    assert!(token["access_token"].is_string(), "{token}");
    let keys: Value = serde_json::from_str(&kept.shell(commands[2])).unwrap();
    assert!(keys["total"].as_u64().unwrap() >= 4, "{keys}");
    let ca = kept.card["ca_bundle"].as_str().unwrap();
    for server in ["issuer", "kms"] {
        let address = kept.card[server].as_str().unwrap().trim_start_matches("https://");
        let shown = kept.shell(&format!(
            "openssl s_client -connect {address} -servername localhost -verify_hostname localhost -CAfile '{ca}' -verify_return_error </dev/null 2>&1"
        ));
        assert!(shown.contains("Verification: OK") && shown.contains("TLSv1.3"), "{shown}");
        let old = Command::new("openssl")
            .args(["s_client", "-tls1_2", "-connect", address])
            .stdin(Stdio::null())
            .output()
            .unwrap();
        assert!(!old.status.success(), "TLS 1.2 is refused");
        // Without the bundle nothing is trusted.
        let untrusted = Command::new("curl").args(["--silent", kept.card[server].as_str().unwrap()]).output().unwrap();
        assert_eq!(untrusted.status.code(), Some(60));
    }
}
