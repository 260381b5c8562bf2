//! A real API server with the definitions of `crds/`, and kubectl.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use keyrealm_base::{ObjectId, SystemClock};
use keyrealm_crypto::SystemRandom;
use serde_json::Value;

/// A control plane that goes with the test.
pub(crate) struct ControlPlane {
    name: String,
}

/// What became of files given to kubectl.
#[derive(Default)]
pub(crate) struct Answers {
    /// What it printed on success, a line an object.
    pub(crate) taken: Vec<String>,
    /// The message of each file that was refused, by the file's name without its ending.
    pub(crate) refused: BTreeMap<String, String>,
}

impl ControlPlane {
    /// Starts one of this version, and applies `crds/`.
    pub(crate) fn start(version: &str) -> Self {
        let this = Self { name: format!("t-{}", ObjectId::new(&SystemClock, &SystemRandom)) };
        let output = this.command(&["up", "--kubernetes", version]).output().unwrap();
        assert!(output.status.success(), "{}", said(&output));
        let applied = this.kubectl(&["apply", "--filename", &definitions().to_string_lossy()]);
        assert!(applied.matches("created").count() == 3, "{applied}");
        this.kubectl(&["wait", "--for=condition=Established", "crd", "--all", "--timeout=30s"]);
        this
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_xtask"));
        command.args(["cluster", "--control-plane-only", &self.name]).args(arguments);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    /// What kubectl answers.
    pub(crate) fn ask(&self, arguments: &[&str]) -> Output {
        self.command(&[&["kubectl"], arguments].concat()).output().unwrap()
    }

    /// What kubectl prints; it must succeed.
    pub(crate) fn kubectl(&self, arguments: &[&str]) -> String {
        let output = self.ask(arguments);
        assert!(output.status.success(), "{arguments:?}: {}", said(&output));
        String::from_utf8(output.stdout).unwrap()
    }

    /// Gives objects to kubectl, each in a file of its own.
    pub(crate) fn send<'a>(
        &self,
        arguments: &[&str],
        objects: impl IntoIterator<Item = (&'a str, &'a Value)>,
    ) -> Answers {
        let folder = tempfile::tempdir().unwrap();
        for (name, object) in objects {
            std::fs::write(folder.path().join(format!("{name}.json")), object.to_string()).unwrap();
        }
        // So that there are several errors: of one alone kubectl does not say in which file it is.
        for name in ["zz-1", "zz-2"] {
            std::fs::write(folder.path().join(format!("{name}.json")), NO_OBJECT).unwrap();
        }
        let output = self.ask(&[arguments, &["--filename", &folder.path().to_string_lossy()]].concat());
        let text = said(&output);
        let mut answers = Answers::default();
        let printed = String::from_utf8(output.stdout).unwrap();
        answers.taken = printed.lines().map(str::to_owned).collect();
        for error in text.split("Error from server").skip(1) {
            let file = error.split('"').find(|part| part.contains(".json"));
            let name = file.and_then(|file| Path::new(file).file_stem()).and_then(|stem| stem.to_str());
            let name = name.unwrap_or_else(|| panic!("no file in {error}")).to_owned();
            if !name.starts_with("zz-") {
                answers.refused.insert(name, error.to_owned());
            }
        }
        answers
    }
}

const NO_OBJECT: &str = r#"{"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "No object"}}"#;

impl Drop for ControlPlane {
    fn drop(&mut self) {
        let _ = self.command(&["down"]).status();
    }
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// The folder of the committed definitions.
pub(crate) fn definitions() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../crds")
}
