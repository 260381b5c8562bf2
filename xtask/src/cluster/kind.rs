//! A cluster of kind, where it is installed and Docker runs.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Result;

use super::programs;
use crate::command::{quietly, run, say};
use crate::need;

/// Its name.
const NAME: &str = "keyrealm";

/// The cluster.
pub(crate) struct KindCluster {
    program: PathBuf,
    kubeconfig: PathBuf,
}

impl KindCluster {
    pub(crate) fn new(program: PathBuf) -> Result<Self> {
        Ok(Self { program, kubeconfig: need::cache()?.join("kind.kubeconfig") })
    }

    fn kind(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        command.args(arguments).args(["--name", NAME]);
        command
    }

    /// Makes it, unless it is there.
    pub(crate) fn up(&self) -> Result<()> {
        let there = quietly(Command::new(&self.program).args(["get", "clusters"]))?;
        if there.lines().any(|line| line == NAME) {
            say("kind's cluster is there already");
            return run(
                "kind export kubeconfig",
                self.kind(&["export", "kubeconfig"]).arg("--kubeconfig").arg(&self.kubeconfig),
            );
        }
        let mut create = self.kind(&["create", "cluster", "--wait", "120s"]);
        run("kind create cluster", create.arg("--kubeconfig").arg(&self.kubeconfig))
    }

    pub(crate) fn down(&self) -> Result<()> {
        run("kind delete cluster", &mut self.kind(&["delete", "cluster"]))
    }

    pub(crate) fn load_image(&self, archive: &Path) -> Result<()> {
        run("kind load image-archive", self.kind(&["load", "image-archive"]).arg(archive))
    }

    pub(crate) fn kubeconfig(&self) -> PathBuf {
        self.kubeconfig.clone()
    }

    pub(crate) fn kubectl(&self) -> Result<Command> {
        programs::kubectl_for(&self.kubeconfig)
    }
}
