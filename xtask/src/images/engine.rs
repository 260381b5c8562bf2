//! The Docker engine: the one that answers, else one of the task's own.

use std::ffi::OsStr;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use super::daemon::{Daemon, Folders};
use crate::need;

/// An engine that answers.
#[derive(Debug)]
pub(crate) struct Engine {
    own: Option<(Daemon, String)>,
    builder: Builder,
}

/// How `docker build` works here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Builder {
    /// As the client does it by itself.
    Default,
    /// Without BuildKit, for which the client lacks its plugin.
    Legacy,
}

impl Engine {
    /// The engine that answers, or a new one. With `child_decides` a Ctrl-C is left to the command that runs on it.
    ///
    /// # Errors
    /// When there is no Docker client, or none answers and none can be started.
    pub(crate) fn find_or_start(install: bool, child_decides: bool) -> Result<Self> {
        if need::find("docker").is_none() {
            need::root_rights("installing Docker", "install it with: apt-get install --yes docker.io")?;
            need::programs(need::ENGINE, install)?;
        }
        let buildx = succeeds(Command::new("docker").args(["buildx", "version"]));
        let builder = if buildx { Builder::Default } else { Builder::Legacy };
        if answers(None) {
            return Ok(Self { own: None, builder });
        }
        let folders = Folders::new(&need::cache()?)?;
        let host = folders.host();
        Ok(Self { own: Some((Daemon::start(folders, install, child_decides)?, host)), builder })
    }

    /// Whether it is the task's own, which has no way out of the machine but for pulls.
    pub(crate) fn is_own(&self) -> bool {
        self.own.is_some()
    }

    /// `docker` with the arguments, on this engine.
    pub(crate) fn docker<S: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = S>) -> Command {
        let mut command = Command::new("docker");
        command.args(arguments);
        self.surround(&mut command);
        command
    }

    /// Points a client at this engine.
    pub(crate) fn surround(&self, command: &mut Command) {
        if let Some((_, host)) = &self.own {
            command.env("DOCKER_HOST", host).env_remove("DOCKER_CONTEXT").env_remove("DOCKER_TLS_VERIFY");
        }
        if self.builder == Builder::Legacy {
            command.env("DOCKER_BUILDKIT", "0");
        }
    }

    /// Whether the engine has the image.
    pub(crate) fn has(&self, image: &str) -> bool {
        succeeds(&mut self.docker(["image", "inspect", image]))
    }

    /// One fact of an image, by a template of Go.
    ///
    /// # Errors
    /// When there is no such image.
    pub(crate) fn inspect(&self, image: &str, template: &str) -> Result<String> {
        let mut command = self.docker(["image", "inspect", "--format", template, image]);
        let output = command.stdin(Stdio::null()).output().context("cannot start docker")?;
        if !output.status.success() {
            bail!("cannot inspect {image}: {}", String::from_utf8_lossy(&output.stderr).trim());
        }
        Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
    }
}

/// Whether an engine answers: the given one, or that of the surroundings.
pub(super) fn answers(host: Option<&str>) -> bool {
    let mut command = Command::new("docker");
    command.args(["version", "--format", "{{.Server.Version}}"]);
    if let Some(host) = host {
        command.env("DOCKER_HOST", host).env_remove("DOCKER_CONTEXT").env_remove("DOCKER_TLS_VERIFY");
    }
    succeeds(&mut command)
}

/// Whether a command ends with 0; what it says is not shown.
pub(crate) fn succeeds(command: &mut Command) -> bool {
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}

/// The address that the client's own configuration leads to, for a client with another configuration.
pub(crate) fn configured_host() -> Option<String> {
    let mut command = Command::new("docker");
    command.args(["context", "inspect", "--format", "{{.Endpoints.docker.Host}}"]);
    let output = command.stdin(Stdio::null()).stderr(Stdio::null()).output().ok()?;
    let host = String::from_utf8(output.stdout).ok()?.trim().to_owned();
    (output.status.success() && !host.is_empty()).then_some(host)
}
