//! Where a cluster lies, and by which addresses it is reached.

use std::net::TcpListener;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use serde::{Deserialize, Serialize};

use crate::need;

/// The address of the node. 198.18.0.0/15 is for benchmarks (RFC 2544): no real network has it.
pub(crate) const NODE_ADDRESS: &str = "198.18.0.1";
/// The node's name.
pub(crate) const NODE_NAME: &str = "bed";
/// Addresses of services.
pub(crate) const SERVICES: &str = "198.19.0.0/24";
/// The first of them: the API server.
pub(crate) const API_SERVICE: &str = "198.19.0.1";

/// What a cluster can do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Kind {
    /// Pods run; one a machine, by root.
    Bed,
    /// API server, etcd and controllers on free ports of loopback; any number at once, by anybody.
    ControlPlane,
}

/// A version of Kubernetes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
pub(crate) enum Version {
    /// Runs pods.
    #[value(name = "1.34")]
    #[serde(rename = "1.34")]
    V1_34,
    /// Without pods.
    #[value(name = "1.37")]
    #[serde(rename = "1.37")]
    V1_37,
}

/// Ports that are drawn where they are not fixed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Ports {
    /// The API server.
    pub(crate) api: u16,
    /// etcd, for the API server.
    pub(crate) etcd: u16,
    /// etcd, for its like; there is none.
    pub(crate) etcd_peer: u16,
}

/// A cluster as `up` writes it down before it starts anything.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Layout {
    /// What it can do.
    pub(crate) kind: Kind,
    /// Its version.
    pub(crate) version: Version,
    /// Everything that it keeps.
    pub(crate) folder: PathBuf,
    /// Its ports.
    pub(crate) ports: Ports,
    /// Whether the machine passed packets on before; only the bed changes that.
    pub(crate) forwarded: bool,
}

impl Layout {
    /// The folder of a cluster of this kind and name.
    ///
    /// # Errors
    /// When the name would leave the folder, or there is no place for it.
    pub(crate) fn folder_of(kind: Kind, name: &str) -> Result<PathBuf> {
        let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        ensure!(
            (1..=40).contains(&name.len()) && name.bytes().all(plain),
            "the name `{name}` must have 1 to 40 small letters, digits or hyphens"
        );
        Ok(match kind {
            // One a machine, whoever starts it.
            Kind::Bed => PathBuf::from("/var/lib/keyrealm-bed"),
            Kind::ControlPlane => need::cache()?.join("clusters").join(name),
        })
    }

    /// The cluster that lies there, if `up` got so far.
    ///
    /// # Errors
    /// When the file is not what `up` writes.
    pub(crate) fn read(folder: &Path) -> Result<Option<Self>> {
        let path = folder.join("cluster.json");
        match std::fs::read(&path) {
            Ok(text) => Ok(Some(serde_json::from_slice(&text).with_context(|| {
                format!("{} is not whole; `cargo xtask cluster down` takes everything away", path.display())
            })?)),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error).with_context(|| format!("cannot read {}", path.display())),
        }
    }

    /// Writes it down.
    ///
    /// # Errors
    /// When the folder cannot be written.
    pub(crate) fn write(&self) -> Result<()> {
        let path = self.folder.join("cluster.json");
        std::fs::write(&path, serde_json::to_vec_pretty(self)?)
            .with_context(|| format!("cannot write {}", path.display()))
    }

    /// A file or folder of it.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// The same as text, for the many programs that take arguments.
    pub(crate) fn text(&self, name: &str) -> String {
        self.path(name).display().to_string()
    }

    /// How an administrator gets in.
    pub(crate) fn kubeconfig(&self) -> PathBuf {
        self.path("admin.kubeconfig")
    }

    /// Where the API server listens.
    pub(crate) fn api_host(&self) -> &'static str {
        match self.kind {
            Kind::Bed => NODE_ADDRESS,
            Kind::ControlPlane => "127.0.0.1",
        }
    }

    /// Its URL.
    pub(crate) fn api(&self) -> String {
        format!("https://{}:{}", self.api_host(), self.ports.api)
    }

    /// containerd's socket.
    pub(crate) fn containerd(&self) -> PathBuf {
        self.path("containerd.sock")
    }
}

impl Ports {
    /// The usual one for the bed's API server, free ones for the rest.
    ///
    /// # Errors
    /// When the system has none.
    pub(crate) fn draw(kind: Kind) -> Result<Self> {
        // All are held until the last is drawn, so that they differ.
        let draw = || TcpListener::bind("127.0.0.1:0").context("the system has no free port");
        let sockets = [draw()?, draw()?, draw()?];
        let mut ports = sockets.iter().map(|socket| socket.local_addr().map(|address| address.port()));
        let mut next = || ports.next().context("no port")?.context("the system does not name the port");
        let api = next()?;
        Ok(Self { api: if kind == Kind::Bed { 6443 } else { api }, etcd: next()?, etcd_peer: next()? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_stay_in_their_folder() {
        for bad in ["", "..", "a/b", "A", &"x".repeat(41)] {
            let error = Layout::folder_of(Kind::ControlPlane, bad).unwrap_err().to_string();
            assert!(error.contains("1 to 40"), "{error}");
        }
        assert!(Layout::folder_of(Kind::ControlPlane, "a-1").unwrap().ends_with("clusters/a-1"));
    }

    #[test]
    fn what_is_written_is_read_and_half_a_file_is_told() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(Layout::read(folder.path()).unwrap(), None);
        let ports = Ports::draw(Kind::ControlPlane).unwrap();
        assert!(ports.api != ports.etcd && ports.etcd != ports.etcd_peer);
        let layout = Layout {
            kind: Kind::ControlPlane,
            version: Version::V1_37,
            folder: folder.path().to_owned(),
            ports,
            forwarded: false,
        };
        layout.write().unwrap();
        assert_eq!(Layout::read(folder.path()).unwrap(), Some(layout));
        std::fs::write(folder.path().join("cluster.json"), "{\"kind\"").unwrap();
        assert!(Layout::read(folder.path()).unwrap_err().to_string().contains("cluster down"));
    }
}
