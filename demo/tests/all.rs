//! The demo as people and programs run it: the binary itself.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "helpers of tests fail the test")]

use std::io::{BufRead, BufReader};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

use serde_json::Value;

fn demo(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_demo"));
    command.arg("all").args(args).stdin(Stdio::null()).env_remove("CI").env_remove("NO_COLOR");
    command
}

fn run(args: &[&str]) -> Output {
    demo(args).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

#[test]
fn every_step_passes_and_json_is_one_document() {
    let output = run(&["--json"]);
    assert!(output.status.success(), "{}{}", text(&output.stdout), text(&output.stderr));
    let document: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((document["success"].as_bool(), document["failed_steps"].as_u64()), (Some(true), Some(0)));
    assert_eq!(document["total_steps"], demo::STEPS.len());
    assert_eq!(document["passed_steps"], document["total_steps"]);
    assert_eq!(document["card"]["users"].as_array().unwrap().len(), 4);
}

#[test]
fn structured_is_one_object_a_line() {
    let output = run(&["--output", "structured"]);
    let lines: Vec<Value> = text(&output.stdout).lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    for line in &lines {
        for member in ["timestamp", "severity", "body", "attributes"] {
            assert!(!line[member].is_null(), "{member} in {line}");
        }
    }
    let steps: Vec<&str> = lines.iter().filter_map(|line| line["attributes"]["step"].as_str()).collect();
    let ids: Vec<&str> = demo::STEPS.iter().map(|step| step.id).collect();
    assert_eq!(steps, ids);
}

/// In a pipe there is no colour and no spinner.
#[test]
fn text_in_a_pipe_is_plain() {
    let output = run(&[]);
    let (out, err) = (text(&output.stdout), text(&output.stderr));
    assert!(!out.contains('\x1b') && !err.contains('\x1b'), "escape bytes");
    assert!(out.contains("[OK]   [ 1/") && out.contains("SUCCESS: ") && out.contains("To paste"), "{out}");
    let quiet = text(&run(&["--quiet"]).stdout);
    assert!(quiet.lines().count() < 6 && quiet.contains("SUCCESS"), "{quiet}");
    let verbose = run(&["--verbose"]);
    assert!(text(&verbose.stderr).contains("POST /oauth2/v1/token -> 200"));
    assert!(!text(&verbose.stderr).contains("Bearer"), "no secret in the exchanges");
}

/// A kept folder is used again with its passwords; a reset makes new tenants.
#[test]
fn a_data_folder_lasts_and_can_be_reset() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().to_str().unwrap().to_owned();
    let ports = ["--kms-port", "0", "--identity-port", "0", "--output", "structured", "--data-dir", &path];
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
    let output = run(&["--kms-port", &port, "--json"]);
    assert_eq!(output.status.code(), Some(2));
    let document: Value = serde_json::from_slice(&output.stdout).unwrap();
    let told = format!("{}{}", document["errors"][0], text(&output.stderr));
    assert!(told.contains(&port) && told.contains("server.public.address"), "{told}");
    assert_eq!(run(&["--output", "nonsense"]).status.code(), Some(2));
}

/// A client that was declared with another secret fails its own steps; the others pass, and the exit code is 1.
#[test]
fn a_broken_client_fails_its_own_steps_only() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().to_str().unwrap().to_owned();
    let args = ["--kms-port", "0", "--identity-port", "0", "--json", "--retry", "0", "--data-dir", &path];
    assert!(run(&args).status.success());
    let file = folder.path().join("credentials.json");
    let mut credentials: Value = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
    let clients = credentials["clients"].as_array_mut().unwrap();
    let broken = clients.iter_mut().find(|client| client["client_id"] == "demo-service-client").unwrap();
    broken["secret"] = "another".into();
    std::fs::write(&file, credentials.to_string()).unwrap();
    let output = run(&args);
    assert_eq!(output.status.code(), Some(1));
    let document: Value = serde_json::from_slice(&output.stdout).unwrap();
    let failed: Vec<&str> =
        document["errors"].as_array().unwrap().iter().map(|error| error["step"].as_str().unwrap()).collect();
    assert_eq!(failed, ["identity.entities", "integration.scope"]);
    assert!(document["errors"][0]["cause"][0].as_str().unwrap().contains("invalid_client"), "{document}");
    let output = run(&[&args[..], &["--fail-fast"]].concat());
    let document: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(document["failed_steps"], 1);
    assert!(document["skipped_steps"].as_u64().unwrap() > 10);
}

/// A demo that keeps running, ended when dropped.
struct Kept {
    child: Child,
    card: Value,
}

impl Kept {
    fn start() -> Self {
        let mut child =
            demo(&["--keep", "--output", "structured"]).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let last = lines
            .map(|line| serde_json::from_str::<Value>(&line.unwrap()).unwrap())
            .find(|line| line["body"] == "SUCCESS");
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
