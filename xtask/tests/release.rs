//! The chart as a release on real API servers: control planes, whose controllers make the pod and whose admission looks at it,
//! without a node to run it.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "helpers of tests fail the test")]
#![allow(dead_code, reason = "what is shared with the tests of the chart")]

#[path = "chart/chart.rs"]
mod chart;

use std::process::{Command, Output};
use std::time::{Duration, Instant};

use chart::{Chart, NAMESPACE, VARIANTS, said, source};
use keyrealm_base::{ObjectId, SystemClock};
use keyrealm_crypto::SystemRandom;

/// A control plane that goes with the test.
struct ControlPlane {
    name: String,
    kubeconfig: String,
}

impl ControlPlane {
    fn up(version: &str) -> Self {
        let name = format!("t-{}", ObjectId::new(&SystemClock, &SystemRandom));
        let mut plane = Self { name, kubeconfig: String::new() };
        let output = plane.task(&["up", "--kubernetes", version]);
        assert!(output.status.success(), "{}", said(&output));
        let text = said(&output);
        let line = text.lines().find_map(|line| line.split_once("export KUBECONFIG="));
        plane.kubeconfig = line.unwrap().1.trim().to_owned();
        plane
    }

    fn task(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_xtask"));
        command.args(["cluster", "--control-plane-only", &self.name]).args(arguments).output().unwrap()
    }

    fn kubectl(&self, line: &str) -> String {
        let arguments: Vec<&str> = ["kubectl"].into_iter().chain(line.split(' ')).collect();
        let output = self.task(&arguments);
        assert!(output.status.success(), "{line}: {}", said(&output));
        String::from_utf8(output.stdout).unwrap()
    }

    fn try_helm(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_xtask"));
        command.env("KEYREALM_TEST_KUBECONFIG", &self.kubeconfig).arg("helm").args(arguments);
        command.args(["--namespace", NAMESPACE]).output().unwrap()
    }

    fn helm(&self, arguments: &[&str]) {
        let output = self.try_helm(arguments);
        assert!(output.status.success(), "{arguments:?}: {}", said(&output));
    }

    /// Namespaces, of which the release's lets in restricted pods alone.
    fn namespaces(&self) {
        for name in [NAMESPACE, "team-a", "team-b"] {
            self.kubectl(&format!("create namespace {name}"));
        }
        self.kubectl(&format!("label namespace {NAMESPACE} pod-security.kubernetes.io/enforce=restricted"));
    }

    fn definitions(&self) -> usize {
        let found = self.kubectl("get customresourcedefinitions --output name");
        found.lines().filter(|line| line.ends_with(".keyrealm.dev")).count()
    }

    /// Waits until the controllers have made a pod of the newest revision, hence admission let it in. No more of them come:
    /// none gets ready here.
    fn pod_is_made(&self) {
        let deadline = Instant::now() + Duration::from_secs(30);
        loop {
            let line = format!(
                "get deployments --namespace {NAMESPACE} --output \
                 jsonpath={{.items[0].metadata.generation}},{{.items[0].status.observedGeneration}},{{.items[0].status.updatedReplicas}}"
            );
            let status = self.kubectl(&line);
            let mut numbers = status.split(',').map(|text| text.parse::<u32>().unwrap_or(0));
            let (generation, observed, updated) = (numbers.next(), numbers.next(), numbers.next());
            if generation == observed && updated.is_some_and(|updated| updated > 0) {
                return;
            }
            if Instant::now() > deadline {
                panic!("{status}: {}", self.kubectl(&format!("get events --namespace {NAMESPACE}")));
            }
            std::thread::sleep(Duration::from_millis(200));
        }
    }
}

impl Drop for ControlPlane {
    fn drop(&mut self) {
        self.task(&["down"]);
    }
}

fn values(variant: &str) -> String {
    source().join(format!("ci/{variant}-values.yaml")).display().to_string()
}

/// Over all variants, there and back: what one made and the next has not goes, but the definitions.
#[test]
fn a_release_is_installed_changed_and_uninstalled() {
    let plane = ControlPlane::up("1.34");
    plane.namespaces();
    let chart = Chart::new();
    let path = chart.path().display().to_string();
    plane.helm(&["install", "test", &path]);
    plane.pod_is_made();
    assert_eq!(plane.definitions(), 3);

    for variant in VARIANTS.iter().rev() {
        // One variant gives them up, the next has them again.
        plane.helm(&["upgrade", "test", &path, "--values", &values(variant), "--set", "crds.keep=true"]);
        plane.pod_is_made();
        let roles = plane.kubectl("get roles --namespace team-b --output name");
        assert_eq!(!roles.is_empty(), *variant == "namespaced", "{variant}: {roles}");
        assert_eq!(plane.definitions(), 3, "{variant}");
    }

    let account = format!("--as system:serviceaccount:{NAMESPACE}:test-keyrealm");
    for (right, expected) in [
        ("get secrets --all-namespaces", "yes"),
        ("create deployments.apps --namespace team-a", "yes"),
        (&format!("update leases.coordination.k8s.io/test-keyrealm --namespace {NAMESPACE}"), "yes"),
        (&format!("update leases.coordination.k8s.io/other --namespace {NAMESPACE}"), "no"),
        ("get customresourcedefinitions.apiextensions.k8s.io/realms.keyrealm.dev", "no"),
        ("get pods --all-namespaces", "no"),
        ("create clusterroles.rbac.authorization.k8s.io", "no"),
    ] {
        let arguments = format!("auth can-i {right} {account}");
        let arguments: Vec<&str> = ["kubectl"].into_iter().chain(arguments.split(' ')).collect();
        // kubectl ends with an error where the answer is no.
        let answer = String::from_utf8(plane.task(&arguments).stdout).unwrap();
        assert_eq!(answer.lines().last(), Some(expected), "{right}: {answer}");
    }

    plane.helm(&["uninstall", "test"]);
    assert_eq!(plane.definitions(), 3, "and with them what users have");
    assert_eq!(plane.kubectl(&format!("get deployments,roles --namespace {NAMESPACE} --output name")), "");

    // Another release does not take them unawares.
    let output = plane.try_helm(&["install", "other", &path]);
    assert!(!output.status.success() && said(&output).contains("invalid ownership metadata"), "{}", said(&output));
    plane.helm(&["install", "other", &path, "--take-ownership", "--set", "crds.keep=false"]);
    plane.helm(&["uninstall", "other"]);
    let deadline = Instant::now() + Duration::from_secs(30);
    while plane.definitions() > 0 {
        assert!(Instant::now() < deadline, "crds.keep=false takes them away");
        std::thread::sleep(Duration::from_millis(200));
    }
}

#[test]
fn the_newest_api_server_takes_it() {
    let plane = ControlPlane::up("1.37");
    plane.namespaces();
    let chart = Chart::new();
    let path = chart.path().display().to_string();
    plane.helm(&["install", "test", &path, "--values", &values("everything")]);
    plane.pod_is_made();
    plane.helm(&["upgrade", "test", &path, "--values", &values("ha")]);
    plane.pod_is_made();
    plane.helm(&["rollback", "test", "1"]);
    plane.pod_is_made();
}
