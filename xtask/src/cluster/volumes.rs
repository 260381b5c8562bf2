//! The default StorageClass: folders of the bed's own as `local` volumes (with hostPath, fsGroup has no effect), emptied
//! and offered again when their claim is gone.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result};
use serde_json::{Value, json};

use super::layout::{Layout, NODE_NAME};
use super::process::Daemon;
use crate::command::{OWN_PROGRAM, quietly, say};

/// How many there are.
const COUNT: usize = 20;
/// The StorageClass.
const CLASS: &str = "bed";

/// Makes the folders.
///
/// # Errors
/// When one cannot be made.
pub(crate) fn make(layout: &Layout) -> Result<()> {
    for number in 0..COUNT {
        let path = folder(layout, number);
        fs::create_dir_all(&path).with_context(|| format!("cannot make {}", path.display()))?;
    }
    Ok(())
}

fn folder(layout: &Layout, number: usize) -> PathBuf {
    layout.path("volumes").join(name(number))
}

fn name(number: usize) -> String {
    format!("bed-{number:02}")
}

/// The class and the volumes.
pub(crate) fn objects(layout: &Layout) -> Vec<Value> {
    let class = json!({
        "apiVersion": "storage.k8s.io/v1", "kind": "StorageClass",
        "metadata": {"name": CLASS, "annotations": {"storageclass.kubernetes.io/is-default-class": "true"}},
        "provisioner": "kubernetes.io/no-provisioner", "volumeBindingMode": "WaitForFirstConsumer",
    });
    let volumes = (0..COUNT).map(|number| {
        json!({
            "apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": name(number)},
            "spec": {
                "capacity": {"storage": "10Gi"}, "accessModes": ["ReadWriteOnce"], "storageClassName": CLASS,
                "persistentVolumeReclaimPolicy": "Retain", "local": {"path": folder(layout, number)},
                "nodeAffinity": {"required": {"nodeSelectorTerms": [{"matchExpressions": [
                    {"key": "kubernetes.io/hostname", "operator": "In", "values": [NODE_NAME]},
                ]}]}},
            },
        })
    });
    std::iter::once(class).chain(volumes).collect()
}

/// The program that empties released volumes: this one, copied so that a build does not replace it while it runs.
///
/// # Errors
/// When it cannot be copied.
pub(crate) fn keeper(layout: &Layout, kubectl: &Path) -> Result<Daemon> {
    let program = layout.path("keeper");
    fs::copy(OWN_PROGRAM, &program).with_context(|| format!("cannot copy this program to {}", program.display()))?;
    let arguments = ["cluster", "keep-volumes"].map(str::to_owned).into_iter();
    let paths = [kubectl.to_owned(), layout.path("pki/volumes.kubeconfig"), layout.path("volumes")];
    let arguments = arguments.chain(paths.iter().map(|path| path.display().to_string())).collect();
    Ok(Daemon { name: "volumes", program, arguments })
}

/// Follows the volumes until the API server goes.
///
/// # Errors
/// When they cannot be followed.
pub(crate) fn keep(kubectl: &Path, kubeconfig: &Path, folder: &Path) -> Result<()> {
    loop {
        let mut watch = Command::new(kubectl);
        watch.arg("--kubeconfig").arg(kubeconfig).args(["get", "persistentvolumes", "--watch", "--output"]);
        watch.arg(r#"jsonpath={.metadata.name}{" "}{.status.phase}{"\n"}"#);
        let mut child = watch.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().context("cannot start kubectl")?;
        let lines = child.stdout.take().context("kubectl has no output")?;
        for line in BufReader::new(lines).lines() {
            let line = line?;
            if let Some(name) = released(&line)
                && let Err(error) = offer_again(kubectl, kubeconfig, folder, name)
            {
                say(&format!("{name}: {error:#}"));
            }
        }
        child.wait()?;
        // A watch ends from time to time.
        std::thread::sleep(std::time::Duration::from_secs(1));
    }
}

/// The volume of a line, when its claim is gone.
fn released(line: &str) -> Option<&str> {
    let (name, phase) = line.split_once(' ')?;
    // Only names that we gave: the folder is emptied.
    let ours = name.strip_prefix("bed-").is_some_and(|number| number.len() == 2 && number.parse::<usize>().is_ok());
    (ours && (phase == "Released" || phase == "Failed")).then_some(name)
}

fn offer_again(kubectl: &Path, kubeconfig: &Path, folder: &Path, name: &str) -> Result<()> {
    let path = folder.join(name);
    fs::remove_dir_all(&path).with_context(|| format!("cannot empty {}", path.display()))?;
    fs::create_dir(&path).with_context(|| format!("cannot make {}", path.display()))?;
    let mut patch = Command::new(kubectl);
    patch.arg("--kubeconfig").arg(kubeconfig).args(["patch", "persistentvolume", name, "--type=json"]);
    patch.args(["--patch", r#"[{"op": "remove", "path": "/spec/claimRef"}]"#]);
    quietly(&mut patch)?;
    say(&format!("{name} is empty and free again"));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_our_own_released_volumes_are_emptied() {
        assert_eq!(released("bed-07 Released"), Some("bed-07"));
        assert_eq!(released("bed-07 Failed"), Some("bed-07"));
        for other in ["bed-07 Bound", "bed-07 Available", "x Released", "bed-.. Released", "bed-007 Released", ""] {
            assert_eq!(released(other), None, "{other}");
        }
    }
}
