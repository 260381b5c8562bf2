//! The long-running programs of a cluster. They outlive the task that starts them and are found again by a mark in their
//! environment, which their children inherit: no file can be stale, and a start that was killed leaves nothing unknown.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process};

/// The folder of the cluster that a process belongs to.
const CLUSTER: &str = "KEYREALM_CLUSTER";
/// Which of its programs it is, or is a child of.
const PROGRAM: &str = "KEYREALM_CLUSTER_PROGRAM";
/// How much of a log is shown when its program fails.
const LAST_LINES: usize = 15;

/// A program to be started.
pub(crate) struct Daemon {
    /// By which it is found again; its log is `<name>.log`.
    pub(crate) name: &'static str,
    /// The program.
    pub(crate) program: PathBuf,
    /// Its arguments.
    pub(crate) arguments: Vec<String>,
}

/// A process of a cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Found {
    /// Its id.
    pub(crate) pid: u32,
    /// The daemon that it is or comes from.
    pub(crate) daemon: String,
}

/// The programs of the cluster in a folder.
pub(crate) struct Processes {
    folder: PathBuf,
    logs: PathBuf,
}

impl Processes {
    /// Those of the cluster in this folder.
    pub(crate) fn new(folder: &Path) -> Self {
        Self { folder: folder.to_owned(), logs: folder.join("logs") }
    }

    /// Where a program writes.
    pub(crate) fn log(&self, name: &str) -> PathBuf {
        self.logs.join(format!("{name}.log"))
    }

    /// Starts a program in a process group of its own, so that no key of the terminal reaches it.
    ///
    /// # Errors
    /// When it cannot be started.
    pub(crate) fn start(&self, daemon: &Daemon) -> Result<Started> {
        use std::os::unix::process::CommandExt;
        fs::create_dir_all(&self.logs)?;
        let path = self.log(daemon.name);
        let log = File::create(&path).with_context(|| format!("cannot write {}", path.display()))?;
        let mut command = Command::new(&daemon.program);
        command.args(&daemon.arguments).env(CLUSTER, &self.folder).env(PROGRAM, daemon.name);
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log).current_dir("/").process_group(0);
        let child = command.spawn().with_context(|| format!("cannot start {}", daemon.program.display()))?;
        Ok(Started { name: daemon.name, child, log: path })
    }

    /// All processes of this cluster that run now.
    pub(crate) fn find(&self) -> Vec<Found> {
        let mark = format!("{CLUSTER}={}", self.folder.display());
        let mut found = Vec::new();
        for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
            let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
            let Ok(environment) = fs::read(entry.path().join("environ")) else { continue };
            if let Some(daemon) = marked(&environment, &mark) {
                found.push(Found { pid, daemon });
            }
        }
        found
    }

    /// Ends the processes of these daemons, in this order: asked first, and made to when they do not go in time.
    pub(crate) fn stop(&self, names: &[&str], grace: Duration) {
        for name in names {
            let pids = || self.find().into_iter().filter(|found| found.daemon == *name).map(|found| found.pid);
            end(pids, grace);
        }
    }

    /// Ends all that is left, whatever it is.
    pub(crate) fn stop_rest(&self) {
        end(|| self.find().into_iter().map(|found| found.pid), Duration::from_secs(2));
    }

    /// The last lines of a log.
    pub(crate) fn tail(&self, name: &str) -> String {
        last_lines(&self.log(name))
    }
}

/// The daemon that an environment names, when it has the mark.
fn marked(environment: &[u8], mark: &str) -> Option<String> {
    let mut variables = environment.split(|byte| *byte == 0);
    variables.clone().find(|variable| *variable == mark.as_bytes())?;
    let name = variables.find_map(|variable| variable.strip_prefix(PROGRAM.as_bytes())?.strip_prefix(b"="))?;
    Some(String::from_utf8_lossy(name).into_owned())
}

/// SIGTERM, a while, SIGKILL.
fn end<I: Iterator<Item = u32>>(pids: impl Fn() -> I, grace: Duration) {
    let signal = |signal: Signal| {
        let mut any = false;
        for pid in pids() {
            any = true;
            send(pid, signal);
        }
        any
    };
    if !signal(Signal::TERM) {
        return;
    }
    let began = Instant::now();
    while began.elapsed() < grace {
        if pids().next().is_none() {
            return;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    while signal(Signal::KILL) && began.elapsed() < grace + Duration::from_secs(5) {
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Sends a signal; a process that is gone already is no error.
pub(crate) fn send(pid: u32, signal: Signal) {
    if let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) {
        let _ = kill_process(pid, signal);
    }
}

fn last_lines(path: &Path) -> String {
    let text = fs::read_to_string(path).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    lines.get(lines.len().saturating_sub(LAST_LINES)..).unwrap_or_default().join("\n")
}

/// A program that was started a moment ago.
pub(crate) struct Started {
    name: &'static str,
    child: Child,
    log: PathBuf,
}

impl Started {
    /// Fails when it has ended, with the last it said.
    ///
    /// # Errors
    /// As said.
    pub(crate) fn check(&mut self) -> Result<()> {
        if let Some(status) = self.child.try_wait()? {
            bail!("{} ended with {status}; {} ends with:\n{}", self.name, self.log.display(), last_lines(&self.log));
        }
        Ok(())
    }
}

/// Waits until `ready` says so, as long as all programs run.
///
/// # Errors
/// When a program ends, or it takes longer than `limit`: with the reason that `ready` gave last.
pub(crate) fn wait_until(
    what: &str,
    limit: Duration,
    started: &mut [Started],
    mut ready: impl FnMut() -> Result<(), String>,
) -> Result<()> {
    let began = Instant::now();
    loop {
        let reason = match ready() {
            Ok(()) => return Ok(()),
            Err(reason) => reason,
        };
        started.iter_mut().try_for_each(Started::check)?;
        if began.elapsed() > limit {
            bail!("{what}: not ready after {} s: {reason}", limit.as_secs());
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sleeper(seconds: &str) -> Daemon {
        Daemon { name: "sleeper", program: "sleep".into(), arguments: vec![seconds.to_owned()] }
    }

    #[test]
    fn a_process_is_found_by_its_mark_and_ended() {
        let folder = tempfile::tempdir().unwrap();
        let processes = Processes::new(folder.path());
        let mut started = processes.start(&sleeper("600")).unwrap();
        // The system says that a program was started a moment before it shows what the program was given.
        let began = Instant::now();
        let mut found = processes.find();
        while found.is_empty() && began.elapsed() < Duration::from_secs(5) {
            found = processes.find();
        }
        assert_eq!(found, [Found { pid: started.child.id(), daemon: "sleeper".to_owned() }]);
        assert!(Processes::new(Path::new("/elsewhere")).find().is_empty());
        started.check().unwrap();
        // Taken off the table by somebody, as init would.
        let reaper = std::thread::spawn(move || started.child.wait().unwrap());
        processes.stop(&["other", "sleeper"], Duration::from_secs(5));
        assert!(processes.find().is_empty());
        assert!(!reaper.join().unwrap().success());
    }

    #[test]
    fn a_program_that_ends_is_told_with_its_last_words() {
        let folder = tempfile::tempdir().unwrap();
        let processes = Processes::new(folder.path());
        let daemon = Daemon { name: "sleeper", program: "sleep".into(), arguments: vec!["--what".to_owned()] };
        let mut started = [processes.start(&daemon).unwrap()];
        let waited = wait_until("x", Duration::from_secs(10), &mut started, || Err("no".to_owned()));
        let error = waited.unwrap_err().to_string();
        assert!(error.contains("sleeper ended with") && error.contains("--what"), "{error}");
    }

    #[test]
    fn only_the_whole_mark_counts() {
        let environment = b"A=1\0KEYREALM_CLUSTER=/x\0KEYREALM_CLUSTER_PROGRAM=etcd\0";
        assert_eq!(marked(environment, "KEYREALM_CLUSTER=/x"), Some("etcd".to_owned()));
        assert_eq!(marked(environment, "KEYREALM_CLUSTER=/xy"), None);
        assert_eq!(marked(b"KEYREALM_CLUSTER=/x/y\0KEYREALM_CLUSTER_PROGRAM=etcd\0", "KEYREALM_CLUSTER=/x"), None);
    }
}
