//! `cargo xtask compose`: a real `docker compose`, with the plugin built where the client has none.

use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};
use clap::Args;

use crate::command::say;
use crate::images::engine::{Engine, configured_host, succeeds};
use crate::need;
use crate::tools::COMPOSE;

/// The name of the plugin.
const PLUGIN: &str = "docker-compose";

/// What compose is told.
#[derive(Args)]
#[command(disable_help_flag = true)]
pub(crate) struct Options {
    /// The arguments of `docker compose`.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "ARGUMENTS")]
    arguments: Vec<OsString>,
}

/// Runs compose and returns its exit code.
///
/// # Errors
/// When there is no client, no engine, or no plugin and none can be built.
pub(crate) fn run(options: &Options) -> Result<i32> {
    let configuration = configuration()?;
    let engine = if needs_engine(&options.arguments) { Some(Engine::find_or_start(true, true)?) } else { None };
    let mut command = Command::new("docker");
    command.arg("compose").args(&options.arguments);
    if let Some(folder) = &configuration {
        // The client's own configuration would say where the engine is.
        if let (None, Some(host)) = (std::env::var_os("DOCKER_HOST"), configured_host()) {
            command.env("DOCKER_HOST", host).env_remove("DOCKER_CONTEXT");
        }
        command.env("DOCKER_CONFIG", folder);
    }
    if let Some(engine) = &engine {
        engine.surround(&mut command);
    }
    let status = command.status().context("cannot start docker compose")?;
    if engine.as_ref().is_some_and(Engine::is_own) {
        say("the engine was started for this command alone: its containers stop now, its volumes and images stay");
    }
    drop(engine);
    Ok(status.code().unwrap_or(1))
}

/// A configuration of the client that has the plugin, where the user's has none; the user's is never written.
fn configuration() -> Result<Option<PathBuf>> {
    if need::find("docker").is_some() && succeeds(Command::new("docker").args(["compose", "version"])) {
        return Ok(None);
    }
    let folder = need::cache()?.join("docker-client");
    link(&COMPOSE.programs()?.join(PLUGIN), &folder.join("cli-plugins"))?;
    Ok(Some(folder))
}

/// The plugin under its name; a link that a newer build replaces in one step.
fn link(program: &Path, plugins: &Path) -> Result<()> {
    fs::create_dir_all(plugins).with_context(|| format!("cannot make {}", plugins.display()))?;
    let (name, fresh) = (plugins.join(PLUGIN), plugins.join(format!("new-{}", std::process::id())));
    if fs::read_link(&name).is_ok_and(|target| target == program) {
        return Ok(());
    }
    symlink(program, &fresh)
        .and_then(|()| fs::rename(&fresh, &name))
        .with_context(|| format!("cannot link {}", name.display()))
}

/// Whether the command talks to an engine.
fn needs_engine(arguments: &[OsString]) -> bool {
    const VALUED: &[&str] = &[
        "-f",
        "--file",
        "-p",
        "--project-name",
        "--profile",
        "--env-file",
        "--project-directory",
        "--ansi",
        "--parallel",
        "--progress",
    ];
    let mut words = arguments.iter().map(|word| word.to_string_lossy());
    while let Some(word) = words.next() {
        if VALUED.contains(&word.as_ref()) {
            words.next();
        } else if matches!(word.as_ref(), "--help" | "-h" | "--version" | "-v") {
            return false;
        } else if !word.starts_with('-') {
            return !matches!(word.as_ref(), "version" | "config" | "convert" | "help" | "completion");
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_only_reads_files_starts_no_engine() {
        let needs = |line: &str| needs_engine(&line.split_whitespace().map(OsString::from).collect::<Vec<_>>());
        for line in ["", "version", "--help", "-f a.yml config", "--profile demo config --services"] {
            assert!(!needs(line), "{line}");
        }
        for line in ["up --wait", "-f config -p x up", "--file=a.yml ps", "--profile version down"] {
            assert!(needs(line), "{line}");
        }
    }

    #[test]
    fn the_link_follows_the_newest_build() {
        let folder = tempfile::tempdir().unwrap();
        let plugins = folder.path().join("cli-plugins");
        for program in ["/cache/a/docker-compose", "/cache/b/docker-compose", "/cache/b/docker-compose"] {
            link(Path::new(program), &plugins).unwrap();
            assert_eq!(fs::read_link(plugins.join("docker-compose")).unwrap(), Path::new(program));
        }
        assert_eq!(fs::read_dir(&plugins).unwrap().count(), 1);
    }
}
