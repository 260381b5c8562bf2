//! Control planes without pods: real API servers, on free ports, by the task that developers use.
#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests fail the test")]

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use keyrealm_base::{ObjectId, SystemClock};
use keyrealm_crypto::SystemRandom;

/// A control plane that goes with the test.
struct ControlPlane {
    name: String,
}

impl ControlPlane {
    fn new() -> Self {
        Self { name: format!("t-{}", ObjectId::new(&SystemClock, &SystemRandom)) }
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_xtask"));
        command.args(["cluster", "--control-plane-only", &self.name]).args(arguments);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    fn run(&self, arguments: &[&str]) -> String {
        let output = self.command(arguments).output().unwrap();
        assert!(output.status.success(), "{arguments:?}: {}", said(&output));
        String::from_utf8(output.stdout).unwrap()
    }

    fn up(&self, version: &str) -> Output {
        let output = self.command(&["up", "--kubernetes", version]).output().unwrap();
        assert!(output.status.success(), "{}", said(&output));
        output
    }

    /// Ids of all processes with the mark of this cluster.
    fn processes(&self) -> Vec<PathBuf> {
        let mark = format!("/clusters/{}\0", self.name);
        let entries = std::fs::read_dir("/proc").unwrap().flatten().map(|entry| entry.path());
        let marked = |path: &PathBuf| {
            std::fs::read(path.join("environ")).is_ok_and(|text| String::from_utf8_lossy(&text).contains(&mark))
        };
        entries.filter(marked).collect()
    }
}

impl Drop for ControlPlane {
    fn drop(&mut self) {
        let _ = self.command(&["down"]).status();
    }
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn two_versions_run_at_once_with_real_controllers() {
    let (older, newer) = (ControlPlane::new(), ControlPlane::new());
    println!("{}", said(&older.up("1.34")));
    println!("{}", said(&newer.up("1.37")));
    for (cluster, version) in [(&older, "v1.34"), (&newer, "v1.37")] {
        let text = cluster.run(&["kubectl", "version"]);
        assert!(text.contains(&format!("Server Version: {version}")), "{text}");
        // Garbage is collected and namespaces end: that is the controllers' work.
        cluster.run(&["kubectl", "create", "namespace", "ends"]);
        cluster.run(&["kubectl", "create", "configmap", "content", "--namespace", "ends"]);
        cluster.run(&["kubectl", "delete", "namespace", "ends", "--wait=true", "--timeout=60s"]);
    }
    let status = older.command(&["status"]).output().unwrap();
    let text = said(&status);
    assert!(status.status.success() && text.contains("kube-apiserver") && text.contains("etcd"), "{text}");
    // A second start of one that runs changes nothing.
    let pids = older.processes();
    assert!(said(&older.up("1.34")).contains("runs already"));
    assert_eq!(older.processes(), pids);
}

#[test]
fn a_start_that_was_killed_leaves_nothing_in_the_way_of_the_next() {
    let cluster = ControlPlane::new();
    let mut killed = cluster.command(&["up"]).spawn().unwrap();
    wait_for_processes(&cluster, &mut killed);
    killed.kill().unwrap();
    killed.wait().unwrap();
    let orphans = cluster.processes();
    assert!(!orphans.is_empty(), "they outlive the task");
    let text = said(&cluster.up("1.34"));
    assert!(text.contains("is ready"), "{text}");
    assert!(cluster.processes().iter().all(|process| !orphans.contains(process)), "the old ones are gone");
    cluster.run(&["down"]);
    assert!(cluster.processes().is_empty());
    // Twice is no error.
    let again = cluster.command(&["down"]).output().unwrap();
    assert!(again.status.success() && said(&again).contains("there is no cluster"));
}

fn wait_for_processes(cluster: &ControlPlane, task: &mut Child) {
    let began = Instant::now();
    // etcd and the API server.
    while cluster.processes().len() < 2 {
        assert!(began.elapsed() < Duration::from_secs(300) && task.try_wait().unwrap().is_none());
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn of_two_starts_at_once_the_second_is_told_who_is_first() {
    let cluster = ControlPlane::new();
    let mut first = cluster.command(&["up"]).spawn().unwrap();
    wait_for_processes(&cluster, &mut first);
    let second = cluster.command(&["up"]).output().unwrap();
    let text = said(&second);
    assert!(!second.status.success(), "{text}");
    assert!(text.contains(&format!("process {} (cluster up)", first.id())), "{text}");
    assert!(first.wait_with_output().unwrap().status.success());
}

#[test]
fn a_given_cluster_is_named_and_refused_when_keyrealm_is_in_use_there() {
    let cluster = ControlPlane::new();
    cluster.up("1.34");
    let status = said(&cluster.command(&["status"]).output().unwrap());
    let kubeconfig = status.lines().find_map(|line| line.split_once("KUBECONFIG=")).unwrap().1.to_owned();
    let given = |arguments: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_xtask"));
        command.args(["cluster", "--kubeconfig", &kubeconfig]).args(arguments);
        // Whatever the caller's own tools would read.
        command.env("KUBECONFIG", "/nowhere").env("HOME", std::env::var("HOME").unwrap());
        command.output().unwrap()
    };
    let named = said(&given(&["up"]));
    assert!(named.contains("using https://127.0.0.1:") && named.contains("keyrealm-bed"), "{named}");
    let definition = |labels: &str| {
        format!(
            "{{apiVersion: apiextensions.k8s.io/v1, kind: CustomResourceDefinition, metadata: {{name: \
             realms.keyrealm.dev, labels: {labels}}}, spec: {{group: keyrealm.dev, scope: Namespaced, names: {{kind: \
             Realm, plural: realms}}, versions: [{{name: v1alpha1, served: true, storage: true, schema: \
             {{openAPIV3Schema: {{type: object}}}}}}]}}}}"
        )
    };
    let file = tempfile::NamedTempFile::new().unwrap();
    let apply = |labels: &str| {
        std::fs::write(file.path(), definition(labels)).unwrap();
        cluster.run(&["kubectl", "apply", "--filename", file.path().to_str().unwrap()]);
    };
    apply("{}");
    let refused = given(&["up"]);
    let text = said(&refused);
    assert!(!refused.status.success() && text.contains("realms.keyrealm.dev"), "{text}");
    apply("{keyrealm.dev/test-run: one}");
    assert!(given(&["up"]).status.success());
    // It is not ours to stop.
    assert!(said(&given(&["down"])).contains("stays"));
    assert!(!cluster.processes().is_empty());
}

#[test]
fn without_rights_or_go_it_says_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    // Where anybody can run it.
    let program = folder.path().join("xtask");
    std::fs::copy(env!("CARGO_BIN_EXE_xtask"), &program).unwrap();
    Command::new("chmod").args(["-R", "a+rX"]).arg(folder.path()).status().unwrap();
    let nobody = |path: &str, arguments: &[&str]| {
        let mut command = Command::new("setpriv");
        command.args(["--reuid=65534", "--regid=65534", "--clear-groups", "--"]).arg(&program).args(arguments);
        command.env("PATH", path).env("XDG_CACHE_HOME", cache(folder.path())).env_remove("KEYREALM_GO");
        let output = command.output().unwrap();
        assert!(!output.status.success());
        said(&output)
    };
    let text = nobody("/usr/sbin:/usr/bin:/bin", &["cluster", "--bed", "up"]);
    assert!(text.contains("only root") && text.contains("--control-plane-only"), "{text}");
    let text = nobody("/usr/sbin:/usr/bin:/bin", &["cluster", "--control-plane-only", "x", "up"]);
    assert!(text.contains("Go is needed") && text.contains("KEYREALM_GO"), "{text}");
}

/// A cache that nobody else fills and everybody may write.
fn cache(folder: &Path) -> PathBuf {
    let path = folder.join("cache");
    if std::fs::create_dir(&path).is_ok() {
        Command::new("chmod").arg("a+rwX").arg(&path).status().unwrap();
    }
    path
}
