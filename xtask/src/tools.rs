//! Programs that are built from Go modules: each folder of `xtask/tools` has a `go.mod` and a `go.sum`, no Go source. The
//! binaries are kept outside the clone, by a hash of those files and of the flags, and are whole or not there.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};
use keyrealm_crypto::sha256_hex;

use crate::command::{output, root, run};
use crate::lock::FileLock;
use crate::{need, space};

/// What a cold build of the largest tool needs in MiB, Go's own cache included.
const BUILD_SPACE: u64 = 6 * 1024;

/// A module with the programs that are built from it.
pub(crate) struct Tool {
    /// The folder below `xtask/tools`.
    folder: &'static str,
    /// Program and package.
    programs: &'static [(&'static str, &'static str)],
    /// Variables that the linker sets: a program does not know its version from the module alone.
    variables: &'static [(&'static str, &'static str)],
}

/// The only database of Kubernetes.
pub(crate) const ETCD: Tool =
    Tool { folder: "etcd", programs: &[("etcd", "go.etcd.io/etcd/server/v3")], variables: &[] };
/// Names of services and pods.
pub(crate) const COREDNS: Tool =
    Tool { folder: "coredns", programs: &[("coredns", "github.com/coredns/coredns")], variables: &[] };
/// The plugin of the Docker client.
pub(crate) const COMPOSE: Tool = Tool {
    folder: "compose",
    programs: &[("docker-compose", "github.com/docker/compose/v2/cmd")],
    variables: &[("github.com/docker/compose/v2/internal.Version", "v2.40.3")],
};
/// Installs the chart, and renders it in tests.
pub(crate) const HELM: Tool = Tool {
    folder: "helm",
    programs: &[("helm", "helm.sh/helm/v3/cmd/helm")],
    variables: &[
        ("helm.sh/helm/v3/internal/version.version", "v3.22.0"),
        // What it takes a cluster for that it does not ask: without these, one of 1.20.
        ("helm.sh/helm/v3/pkg/chartutil.k8sVersionMajor", "1"),
        ("helm.sh/helm/v3/pkg/chartutil.k8sVersionMinor", "37"),
        ("helm.sh/helm/v3/pkg/lint/rules.k8sVersionMajor", "1"),
        ("helm.sh/helm/v3/pkg/lint/rules.k8sVersionMinor", "37"),
    ],
};
/// Holds manifests against the schemas of Kubernetes.
pub(crate) const KUBECONFORM: Tool = Tool {
    folder: "kubeconform",
    programs: &[("kubeconform", "github.com/yannh/kubeconform/cmd/kubeconform")],
    variables: &[("main.version", "v0.8.0")],
};
/// The version that runs pods: later ones refuse cgroup v1.
pub(crate) const KUBERNETES_1_34: Tool = Tool {
    folder: "kubernetes-1.34",
    programs: &[
        ("kube-apiserver", "k8s.io/kubernetes/cmd/kube-apiserver"),
        ("kube-controller-manager", "k8s.io/kubernetes/cmd/kube-controller-manager"),
        ("kube-scheduler", "k8s.io/kubernetes/cmd/kube-scheduler"),
        ("kubelet", "k8s.io/kubernetes/cmd/kubelet"),
        ("kube-proxy", "k8s.io/kubernetes/cmd/kube-proxy"),
        ("kubectl", "k8s.io/kubernetes/cmd/kubectl"),
    ],
    variables: &[
        ("k8s.io/component-base/version.gitVersion", "v1.34.4"),
        ("k8s.io/component-base/version.gitMajor", "1"),
        ("k8s.io/component-base/version.gitMinor", "34"),
    ],
};
/// A newer API server, for tests without pods.
pub(crate) const KUBERNETES_1_37: Tool = Tool {
    folder: "kubernetes-1.37",
    programs: &[
        ("kube-apiserver", "k8s.io/kubernetes/cmd/kube-apiserver"),
        ("kube-controller-manager", "k8s.io/kubernetes/cmd/kube-controller-manager"),
        ("kubectl", "k8s.io/kubernetes/cmd/kubectl"),
    ],
    variables: &[
        ("k8s.io/component-base/version.gitVersion", "v1.37.2"),
        ("k8s.io/component-base/version.gitMajor", "1"),
        ("k8s.io/component-base/version.gitMinor", "37"),
    ],
};

impl Tool {
    /// The folder with the programs; they are built first where they are missing.
    ///
    /// # Errors
    /// When Go is missing or too old, the disk is nearly full, or the build fails.
    pub(crate) fn programs(&self) -> Result<PathBuf> {
        let module = root().join("xtask/tools").join(self.folder);
        let read = |name: &str| {
            fs::read_to_string(module.join(name)).with_context(|| format!("cannot read {name} of {}", self.folder))
        };
        let (go_mod, go_sum) = (read("go.mod")?, read("go.sum")?);
        made_once(self.folder, &self.key(&go_mod, &go_sum), BUILD_SPACE, |half| {
            let go = go(&go_mod, self.folder)?;
            for (program, package) in self.programs {
                let mut build = Command::new(&go);
                build.current_dir(&module).env("CGO_ENABLED", "0").env("GOTOOLCHAIN", "local");
                build.args(["build", "-trimpath", "-mod=readonly", "-buildvcs=false"]);
                build.arg(format!("-ldflags={}", self.linker_flags())).arg("-o").arg(half.join(program)).arg(package);
                run(&format!("building {program} (once)"), &mut build)?;
            }
            Ok(())
        })
    }

    /// The name of the folder in the cache.
    fn key(&self, go_mod: &str, go_sum: &str) -> String {
        let names: Vec<&str> = self.programs.iter().map(|(name, _)| *name).collect();
        key(self.folder, &format!("{go_mod}\n{go_sum}\n{}\n{}", self.linker_flags(), names.join(" ")))
    }

    fn linker_flags(&self) -> String {
        let mut flags = "-s -w".to_owned();
        for (name, value) in self.variables {
            flags.push_str(&format!(" -X {name}={value}"));
        }
        flags
    }

    /// A file that the module of Kubernetes brings with it: the C source of the pause container, the OpenAPI document.
    ///
    /// # Errors
    /// When the module cannot be had.
    pub(crate) fn source(&self, path: &str) -> Result<PathBuf> {
        let module = root().join("xtask/tools").join(self.folder);
        let go_mod = fs::read_to_string(module.join("go.mod"))?;
        let mut list = Command::new(go(&go_mod, self.folder)?);
        list.current_dir(module).env("GOTOOLCHAIN", "local");
        list.args(["mod", "download", "-json", "k8s.io/kubernetes"]);
        let answer: serde_json::Value = serde_json::from_str(&output("go mod download", &mut list)?)?;
        let folder = answer.get("Dir").and_then(serde_json::Value::as_str).context("go names no folder")?;
        Ok(Path::new(folder).join(path))
    }
}

/// A name for the cache that changes with what the thing is made from.
pub(crate) fn key(name: &str, content: &str) -> String {
    let hash = sha256_hex(content.as_bytes());
    format!("{name}-{}", hash.get(..16).unwrap_or(&hash))
}

/// A folder of the cache that is whole or not there: the first who needs it makes it, in a folder beside it.
///
/// # Errors
/// When the disk is nearly full, or it cannot be made.
pub(crate) fn made_once(
    name: &str,
    key: &str,
    mebibytes: u64,
    make: impl FnOnce(&Path) -> Result<()>,
) -> Result<PathBuf> {
    let tools = need::cache()?.join("tools");
    fs::create_dir_all(&tools)?;
    let folder = tools.join(key);
    if folder.is_dir() {
        return Ok(folder);
    }
    let what = format!("building {name}");
    // Two at once: the second waits and finds it made.
    let _lock = FileLock::wait(&tools.join(format!("{name}.lock")), &what)?;
    if folder.is_dir() {
        return Ok(folder);
    }
    space::require(&tools, mebibytes, &what)?;
    let half = tools.join(format!("{key}.half"));
    // What an interrupted run left.
    let _ = fs::remove_dir_all(&half);
    fs::create_dir_all(&half)?;
    make(&half)?;
    fs::rename(&half, &folder).with_context(|| format!("cannot make {}", folder.display()))?;
    Ok(folder)
}

/// The Go that builds: `KEYREALM_GO`, or the one on PATH.
fn go(go_mod: &str, folder: &str) -> Result<PathBuf> {
    let needed = required_version(go_mod).with_context(|| format!("{folder}/go.mod names no version of Go"))?;
    let mend = format!(
        "install Go {}.{} or newer from go.dev/dl (Debian's is too old) and put it on PATH, or name the program in KEYREALM_GO",
        needed.0, needed.1
    );
    let go = std::env::var_os("KEYREALM_GO").map(PathBuf::from).or_else(|| need::find("go"));
    let Some(go) = go else { bail!("Go is needed to build {folder} and is not there: {mend}") };
    let said = output("go version", Command::new(&go).arg("version")).with_context(|| mend.clone())?;
    let found = installed_version(&said).with_context(|| format!("`{}` names no version", said.trim()))?;
    ensure!(found >= needed, "{} is {}.{}, too old to build {folder}: {mend}", go.display(), found.0, found.1);
    Ok(go)
}

/// The `go` line of a module.
fn required_version(go_mod: &str) -> Option<(u32, u32)> {
    go_mod.lines().find_map(|line| line.strip_prefix("go ")).and_then(two_numbers)
}

/// From `go version go1.26.8 linux/amd64`.
fn installed_version(said: &str) -> Option<(u32, u32)> {
    said.split_whitespace()
        .find_map(|word| word.strip_prefix("go").filter(|rest| !rest.is_empty()))
        .and_then(two_numbers)
}

fn two_numbers(text: &str) -> Option<(u32, u32)> {
    let mut parts = text.trim().split(['.', 'r', 'b']);
    Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_of_go_are_compared_as_numbers() {
        assert_eq!(required_version("module x\n\ngo 1.24.0\n"), Some((1, 24)));
        assert_eq!(required_version("module x\n"), None);
        assert_eq!(installed_version("go version go1.26.8 linux/amd64\n"), Some((1, 26)));
        assert_eq!(installed_version("go version go1.27rc1 linux/amd64\n"), Some((1, 27)));
        assert!(installed_version("go version go1.9 linux/amd64").unwrap() < (1, 24));
        assert_eq!(installed_version("gcc 12"), None);
    }

    #[test]
    fn what_is_kept_is_known_by_modules_and_flags() {
        let key = KUBERNETES_1_34.key("a", "b");
        assert!(key.starts_with("kubernetes-1.34-"));
        assert_eq!(key, KUBERNETES_1_34.key("a", "b"));
        assert_ne!(key, KUBERNETES_1_34.key("a", "c"));
        assert_ne!(key, Tool { variables: &[], ..KUBERNETES_1_34 }.key("a", "b"));
        let flags = KUBERNETES_1_34.linker_flags();
        assert!(
            flags.contains("gitVersion=v1.34.4") && flags.contains("gitMajor=1 ") && flags.ends_with("gitMinor=34")
        );
    }
}
