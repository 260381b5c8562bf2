//! Images for the bed: a tar file of them, and its way into containerd.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use super::engine::Engine;
use crate::command::run;
use crate::{need, space};

/// Room for the tar file of all images.
const SPACE: u64 = 1024;

/// Where the images lie for the bed.
///
/// # Errors
/// When there is no tool cache.
pub(crate) fn tar() -> Result<PathBuf> {
    Ok(need::cache()?.join("images/keyrealm.tar"))
}

/// Writes the images to [`tar`].
///
/// # Errors
/// When the disk is full or the engine fails; then the file is as before.
pub(crate) fn save(engine: &Engine, references: &[String]) -> Result<PathBuf> {
    let tar = tar()?;
    let half = tar.with_extension("half");
    space::require(tar.parent().unwrap_or(&tar), SPACE, "the tar file of the images")?;
    run("docker save", engine.docker(["save", "--output"]).arg(&half).args(references))?;
    fs::rename(&half, &tar).with_context(|| format!("cannot name {}", tar.display()))?;
    Ok(tar)
}

/// Puts the images of a tar file into the containerd with that socket, where a kubelet finds them.
///
/// # Errors
/// When containerd does not answer or the file is no archive of images.
#[allow(dead_code, reason = "the bed gives the socket")]
pub(crate) fn load(socket: &Path, tar: &Path) -> Result<()> {
    run("ctr images import", Command::new("ctr").args(arguments(socket, tar)))
        .with_context(|| format!("containerd at {} does not take the images of {}", socket.display(), tar.display()))
}

fn arguments(socket: &Path, tar: &Path) -> Vec<String> {
    let (socket, tar) = (socket.display().to_string(), tar.display().to_string());
    ["--address", &socket, "--namespace", "k8s.io", "images", "import", &tar].map(str::to_owned).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn images_go_where_the_kubelet_looks() {
        let arguments = arguments(Path::new("/run/c.sock"), Path::new("/images.tar")).join(" ");
        assert!(arguments.starts_with("--address /run/c.sock --namespace k8s.io images import "), "{arguments}");
        assert!(arguments.ends_with("/images.tar"), "{arguments}");
    }
}
