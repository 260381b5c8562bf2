//! What the tests need beside Rust: found, or installed, or named with the line that installs it.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use keyrealm_testkit::PostgresServer;
use rustix::process::geteuid;

use crate::command::{run, say};

/// A program and the Debian package that holds it.
pub(crate) struct Need {
    is_there: fn() -> bool,
    package: &'static str,
}

/// What the tests need.
pub(crate) const TESTS: &[Need] = &[
    Need { is_there: || find("openssl").is_some(), package: "openssl" },
    Need { is_there: || find("curl").is_some(), package: "curl" },
    Need { is_there: || find("python3").is_some(), package: "python3" },
    // Debian keeps its programs off PATH.
    Need { is_there: PostgresServer::is_installed, package: "postgresql" },
];
/// What the bed needs.
pub(crate) const BED: &[Need] = &[
    Need { is_there: || find("ip").is_some(), package: "iproute2" },
    Need { is_there: || find("iptables").is_some() && find("iptables-save").is_some(), package: "iptables" },
    Need { is_there: || find("conntrack").is_some(), package: "conntrack" },
    Need { is_there: || find("containerd").is_some() && find("ctr").is_some(), package: "containerd" },
    Need { is_there: || find("runc").is_some(), package: "runc" },
    Need {
        is_there: || {
            ["bridge", "host-local", "loopback"].iter().all(|name| Path::new("/usr/lib/cni").join(name).is_file())
        },
        package: "containernetworking-plugins",
    },
    Need { is_there: PostgresServer::is_installed, package: "postgresql" },
];

/// What a Docker engine of our own needs.
pub(crate) const ENGINE: &[Need] = &[
    Need { is_there: || find("docker").is_some() && find("dockerd").is_some(), package: "docker.io" },
    Need { is_there: || find("ip").is_some(), package: "iproute2" },
    Need { is_there: || find("iptables").is_some(), package: "iptables" },
];
/// What base images of our own need.
pub(crate) const BASE_IMAGE: &[Need] = &[Need { is_there: || find("debootstrap").is_some(), package: "debootstrap" }];
/// What packages of npm need.
pub(crate) const NPM: &[Need] = &[Need { is_there: || find("npm").is_some(), package: "npm" }];

/// Root's rights.
///
/// # Errors
/// Without them; `why` says what wants them, as in "a Docker engine of the task's own".
pub(crate) fn root_rights(why: &str, otherwise: &str) -> Result<()> {
    if geteuid().is_root() {
        return Ok(());
    }
    bail!("{why} needs root, and this process is not root; run as root, or {otherwise}")
}

/// Finds these and installs what is missing (apt, as root).
///
/// # Errors
/// When something is missing and may not or cannot be installed: the message has the line that does it.
pub(crate) fn programs(needs: &[Need], install: bool) -> Result<()> {
    let missing: Vec<&Need> = needs.iter().filter(|need| !(need.is_there)()).collect();
    if missing.is_empty() {
        return Ok(());
    }
    let packages: Vec<&str> = missing.iter().map(|need| need.package).collect();
    let line = format!("apt-get install --yes --no-install-recommends {}", packages.join(" "));
    if !install || find("apt-get").is_none() {
        bail!("not installed: {}; install with: {line}", packages.join(", "));
    }
    say(&format!("installing {}", packages.join(", ")));
    run("apt-get update", Command::new("apt-get").arg("update").arg("--quiet"))
        .with_context(|| format!("as root run: {line}"))?;
    let mut apt = Command::new("apt-get");
    apt.args(["install", "--yes", "--no-install-recommends"]).args(&packages);
    apt.env("DEBIAN_FRONTEND", "noninteractive");
    run("apt-get install", &mut apt).with_context(|| format!("as root run: {line}"))?;
    match missing.iter().find(|need| !(need.is_there)()) {
        Some(need) => bail!("{} is still not found after: {line}", need.package),
        None => Ok(()),
    }
}

/// The program on PATH, or where those for administrators lie, which not every PATH has.
pub(crate) fn find(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::env::split_paths(&path).chain(["/usr/sbin", "/sbin"].map(PathBuf::from));
    folders.map(|folder| folder.join(program)).find(|candidate| candidate.is_file())
}

/// A Python environment of our own with the public OpenAPI validator, made once.
///
/// # Errors
/// When it is missing and may not or cannot be made.
pub(crate) fn openapi_validator(install: bool) -> Result<PathBuf> {
    let folder = cache()?.join("openapi-spec-validator-0.7");
    let program = folder.join("bin/openapi-spec-validator");
    if program.is_file() {
        return Ok(program);
    }
    let lines = "python3 -m venv FOLDER && FOLDER/bin/pip install 'openapi-spec-validator==0.7.*'";
    if !install {
        bail!("the OpenAPI validator is not installed; install with: {lines}");
    }
    // Debian keeps venv in a package of its own; where it is missing the folder is made by virtualenv's twin in pip.
    let made = run("python3 -m venv", Command::new("python3").args(["-m", "venv"]).arg(&folder));
    if made.is_err() && find("apt-get").is_some() {
        run("apt-get update", Command::new("apt-get").arg("update").arg("--quiet"))?;
        run("apt-get install", Command::new("apt-get").args(["install", "--yes", "python3-venv"]))?;
        run("python3 -m venv", Command::new("python3").args(["-m", "venv", "--clear"]).arg(&folder))?;
    }
    let mut pip = Command::new(folder.join("bin/pip"));
    pip.args(["install", "--quiet", "--disable-pip-version-check", "openapi-spec-validator==0.7.*"]);
    run("pip install openapi-spec-validator", &mut pip)?;
    Ok(program)
}

/// The folder for downloaded tools: outside the clone, kept from run to run.
pub(crate) fn cache() -> Result<PathBuf> {
    let base = std::env::var_os("XDG_CACHE_HOME")
        .map(PathBuf::from)
        .or_else(|| std::env::var_os("HOME").map(|home| Path::new(&home).join(".cache")))
        .context("neither XDG_CACHE_HOME nor HOME is set: there is no folder for the tools")?;
    let folder = base.join("keyrealm");
    std::fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
    Ok(folder)
}
