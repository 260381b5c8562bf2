//! `cargo xtask images`: the container images of the workspace's programs.

mod base;
mod binaries;
mod bridge;
mod build;
mod context;
mod daemon;
pub(crate) mod engine;
pub(crate) mod load;
mod plan;
mod runtime_base;
mod sbom;
mod server_base;

use std::path::PathBuf;
use std::process::Command;
use std::time::Instant;

use anyhow::{Context, Result};
use clap::Args;

use self::base::Base;
use self::engine::Engine;
use self::plan::{IMAGES, Inputs};
use crate::command::{output, root, say};
use crate::lock::FileLock;
use crate::{cluster, need};

/// The time of every file that we put into an image: 2020-01-01.
const MOMENT: u64 = 1_577_836_800;

/// What to build the images of, and on what.
#[derive(Args)]
pub(crate) struct Options {
    /// Loads the images into the cluster that `cargo xtask cluster up` started, with the chart's default tag, too.
    #[arg(long)]
    load: bool,
    /// The tag of the images (that of postgres is its version).
    #[arg(long, default_value = "dev")]
    tag: String,
    /// A folder with the compiled programs (default: they are compiled by `cargo build --release`).
    #[arg(long, value_name = "FOLDER")]
    binaries: Option<PathBuf>,
    /// The image below the programs (default: the public one, or one of our own where it cannot be pulled).
    #[arg(long, value_name = "IMAGE")]
    runtime_base: Option<String>,
    /// The image below the database server (default: the official one, or one of our own where it cannot be pulled).
    #[arg(long, value_name = "IMAGE")]
    postgres_base: Option<String>,
    /// Builds everything twice from nothing and fails where a layer differs.
    #[arg(long)]
    check_reproducible: bool,
    /// Installs nothing: what is missing is named with the line that installs it.
    #[arg(long)]
    no_install: bool,
}

/// Builds the images, tries each and prints its size.
///
/// # Errors
/// At the first step that fails, with what to do.
pub(crate) fn run(options: &Options) -> Result<()> {
    let began = Instant::now();
    let images = need::cache()?.join("images");
    std::fs::create_dir_all(&images).with_context(|| format!("cannot make {}", images.display()))?;
    let _lock = FileLock::take(&images.join("lock"), "building the images")?;
    let binaries = binaries::folder(options.binaries.as_deref())?;
    let install = !options.no_install;
    let engine = Engine::find_or_start(install, false)?;
    let inputs = Inputs {
        runtime_base: base::choose(&engine, Base::Runtime, options.runtime_base.as_deref(), install)?,
        server_base: base::choose(&engine, Base::Server, options.postgres_base.as_deref(), install)?,
        version: env!("CARGO_PKG_VERSION").to_owned(),
        revision: revision(),
    };
    let folder = images.join("context");
    context::make(&folder, &binaries)?;
    for image in IMAGES {
        build::one(&engine, image, &inputs, &folder, &options.tag, options.check_reproducible)?;
    }
    if options.check_reproducible {
        // From the beginning: another context, no cache.
        context::make(&folder, &binaries)?;
        for image in IMAGES {
            build::again(&engine, image, &inputs, &folder, &options.tag)?;
        }
    }
    std::fs::remove_dir_all(&folder).with_context(|| format!("cannot remove {}", folder.display()))?;
    if options.load {
        let version = env!("CARGO_PKG_VERSION");
        for image in IMAGES.iter().filter(|image| image.reference(version) != image.reference(&options.tag)) {
            let arguments = ["tag", &image.reference(&options.tag), &image.reference(version)];
            output("docker tag", &mut engine.docker(arguments))?;
        }
        let references = plan::references(&options.tag, version);
        cluster::load(&load::save(&engine, &references)?)?;
    }
    if engine.is_own() {
        build::prune(&engine)?;
        say(
            "the images are in the tasks' own engine: `cargo xtask compose` sees them, --load puts them into the cluster",
        );
    }
    drop(engine);
    say(&format!("images: {:.0} s", began.elapsed().as_secs_f64()));
    Ok(())
}

/// The commit, marked where the working tree differs from it.
fn revision() -> String {
    let git = |arguments: &[&str]| {
        output("git", Command::new("git").args(arguments).current_dir(root())).map(|text| text.trim().to_owned())
    };
    let Ok(commit) = git(&["rev-parse", "HEAD"]) else { return "unknown".to_owned() };
    match git(&["status", "--porcelain", "--untracked-files=no"]) {
        Ok(changes) if changes.is_empty() => commit,
        _ => format!("{commit}-dirty"),
    }
}
