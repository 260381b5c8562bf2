//! The programs of a cluster, built or installed.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Result;

use super::layout::{Kind, Version};
use crate::need;
use crate::tools::{COREDNS, ETCD, KUBERNETES_1_34, KUBERNETES_1_37};

/// Where the programs of a cluster are.
pub(crate) struct Programs {
    /// etcd.
    pub(crate) etcd: PathBuf,
    /// The API server.
    pub(crate) api_server: PathBuf,
    /// The controllers.
    pub(crate) controller_manager: PathBuf,
    /// The client.
    pub(crate) kubectl: PathBuf,
    /// CoreDNS, for the bed.
    pub(crate) coredns: PathBuf,
    kubernetes: PathBuf,
}

impl Programs {
    /// Builds what is missing.
    ///
    /// # Errors
    /// When Go is missing or a build fails.
    pub(crate) fn build(kind: Kind, version: Version) -> Result<Self> {
        let kubernetes = kubernetes(version)?;
        Ok(Self {
            etcd: ETCD.programs()?.join("etcd"),
            api_server: kubernetes.join("kube-apiserver"),
            controller_manager: kubernetes.join("kube-controller-manager"),
            kubectl: kubernetes.join("kubectl"),
            coredns: if kind == Kind::Bed { COREDNS.programs()?.join("coredns") } else { PathBuf::new() },
            kubernetes,
        })
    }

    /// A program of Kubernetes that only a node needs.
    pub(crate) fn node_program(&self, name: &str) -> PathBuf {
        self.kubernetes.join(name)
    }
}

/// The folder with the programs of a version.
fn kubernetes(version: Version) -> Result<PathBuf> {
    match version {
        Version::V1_34 => KUBERNETES_1_34.programs(),
        Version::V1_37 => KUBERNETES_1_37.programs(),
    }
}

/// The client of a version.
///
/// # Errors
/// When it cannot be built.
pub(crate) fn kubectl(version: Version) -> Result<PathBuf> {
    Ok(kubernetes(version)?.join("kubectl"))
}

/// The client on PATH, or else ours, for somebody's cluster.
///
/// # Errors
/// When there is none and none can be built.
pub(crate) fn kubectl_for(kubeconfig: &Path) -> Result<Command> {
    let program = match need::find("kubectl") {
        Some(program) => program,
        None => kubectl(Version::V1_34)?,
    };
    let mut command = Command::new(program);
    command.arg("--kubeconfig").arg(kubeconfig);
    Ok(command)
}
