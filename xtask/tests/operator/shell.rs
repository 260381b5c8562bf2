//! A shell in which `kubectl` and `helm` are those of the bed.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;

use tempfile::TempDir;

use crate::cluster::Cluster;

/// What the commands of the pages leave to whoever runs them.
const NAMES: [(&str, &str); 3] = [("NAMESPACE", "acme"), ("REALM", "main"), ("TENANT", "one")];

/// The workspace, with programs and a scratch folder of its own for what the commands write.
pub(crate) struct Shell {
    pub(crate) cluster: Cluster,
    folder: TempDir,
}

impl Shell {
    pub(crate) fn new() -> Self {
        let (cluster, folder) = (Cluster::new(), tempfile::tempdir().unwrap());
        let task = env!("CARGO_BIN_EXE_xtask");
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
        for (name, arguments) in [("kubectl", "cluster --bed kubectl"), ("helm", "helm")] {
            let path = folder.path().join(name);
            fs::write(&path, format!("#!/bin/sh\nexec '{task}' {arguments} \"$@\"\n")).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        }
        // As in a clone: what the pages name lies there, and what their commands write goes with this.
        for name in ["Cargo.toml", "Cargo.lock", "charts", "crds", "deployments"] {
            std::os::unix::fs::symlink(root.join(name), folder.path().join(name)).unwrap();
        }
        Self { cluster, folder }
    }

    /// Runs a script; the answer is what it said.
    pub(crate) fn run(&self, script: &str) -> String {
        let path = format!("{}:{}", self.folder.path().display(), std::env::var("PATH").unwrap());
        let manifest = manifest();
        let script = ["cargo run", "cargo build"].into_iter().fold(script.to_owned(), |script, command| {
            script.replace(command, &format!("{command} --manifest-path {manifest}"))
        });
        let mut command = Command::new("sh");
        command.args(["-euc", &script]).current_dir(self.folder.path()).env("PATH", path).envs(NAMES);
        let output = command.env("KUBECONFIG", self.cluster.kubeconfig()).output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        if !output.status.success() {
            panic!("{script}\n{said}{}\n{}", String::from_utf8_lossy(&output.stderr), self.state());
        }
        said
    }

    /// What stands on the cluster, for whoever reads why something failed.
    fn state(&self) -> String {
        let look = "kubectl get realms,tenants,demoenvironments -A -o yaml | grep -E 'name:|reason:|message:' || true; \
                    kubectl get pods,events -A; kubectl logs -n keyrealm-system deployment/keyrealm --tail=60 || true";
        let path = format!("{}:{}", self.folder.path().display(), std::env::var("PATH").unwrap());
        let output = Command::new("sh").args(["-c", look]).env("PATH", path).output().unwrap();
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// Takes away what this test makes, and what an earlier run left.
    pub(crate) fn clean(&self) {
        for script in [
            "kubectl delete namespace acme keyrealm-demo --ignore-not-found --timeout=120s",
            "helm uninstall keyrealm --namespace keyrealm-system --ignore-not-found --wait",
            "kubectl delete namespace keyrealm-system --ignore-not-found --timeout=120s",
            "kubectl delete customresourcedefinitions --ignore-not-found \
             realms.keyrealm.dev tenants.keyrealm.dev demoenvironments.keyrealm.dev",
        ] {
            self.run(script);
        }
    }
}

fn manifest() -> String {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join("Cargo.toml").display().to_string()
}
