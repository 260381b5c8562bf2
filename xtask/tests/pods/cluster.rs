//! The bed, by the task that runs it.

use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use serde_json::Value;

/// A cluster that is up.
pub(crate) struct Cluster;

impl Cluster {
    pub(crate) fn new() -> Self {
        let status = Command::new(env!("CARGO_BIN_EXE_xtask")).args(["cluster", "--bed", "status"]).output().unwrap();
        assert!(
            status.status.success(),
            "the bed is not up; `cargo xtask test` starts it, or `cargo xtask cluster up`: {}",
            String::from_utf8_lossy(&status.stderr)
        );
        Self
    }

    /// Where it lies.
    pub(crate) fn folder(&self) -> PathBuf {
        PathBuf::from("/var/lib/keyrealm-bed")
    }

    pub(crate) fn kubeconfig(&self) -> PathBuf {
        self.folder().join("admin.kubeconfig")
    }

    pub(crate) fn kubectl(&self, arguments: &[&str]) -> String {
        self.feed(arguments, "")
    }

    /// As [`Cluster::kubectl`], where it may fail; the error is what it said.
    pub(crate) fn try_kubectl(&self, arguments: &[&str]) -> Result<String, String> {
        Self::run(arguments, "")
    }

    pub(crate) fn json(&self, arguments: &[&str]) -> Value {
        serde_json::from_str(&self.kubectl(&[arguments, &["--output", "json"]].concat())).unwrap()
    }

    /// Applies objects.
    pub(crate) fn apply(&self, objects: &[Value]) {
        let list = serde_json::json!({"apiVersion": "v1", "kind": "List", "items": objects});
        self.feed(&["apply", "--filename", "-"], &list.to_string());
    }

    fn feed(&self, arguments: &[&str], input: &str) -> String {
        Self::run(arguments, input).unwrap_or_else(|said| panic!("kubectl {arguments:?}: {said}"))
    }

    fn run(arguments: &[&str], input: &str) -> Result<String, String> {
        let mut command = Command::new(env!("CARGO_BIN_EXE_xtask"));
        command.args(["cluster", "--bed", "kubectl"]).args(arguments);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
        let output = child.wait_with_output().unwrap();
        if !output.status.success() {
            return Err(String::from_utf8_lossy(&output.stderr).into_owned());
        }
        Ok(String::from_utf8(output.stdout).unwrap())
    }
}
