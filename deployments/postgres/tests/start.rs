//! The entry point with the PostgreSQL of this machine, as the account that a container would have.
#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests fail the test")]

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

const PATIENCE: Duration = Duration::from_secs(60);
const PASSWORD: &str = "correct horse";

/// A folder that stands for a container: the program, the data, the password's file.
struct Container {
    folder: tempfile::TempDir,
    port: u16,
}

impl Container {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let program = folder.path().join("postgres-entrypoint");
        fs::copy(env!("CARGO_BIN_EXE_postgres-entrypoint"), &program).unwrap();
        fs::write(folder.path().join("password"), PASSWORD).unwrap();
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
        if rustix::process::geteuid().is_root() {
            let status = Command::new("chown").args(["-R", "postgres:postgres"]).arg(folder.path()).status().unwrap();
            assert!(status.success());
        }
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        Self { folder, port }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn start(&self) -> Child {
        let mut command = account();
        command.arg(self.path("postgres-entrypoint"));
        command.args(["-c", &format!("port={}", self.port), "-c", "fsync=off", "-c"]);
        command.arg(format!("unix_socket_directories={}", self.folder.path().display()));
        command.env("PGDATA", self.path("data")).env("POSTGRES_PASSWORD_FILE", self.path("password"));
        command.env("POSTGRES_USER", "owner").env("POSTGRES_DB", "a \"b\"").env("POSTGRES_INITDB_ARGS", "--no-sync");
        command.stdin(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
    }

    fn ask(&self, password: &str, statement: &str) -> Output {
        let mut psql = account();
        psql.args(["psql", "--no-psqlrc", "--host=127.0.0.1", "--username=owner", "--dbname=a \"b\"", "--no-align"]);
        psql.args(["--tuples-only", "--command", statement, &format!("--port={}", self.port)]);
        psql.env("PGPASSWORD", password).output().unwrap()
    }

    /// In a container the kernel ends all with the first process; here `initdb` runs on for a moment.
    fn wait_for_orphans(&self) {
        let folder = self.path("data").display().to_string();
        let named = |entry: &fs::DirEntry| {
            let command = fs::read(entry.path().join("cmdline")).unwrap_or_default();
            String::from_utf8_lossy(&command).contains(&folder)
        };
        let began = Instant::now();
        while fs::read_dir("/proc").unwrap().flatten().any(|entry| named(&entry)) {
            assert!(began.elapsed() < PATIENCE, "initdb does not end");
            sleep(Duration::from_millis(50));
        }
    }

    fn wait_until_ready(&self, child: &mut Child) {
        let began = Instant::now();
        while !self.ask(PASSWORD, "SELECT 1").status.success() {
            assert!(child.try_wait().unwrap().is_none(), "it ended");
            assert!(began.elapsed() < PATIENCE, "it does not start");
            sleep(Duration::from_millis(50));
        }
    }
}

/// Under the account of the server, ended with the test.
fn account() -> Command {
    let mut command = Command::new("setpriv");
    if rustix::process::geteuid().is_root() {
        command.args(["--reuid=postgres", "--regid=postgres", "--init-groups"]);
    }
    let mut path: Vec<PathBuf> = fs::read_dir("/usr/lib/postgresql")
        .map(|versions| versions.flatten().map(|version| version.path().join("bin")).collect())
        .unwrap_or_default();
    path.extend(std::env::split_paths(&std::env::var_os("PATH").unwrap()));
    command.env("PATH", std::env::join_paths(path).unwrap()).env("LC_ALL", "C").current_dir("/");
    command.args(["--pdeathsig", "KILL", "--"]);
    command
}

fn signal(child: &Child, signal: rustix::process::Signal) {
    let pid = rustix::process::Pid::from_raw(i32::try_from(child.id()).unwrap()).unwrap();
    rustix::process::kill_process(pid, signal).unwrap();
}

fn wait_for(path: &Path) {
    let began = Instant::now();
    while !path.exists() {
        assert!(began.elapsed() < PATIENCE, "{} does not appear", path.display());
        sleep(Duration::from_millis(2));
    }
}

#[test]
fn a_database_is_made_once_and_stops_properly() {
    let container = Container::new();
    let mut child = container.start();
    container.wait_until_ready(&mut child);
    assert!(container.ask(PASSWORD, "CREATE TABLE kept (n int)").status.success());
    assert!(!container.ask("wrong", "SELECT 1").status.success(), "127.0.0.1 needs the password");
    signal(&child, rustix::process::Signal::INT);
    assert!(child.wait().unwrap().success(), "a fast shutdown ends with 0");

    let mut child = container.start();
    container.wait_until_ready(&mut child);
    assert!(container.ask(PASSWORD, "SELECT n FROM kept").status.success(), "the data folder is kept");
    signal(&child, rustix::process::Signal::TERM);
    assert!(child.wait().unwrap().success());
}

#[test]
fn an_interrupted_first_start_begins_anew() {
    let container = Container::new();
    let mut child = container.start();
    wait_for(&container.path("data/keyrealm-making"));
    signal(&child, rustix::process::Signal::TERM);
    assert!(!child.wait().unwrap().success(), "it ends at once and not with success");
    assert!(!container.path("data/PG_VERSION").exists());
    container.wait_for_orphans();

    let mut child = container.start();
    container.wait_until_ready(&mut child);
    assert!(!container.path("data/keyrealm-making").exists());
    signal(&child, rustix::process::Signal::INT);
    assert!(child.wait().unwrap().success());
}
