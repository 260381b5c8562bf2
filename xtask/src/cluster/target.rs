//! Which cluster is meant: a given one, kind's, or our own.

use std::path::{Path, PathBuf};

use anyhow::{Result, ensure};

use super::bed::Bed;
use super::given::Given;
use super::kind::KindCluster;
use super::layout::{Kind, Version};
use crate::command::{quietly, say};
use crate::need;

/// A cluster for tests.
pub(crate) enum Target {
    /// Somebody's, by its kubeconfig.
    Given(Given),
    /// Made by kind in Docker.
    Kind(KindCluster),
    /// Our own.
    Own(Bed),
}

impl Target {
    /// What the flags and this machine say.
    ///
    /// # Errors
    /// When a name is none.
    pub(crate) fn choose(kubeconfig: Option<PathBuf>, control_plane: Option<String>, bed: bool) -> Result<Self> {
        if let Some(kubeconfig) = kubeconfig {
            return Ok(Self::Given(Given::new(kubeconfig)));
        }
        if let Some(name) = control_plane {
            return Bed::new(Kind::ControlPlane, &name).map(Self::Own);
        }
        let docker =
            || quietly(std::process::Command::new("docker").args(["version", "--format", "{{.Server}}"])).is_ok();
        match need::find("kind").filter(|_| !bed) {
            Some(program) if docker() => Ok(Self::Kind(KindCluster::new(program)?)),
            _ => Bed::new(Kind::Bed, "bed").map(Self::Own),
        }
    }

    pub(crate) fn up(&self, version: Version, install: bool) -> Result<()> {
        match self {
            Self::Given(given) => given.check(),
            Self::Kind(kind) => kind.up(),
            Self::Own(bed) => bed.up(version, install),
        }
    }

    pub(crate) fn down(&self) -> Result<()> {
        match self {
            Self::Given(_) => {
                say("the cluster is not ours: it stays");
                Ok(())
            }
            Self::Kind(kind) => kind.down(),
            Self::Own(bed) => bed.down(),
        }
    }

    pub(crate) fn status(&self) -> Result<()> {
        match self {
            Self::Own(bed) => bed.status(),
            Self::Given(_) | Self::Kind(_) => self.kubectl(&["get".to_owned(), "nodes".to_owned()]),
        }
    }

    pub(crate) fn load_image(&self, archive: &Path) -> Result<()> {
        match self {
            Self::Given(given) => given.load_image(archive),
            Self::Kind(kind) => kind.load_image(archive),
            Self::Own(bed) => bed.load_image(archive),
        }
    }

    pub(crate) fn logs(&self, program: Option<&str>) -> Result<()> {
        match self {
            Self::Own(bed) => bed.logs(program),
            Self::Given(_) | Self::Kind(_) => {
                let arguments = ["get", "events", "--all-namespaces"];
                self.kubectl(&arguments.map(str::to_owned))
            }
        }
    }

    /// How its administrator gets in, where it is up.
    pub(crate) fn kubeconfig(&self) -> Option<PathBuf> {
        let path = match self {
            Self::Given(given) => given.kubeconfig(),
            Self::Kind(kind) => kind.kubeconfig(),
            Self::Own(bed) => bed.kubeconfig()?,
        };
        path.is_file().then_some(path)
    }

    pub(crate) fn kubectl(&self, arguments: &[String]) -> Result<()> {
        let mut command = match self {
            Self::Given(given) => given.kubectl()?,
            Self::Kind(kind) => kind.kubectl()?,
            Self::Own(bed) => bed.kubectl()?,
        };
        let status = command.args(arguments).status()?;
        ensure!(status.success(), "kubectl ended with {status}");
        Ok(())
    }
}
