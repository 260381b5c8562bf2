//! `cargo xtask cluster`: a real Kubernetes for tests. A cluster of the caller's own, kind, or the bed that is built and run
//! from Go modules and Debian's packages.

mod addons;
mod bed;
mod cgroup;
mod control_plane;
mod database;
mod given;
mod images;
mod kind;
mod layout;
mod network;
mod node;
mod pki;
mod process;
mod programs;
mod target;
mod volumes;

use std::path::{Path, PathBuf};

use anyhow::{Result, bail};
use clap::{Args, Subcommand};

pub(crate) use bed::{Bed, HELD};
use layout::Version;
use target::Target;

/// Which cluster, and what to do with it.
#[derive(Args)]
pub(crate) struct Options {
    /// Uses the cluster of this file. The ambient KUBECONFIG and ~/.kube/config are never read.
    #[arg(long, global = true, env = "KEYREALM_TEST_KUBECONFIG", value_name = "FILE")]
    kubeconfig: Option<PathBuf>,
    /// Uses the bed, also where kind is installed.
    #[arg(long, global = true, conflicts_with = "kubeconfig")]
    bed: bool,
    /// A cluster without pods under this name, on free ports; any number of them run at once.
    #[arg(long, global = true, value_name = "NAME", conflicts_with_all = ["kubeconfig", "bed"])]
    control_plane_only: Option<String>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Starts it.
    Up {
        /// The version, where it is built here.
        #[arg(long, value_enum, default_value = "1.34")]
        kubernetes: Version,
        /// Installs nothing: what is missing is named with the line that installs it.
        #[arg(long)]
        no_install: bool,
    },
    /// Stops it and takes away all that it made.
    Down,
    /// Says what runs.
    Status,
    /// Loads image archives into its node.
    LoadImage {
        /// As `docker save` writes them.
        #[arg(required = true)]
        archives: Vec<PathBuf>,
    },
    /// Prints what its programs wrote.
    Logs {
        /// Such as kubelet; all of them when left out.
        program: Option<String>,
    },
    /// Runs kubectl on it.
    Kubectl {
        /// What kubectl is given.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
    /// Empties released volumes; started by `up`.
    #[command(hide = true)]
    KeepVolumes { kubectl: PathBuf, kubeconfig: PathBuf, folder: PathBuf },
}

/// Loads an archive of images into the cluster that `up` without flags takes.
///
/// # Errors
/// When there is none, or it does not take them.
pub(crate) fn load(archive: &Path) -> Result<()> {
    usual()?.load_image(archive)
}

/// The kubeconfig of the cluster that `up` without flags takes, where it is up.
///
/// # Errors
/// When there is no place for one.
pub(crate) fn kubeconfig() -> Result<Option<PathBuf>> {
    Ok(usual()?.kubeconfig())
}

/// The kubeconfig of the control plane of this name, where it is up.
///
/// # Errors
/// When there is no place for one.
pub(crate) fn kubeconfig_of(name: &str) -> Result<Option<PathBuf>> {
    Ok(Target::choose(None, Some(name.to_owned()), false)?.kubeconfig())
}

fn usual() -> Result<Target> {
    let kubeconfig = std::env::var_os("KEYREALM_TEST_KUBECONFIG").map(PathBuf::from);
    // The bed that a task holds is the one that is meant.
    Target::choose(kubeconfig, None, std::env::var_os(HELD).is_some())
}

/// Runs the task.
///
/// # Errors
/// What is wrong, and what to do.
pub(crate) fn run(options: Options) -> Result<()> {
    let Options { kubeconfig, bed, control_plane_only, command } = options;
    if let Command::KeepVolumes { kubectl, kubeconfig, folder } = command {
        return volumes::keep(&kubectl, &kubeconfig, &folder);
    }
    let target = Target::choose(kubeconfig, control_plane_only, bed)?;
    match command {
        Command::Up { kubernetes, no_install } => target.up(kubernetes, !no_install),
        Command::Down => target.down(),
        Command::Status => target.status(),
        Command::LoadImage { archives } => archives.iter().try_for_each(|archive| target.load_image(archive)),
        Command::Logs { program } => target.logs(program.as_deref()),
        Command::Kubectl { arguments } => target.kubectl(&arguments),
        Command::KeepVolumes { .. } => bail!("not a command of people"),
    }
}
