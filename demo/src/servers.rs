//! The servers of a run: started here, or running already.

use anyhow::Result;

use crate::attached::Attached;
use crate::cli::Cli;
use crate::embedded::Embedded;
use crate::endpoints::Endpoints;
use crate::folder::Folder;
use crate::target::{self, Target};

/// The servers.
pub(crate) enum Servers {
    /// In this process.
    Embedded(Box<Embedded>),
    /// Reached at their URLs.
    Urls(Box<Endpoints>),
    /// Reached through a cluster's API server.
    #[cfg(feature = "kubernetes")]
    Kubernetes(Box<crate::cluster::Cluster>),
}

impl Servers {
    /// Starts them, or finds the way to them. The folder is the caller's, so that it can go, wherever this ends.
    ///
    /// # Errors
    /// When flags do not go together, a file or a server cannot be had.
    pub(crate) async fn start(cli: &Cli, folder: &mut Option<Folder>) -> Result<Self> {
        target::check(cli)?;
        Ok(match cli.target {
            Target::Embedded => {
                let folder = folder.insert(Folder::open(cli.data_dir.as_deref())?);
                Self::Embedded(Box::new(Embedded::start(cli, folder).await?))
            }
            Target::Urls => Self::Urls(Box::new(Attached::read(&cli.attach)?.at_urls(&cli.attach)?)),
            #[cfg(feature = "kubernetes")]
            Target::Kubernetes => {
                Self::Kubernetes(Box::new(crate::cluster::Cluster::reach(&cli.attach, cli.health_timeout).await?))
            }
            #[cfg(not(feature = "kubernetes"))]
            Target::Kubernetes => anyhow::bail!(
                "this build of the demo knows no --target kubernetes; build one that does with: cargo build --release -p demo --features kubernetes"
            ),
        })
    }

    /// Where everything is.
    pub(crate) fn endpoints(&self) -> &Endpoints {
        match self {
            Self::Embedded(embedded) => &embedded.endpoints,
            Self::Urls(endpoints) => endpoints,
            #[cfg(feature = "kubernetes")]
            Self::Kubernetes(cluster) => &cluster.endpoints,
        }
    }
}
