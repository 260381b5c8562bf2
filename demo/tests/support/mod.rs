//! What the tests of the binary share: running it, and a demo that keeps running as servers for others.
#![allow(dead_code, reason = "each test program uses its part")]

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

/// Where a CI, and a terminal, say what they are.
const ENVIRONMENT: [&str; 7] = ["CI", "GITHUB_ACTIONS", "GITLAB_CI", "JENKINS_URL", "TRAVIS", "NO_COLOR", "TERM"];

/// The program with these arguments, as on a machine of a person.
pub(crate) fn demo(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_demo"));
    for name in ENVIRONMENT {
        command.env_remove(name);
    }
    command.args(args).stdin(Stdio::null());
    command
}

pub(crate) fn run(args: &[&str]) -> Output {
    demo(args).output().unwrap()
}

pub(crate) fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// The one document of a run with `--json`.
pub(crate) fn document(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|_| panic!("{}{}", text(&output.stdout), text(&output.stderr)))
}

/// The steps that failed.
pub(crate) fn failed(document: &Value) -> Vec<&str> {
    document["errors"].as_array().unwrap().iter().map(|error| error["step"].as_str().unwrap()).collect()
}

/// Arguments for a kept folder on free ports.
pub(crate) fn kept_in(folder: &Path) -> [&str; 6] {
    ["--kms-port", "0", "--identity-port", "0", "--data-dir", folder.to_str().unwrap()]
}

/// Sends a signal.
pub(crate) fn kill(child: &Child, signal: &str) {
    assert!(Command::new("kill").args([signal, &child.id().to_string()]).status().unwrap().success());
}

/// Waits until a process has ended.
pub(crate) fn wait(child: &mut Child) -> Option<i32> {
    let began = Instant::now();
    loop {
        if let Some(status) = child.try_wait().unwrap() {
            return status.code();
        }
        if began.elapsed() > Duration::from_secs(20) {
            let _ = child.kill();
            panic!("it does not end");
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// The lines of structured output.
pub(crate) fn events(stdout: ChildStdout) -> impl Iterator<Item = Value> {
    BufReader::new(stdout).lines().map(|line| serde_json::from_str(&line.unwrap()).unwrap())
}

/// The servers of a demo that keeps running.
pub(crate) struct Servers {
    child: Child,
    pub(crate) folder: TempDir,
    pub(crate) card: Value,
}

impl Servers {
    pub(crate) fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut command = demo(&["kms", "--keep", "--output", "structured"]);
        command.args(kept_in(folder.path())).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn().unwrap();
        let last = events(child.stdout.take().unwrap()).find(|line| line["body"] == "SUCCESS");
        Self { child, folder, card: last.unwrap()["attributes"]["card"].clone() }
    }

    pub(crate) fn url(&self, server: &str) -> url::Url {
        self.card[server].as_str().unwrap().parse().unwrap()
    }

    /// The ports of Identity's and the KMS's admin listeners.
    pub(crate) fn admin(&self) -> [u16; 2] {
        [0, 1].map(|at| self.card["admin"][at].as_str().unwrap().parse::<url::Url>().unwrap().port().unwrap())
    }

    /// A run of the demo that attaches to them, with the admin listener of the KMS at this port.
    pub(crate) fn attach(&self, command: &str, kms_admin: u16, more: &[&str]) -> Output {
        let [identity_admin, _] = self.admin();
        let admin = |port: u16| format!("https://localhost:{port}");
        let mut attached = demo(&[command, "--target", "urls", "--kms-url", self.url("kms").as_str()]);
        attached.args(["--identity-url", self.url("issuer").as_str(), "--identity-admin-url", &admin(identity_admin)]);
        attached.args(["--kms-admin-url", &admin(kms_admin)]).arg("--ca").arg(self.folder.path().join("ca.pem"));
        attached.arg("--credentials").arg(self.folder.path().join("credentials.json")).args(more);
        attached.output().unwrap()
    }
}

impl Drop for Servers {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
