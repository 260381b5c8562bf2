//! The programs of PostgreSQL that make a database: `initdb`, a server that nobody else can reach, `psql`.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use crate::settings::Settings;

/// Makes the database folder. The password goes by a pipe: it stands in no file and in no list of processes.
///
/// # Errors
/// When `initdb` fails.
pub(crate) fn make(folder: &Path, settings: &Settings, password: &str) -> Result<()> {
    if password.contains(['\n', '\r']) {
        bail!("the password of the superuser has more than one line");
    }
    let mut initdb = Command::new("initdb");
    initdb.arg("--pgdata").arg(folder).arg(format!("--username={}", settings.user)).arg("--pwfile=/dev/stdin");
    // Stricter than the official image in one thing: who comes by 127.0.0.1, as a port-forward does, needs the password.
    initdb.args(["--auth-local=trust", "--auth-host=scram-sha-256", "--encoding=UTF8"]).args(&settings.initdb);
    let mut child = initdb.stdin(Stdio::piped()).stdout(Stdio::null()).spawn().context("cannot start initdb")?;
    if let Some(mut pipe) = child.stdin.take() {
        writeln!(pipe, "{password}").context("initdb does not take the password")?;
    }
    let status = child.wait().context("cannot wait for initdb")?;
    if !status.success() {
        bail!("initdb ended with {status}");
    }
    append(&folder.join("pg_hba.conf"), &format!("\nhost all all all {}\n", settings.method))?;
    append(&folder.join("postgresql.conf"), "\nlisten_addresses = '*'\n")
}

fn append(path: &Path, text: &str) -> Result<()> {
    OpenOptions::new()
        .append(true)
        .open(path)
        .and_then(|mut file| file.write_all(text.as_bytes()))
        .with_context(|| format!("cannot write {}", path.display()))
}

/// A server for the first start, on a socket inside its folder and on no address.
pub(crate) struct Temporary {
    folder: PathBuf,
    socket: PathBuf,
}

impl Temporary {
    /// Starts it and waits until it answers.
    ///
    /// # Errors
    /// When it does not.
    pub(crate) fn start(folder: &Path) -> Result<Self> {
        let socket = std::env::temp_dir().join(format!("keyrealm-first-start-{}", std::process::id()));
        fs::create_dir_all(&socket)
            .with_context(|| format!("cannot make {}; mount a tmpfs on /tmp", socket.display()))?;
        let server = Self { folder: folder.to_path_buf(), socket };
        let options = format!("-c listen_addresses='' -c unix_socket_directories='{}'", server.socket.display());
        server.control(&["start", "--options", &options])?;
        Ok(server)
    }

    /// Runs `psql` as the superuser; the first error ends it.
    ///
    /// # Errors
    /// When a statement fails.
    pub(crate) fn run(&self, settings: &Settings, database: &str, arguments: &[&str]) -> Result<()> {
        let mut psql = Command::new("psql");
        psql.args(["--no-psqlrc", "--quiet", "--no-password", "--set=ON_ERROR_STOP=1", "--host"]).arg(&self.socket);
        psql.args(["--username", &settings.user, "--dbname", database]).args(arguments);
        let status = psql.stdin(Stdio::null()).status().context("cannot start psql")?;
        if !status.success() {
            bail!("psql {} ended with {status}", arguments.join(" "));
        }
        Ok(())
    }

    /// Stops it.
    ///
    /// # Errors
    /// When it does not end.
    pub(crate) fn stop(self) -> Result<()> {
        self.control(&["stop", "--mode=fast"])?;
        fs::remove_dir_all(&self.socket).with_context(|| format!("cannot remove {}", self.socket.display()))
    }

    fn control(&self, arguments: &[&str]) -> Result<()> {
        let mut control = Command::new("pg_ctl");
        control.arg("--pgdata").arg(&self.folder).args(["--silent", "--wait", "--timeout=60"]).args(arguments);
        let status = control.stdin(Stdio::null()).status().context("cannot start pg_ctl")?;
        if !status.success() {
            bail!("pg_ctl {} ended with {status}", arguments.join(" "));
        }
        Ok(())
    }
}
