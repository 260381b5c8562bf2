//! A copy of the chart, rendered by the real Helm.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde::Deserialize;
use serde_json::Value;
use tempfile::TempDir;

/// The namespace of the rendered releases.
pub(crate) const NAMESPACE: &str = "keyrealm-system";
/// The files of `charts/keyrealm/ci`.
pub(crate) const VARIANTS: &[&str] = &["defaults", "ha", "namespaced", "no-crds", "everything"];
/// The definitions that the chart has.
pub(crate) const DEFINITIONS: &[&str] = &["demoenvironments", "realms", "tenants"];

/// A copy that goes with the test.
pub(crate) struct Chart {
    folder: TempDir,
}

impl Chart {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        copy(&source(), folder.path());
        Self { folder }
    }

    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }

    /// A definition as it lies in the chart.
    pub(crate) fn definition(&self, plural: &str) -> Value {
        let folder = fs::read_dir(self.path().join("files/crds")).unwrap();
        let texts = folder.map(|entry| fs::read_to_string(entry.unwrap().path()).unwrap());
        let mut found = texts.map(|text| serde_yaml::from_str::<Value>(&text).unwrap());
        let name = format!("{plural}.keyrealm.dev");
        found.find(|one| one["metadata"]["name"] == *name).unwrap_or_else(|| panic!("{name} is not in the chart"))
    }

    /// What `helm template` says with these further arguments.
    pub(crate) fn template(&self, arguments: &[&str]) -> Output {
        let path = self.path().display().to_string();
        let mut all = vec!["template", "test", &path, "--namespace", NAMESPACE];
        all.extend(arguments);
        helm(&all)
    }

    /// The text of a variant.
    pub(crate) fn text(&self, variant: &str, arguments: &[&str]) -> String {
        let values = source().join(format!("ci/{variant}-values.yaml")).display().to_string();
        let output = self.template(&[&["--values", &values], arguments].concat());
        assert!(output.status.success(), "{variant} {arguments:?}: {}", said(&output));
        String::from_utf8(output.stdout).unwrap()
    }

    /// The objects of a variant.
    pub(crate) fn objects(&self, variant: &str, arguments: &[&str]) -> Vec<Value> {
        let text = self.text(variant, arguments);
        let documents = serde_yaml::Deserializer::from_str(&text);
        let objects = documents.map(|document| Value::deserialize(document).unwrap());
        objects.filter(|object| !object.is_null()).collect()
    }
}

/// Those of a kind.
pub(crate) fn of_kind<'a>(objects: &'a [Value], kind: &str) -> Vec<&'a Value> {
    objects.iter().filter(|object| object["kind"] == kind).collect()
}

/// The one of a kind.
pub(crate) fn the<'a>(objects: &'a [Value], kind: &str) -> &'a Value {
    let found = of_kind(objects, kind);
    assert_eq!(found.len(), 1, "{kind}");
    found[0]
}

/// The texts of a list.
pub(crate) fn texts(value: &Value) -> BTreeSet<&str> {
    value.as_array().into_iter().flatten().map(|one| one.as_str().unwrap()).collect()
}

pub(crate) fn helm(arguments: &[&str]) -> Output {
    xtask("helm", arguments)
}

/// A task of developers.
pub(crate) fn xtask(task: &str, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_xtask")).arg(task).args(arguments).output().unwrap()
}

/// All that a program said.
pub(crate) fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// The chart as it is committed.
pub(crate) fn source() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../charts/keyrealm")
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap().map(Result::unwrap) {
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}
