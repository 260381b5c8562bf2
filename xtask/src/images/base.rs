//! Base images where none can be pulled: made from Debian's packages once, kept as tar files in the tool cache.
//!
//! One `debootstrap` gives both: the runtime base is cut out of it, package by package (what a Rust binary needs and no
//! shell), and the PostgreSQL base is the rest of it without what no server needs.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use keyrealm_crypto::sha256_hex;

use super::engine::Engine;
use super::{MOMENT, runtime_base, server_base};
use crate::command::{output, run, say};
use crate::lock::FileLock;
use crate::{need, space};

const SUITE: &str = "bookworm";
/// What the tree is made of beside Debian's smallest variant.
const PACKAGES: &str = "ca-certificates,postgresql-15";
/// Raised when the recipe changes in a way that the constants do not show.
const RECIPE: u32 = 1;
/// The tree, two tar files, and what apt downloads.
const SPACE: u64 = 2 * 1024;

/// A base image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Base {
    /// For the binaries of the workspace.
    Runtime,
    /// For the database server.
    Server,
}

impl Base {
    /// What the Dockerfile uses where images can be pulled.
    pub(crate) fn public(self) -> &'static str {
        match self {
            Self::Runtime => "gcr.io/distroless/cc-debian12:nonroot",
            Self::Server => "docker.io/library/postgres:15-bookworm",
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Runtime => "base",
            Self::Server => "postgres-base",
        }
    }

    fn configuration(self) -> &'static [&'static str] {
        match self {
            Self::Runtime => &[
                "USER 65532:65532",
                "ENV PATH=/usr/local/bin:/usr/bin:/bin SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt",
            ],
            Self::Server => &[
                "USER 999:999",
                "ENV PATH=/usr/lib/postgresql/15/bin:/usr/local/bin:/usr/bin:/bin LANG=C.UTF-8 PG_MAJOR=15",
            ],
        }
    }
}

/// The image to build on: the one given, the public one where it is to be had, else our own.
///
/// # Errors
/// When a given one is not to be had, or ours cannot be made.
pub(crate) fn choose(engine: &Engine, base: Base, given: Option<&str>, install: bool) -> Result<String> {
    if let Some(given) = given {
        if !engine.has(given) {
            run(&format!("pulling {given}"), &mut engine.docker(["pull", "--quiet", given]))
                .with_context(|| format!("the base image {given} is neither here nor to be pulled"))?;
        }
        return Ok(given.to_owned());
    }
    let public = base.public();
    let cached = folder()?.join(format!("{}.tar", base.name()));
    let pulled = engine.has(public)
        || (!cached.is_file()
            && run(&format!("pulling {public}"), &mut engine.docker(["pull", "--quiet", public])).is_ok());
    if pulled {
        return Ok(public.to_owned());
    }
    let image = format!("keyrealm/{}:{SUITE}-{}", base.name(), key());
    if !engine.has(&image) {
        let tar = tar(base, install)?;
        let mut import = engine.docker(["import"]);
        for change in base.configuration() {
            import.args(["--change", change]);
        }
        output("docker import", import.arg(tar).arg(&image))?;
    }
    say(&format!("the base image is our own, {image}"));
    Ok(image)
}

fn key() -> String {
    let recipe = format!("{SUITE} {PACKAGES} {RECIPE} {:?} {:?}", runtime_base::PACKAGES, server_base::WITHOUT);
    let mut key = sha256_hex(recipe.as_bytes());
    key.truncate(8);
    key
}

fn folder() -> Result<PathBuf> {
    Ok(need::cache()?.join("images").join(format!("debian-{SUITE}-{}", key())))
}

/// The tar file of the base, made where it is not in the cache.
fn tar(base: Base, install: bool) -> Result<PathBuf> {
    let folder = folder()?;
    let tar = folder.join(format!("{}.tar", base.name()));
    if !tar.is_file() {
        make(&folder, install)?;
    }
    if !tar.is_file() {
        bail!("{} is missing in a whole cache; delete {} and run again", tar.display(), folder.display());
    }
    Ok(tar)
}

fn make(folder: &Path, install: bool) -> Result<()> {
    need::root_rights("making a base image with debootstrap", "give one with --runtime-base and --postgres-base")?;
    need::programs(need::BASE_IMAGE, install)?;
    let images = folder.parent().context("the tool cache has no folder")?;
    fs::create_dir_all(images).with_context(|| format!("cannot make {}", images.display()))?;
    let _lock = FileLock::take(&images.join("base.lock"), "making the base images")?;
    space::require(images, SPACE, "making the base images")?;
    // Whoever was interrupted left this; only a whole one gets the name that is looked for.
    let half = images.join("debian.half");
    if half.exists() {
        say(&format!("{} is half-made: it is removed", half.display()));
        fs::remove_dir_all(&half).with_context(|| format!("cannot remove {}", half.display()))?;
    }
    let tree = half.join("tree");
    fs::create_dir_all(&tree).with_context(|| format!("cannot make {}", tree.display()))?;
    // In namespaces of its own: its mounts and processes end with it, and it ends with the task.
    let mut debootstrap = Command::new("setpriv");
    debootstrap.args(["--pdeathsig", "KILL", "--", "unshare", "--mount", "--pid", "--fork", "--kill-child=KILL", "--"]);
    debootstrap.args(["debootstrap", "--variant=minbase", &format!("--include={PACKAGES}"), SUITE]);
    debootstrap.arg(&tree).stdout(fs::File::create(half.join("log"))?);
    run("debootstrap (once; a minute or two)", &mut debootstrap).with_context(|| {
        format!(
            "no base image; the log is {}; what debootstrap needs is Debian's own mirror",
            half.join("log").display()
        )
    })?;
    let runtime = half.join("runtime");
    runtime_base::cut(&tree, &runtime)?;
    pack(&runtime, &half.join(format!("{}.tar", Base::Runtime.name())))?;
    server_base::trim(&tree)?;
    pack(&tree, &half.join(format!("{}.tar", Base::Server.name())))?;
    fs::remove_dir_all(&runtime).and_then(|()| fs::remove_dir_all(&tree)).context("cannot remove the trees")?;
    if folder.exists() {
        fs::remove_dir_all(folder).with_context(|| format!("cannot remove {}", folder.display()))?;
    }
    fs::rename(&half, folder).with_context(|| format!("cannot name {}", folder.display()))
}

/// A tar file that depends on the tree's content only.
fn pack(tree: &Path, tar: &Path) -> Result<()> {
    let mut command = Command::new("tar");
    command.args(["--create", "--sort=name", "--numeric-owner", &format!("--mtime=@{MOMENT}"), "--format=gnu"]);
    command.arg("--file").arg(tar).arg("--directory").arg(tree).arg(".");
    output("tar", &mut command)?;
    Ok(())
}
