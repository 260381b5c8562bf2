//! A `dockerd` of the task's own: all of it below one folder of the tool cache, its networks inside the bed's range
//! behind the guard, without a chain or a forwarding switch of its own; gone when the task ends.

use std::fs::{self, File};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, PoisonError};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use super::bridge;
use crate::command::say;
use crate::lock::FileLock;
use crate::{guard, need, signals, space};

const START: Duration = Duration::from_secs(60);
const STOP: Duration = Duration::from_secs(30);
static SWEEP: Mutex<()> = Mutex::new(());
const PAUSE: Duration = Duration::from_millis(100);
/// The longest path of a UNIX socket is 107 bytes, and containerd's is longer than ours.
const LONGEST: usize = 70;

/// Where its things lie.
#[derive(Debug, Clone)]
pub(super) struct Folders {
    base: PathBuf,
}

impl Folders {
    pub(super) fn new(cache: &Path) -> Result<Self> {
        let base = cache.join("docker");
        if base.as_os_str().len() > LONGEST {
            bail!("{} is too long for the path of a socket; set XDG_CACHE_HOME to a shorter folder", base.display());
        }
        fs::create_dir_all(&base).with_context(|| format!("cannot make {}", base.display()))?;
        Ok(Self { base })
    }

    /// The address of the engine, as DOCKER_HOST has it.
    pub(super) fn host(&self) -> String {
        format!("unix://{}", self.base.join("docker.sock").display())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.base.join(name)
    }

    fn arguments(&self) -> Vec<String> {
        let path = |name: &str| self.path(name).display().to_string();
        vec![
            format!("--host={}", self.host()),
            format!("--data-root={}", path("root")),
            format!("--exec-root={}", path("exec")),
            format!("--pidfile={}", path("pid")),
            format!("--bridge={}", bridge::NAME),
            format!("--default-address-pool=base={},size=24", bridge::POOL),
            // Nothing of ours is sent on: no masquerading, no chain, no switch of the kernel.
            "--ip-masq=false".into(),
            "--iptables=false".into(),
            "--ip-forward=false".into(),
        ]
    }
}

/// A running engine; it is stopped when this is dropped.
#[derive(Debug)]
pub(super) struct Daemon {
    folders: Folders,
    child: Child,
    _lock: FileLock,
}

impl Daemon {
    /// Starts it, after the leftovers of one that was killed are gone.
    ///
    /// # Errors
    /// Without root, without the programs, when another task has it, or with the end of its log.
    pub(super) fn start(folders: Folders, install: bool, child_decides: bool) -> Result<Self> {
        need::root_rights("a Docker engine of the task's own", "start a Docker engine that answers `docker version`")?;
        need::programs(need::ENGINE, install)?;
        let lock = FileLock::take(&folders.path("lock"), "the Docker engine of the tasks")?;
        space::require(&folders.base, 2 * 1024, "the Docker engine with its images")?;
        sweep(&folders)?;
        let cleaned = folders.clone();
        signals::clean_up_by(child_decides, move || {
            if let Err(error) = sweep(&cleaned) {
                say(&format!("{error:#}"));
            }
        })?;
        guard::up()?;
        bridge::up()?;
        let log = File::create(folders.path("log")).context("cannot write the log of dockerd")?;
        // The signal of the parent's death ends it with the task, however that ends; a group of its own keeps a Ctrl-C
        // away, which is for the task.
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "TERM", "--", "dockerd"]).args(folders.arguments());
        command.process_group(0).stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        let began = Instant::now();
        let child = command.spawn().context("cannot start dockerd")?;
        let mut daemon = Self { folders, child, _lock: lock };
        daemon.wait_until_it_answers()?;
        say(&format!("no Docker engine answers: started one of our own in {:.1} s", began.elapsed().as_secs_f64()));
        Ok(daemon)
    }

    fn wait_until_it_answers(&mut self) -> Result<()> {
        let began = Instant::now();
        while !super::engine::answers(Some(&self.folders.host())) {
            if let Some(status) = self.child.try_wait()? {
                bail!("dockerd ended with {status}: {}", self.end_of_log());
            }
            if began.elapsed() > START {
                bail!("dockerd does not answer after {} s: {}", START.as_secs(), self.end_of_log());
            }
            sleep(PAUSE);
        }
        Ok(())
    }

    fn end_of_log(&self) -> String {
        let path = self.folders.path("log");
        let text = fs::read_to_string(&path).unwrap_or_default();
        let lines: Vec<&str> = text.lines().rev().filter(|line| !line.contains("level=info")).take(5).collect();
        let lines: Vec<&str> = lines.into_iter().rev().collect();
        format!("{}\n(all of it: {})", lines.join("\n"), path.display())
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        terminate(self.child.id());
        let began = Instant::now();
        while began.elapsed() < STOP && matches!(self.child.try_wait(), Ok(None)) {
            sleep(PAUSE);
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
        match sweep(&self.folders) {
            Ok(()) => say("the Docker engine is stopped"),
            Err(error) => say(&format!("the Docker engine is stopped, but not all of it is gone: {error:#}")),
        }
    }
}

/// Ends what runs from the folder and takes away its mounts, its bridges and the guard.
///
/// # Errors
/// When something stays.
fn sweep(folders: &Folders) -> Result<()> {
    // The end of the task and a signal may come together.
    let _alone = SWEEP.lock().unwrap_or_else(PoisonError::into_inner);
    let began = Instant::now();
    loop {
        let running = processes(&folders.base);
        if running.is_empty() {
            break;
        }
        let late = began.elapsed() > STOP;
        // The engine takes its children along when it is asked; the children are asked only when it has gone.
        let engines: Vec<u32> = running.iter().filter(|(_, name)| name == "dockerd").map(|(pid, _)| *pid).collect();
        for (pid, _) in running.iter().filter(|(pid, _)| late || engines.is_empty() || engines.contains(pid)) {
            if late { kill(*pid) } else { terminate(*pid) }
        }
        if began.elapsed() > STOP * 2 {
            bail!("still running from {}: {running:?}", folders.base.display());
        }
        sleep(PAUSE);
    }
    let mounts = fs::read_to_string("/proc/mounts").context("cannot read /proc/mounts")?;
    for mount in below(&mounts, &folders.base) {
        let status = Command::new("umount").args(["--lazy", &mount]).status().context("cannot start umount")?;
        if !status.success() {
            bail!("cannot unmount {mount}");
        }
    }
    bridge::down()?;
    guard::down();
    Ok(())
}

/// The processes whose command names something below the folder, with the names of their programs.
fn processes(base: &Path) -> Vec<(u32, String)> {
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    let pids = entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    pids.filter(|pid| *pid != std::process::id())
        .filter_map(|pid| Some((pid, program(&fs::read(format!("/proc/{pid}/cmdline")).ok()?, base)?)))
        .collect()
}

/// The program of a command line, if it is one of the engine's and has a path below the folder.
fn program(command: &[u8], base: &Path) -> Option<String> {
    let command = String::from_utf8_lossy(command);
    let below = format!("{}/", base.display());
    let name = command.split('\0').next()?.rsplit('/').next()?;
    let ours = name == "dockerd" || name.starts_with("containerd") || name == "docker-proxy";
    (ours && command.split('\0').skip(1).any(|word| word.contains(&below))).then(|| name.to_owned())
}

/// The mounts below the folder, the innermost first.
fn below(mounts: &str, base: &Path) -> Vec<String> {
    let mut found: Vec<String> = mounts
        .lines()
        .filter_map(|line| line.split(' ').nth(1))
        .filter(|target| Path::new(target).starts_with(base))
        .map(str::to_owned)
        .collect();
    found.sort_by_key(|target| std::cmp::Reverse(target.len()));
    found
}

fn terminate(pid: u32) {
    send(pid, rustix::process::Signal::TERM);
}

fn kill(pid: u32) {
    send(pid, rustix::process::Signal::KILL);
}

fn send(pid: u32, signal: rustix::process::Signal) {
    if let Some(pid) = i32::try_from(pid).ok().and_then(rustix::process::Pid::from_raw) {
        // It may have gone in between.
        let _ = rustix::process::kill_process(pid, signal);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_our_own_processes_are_found() {
        let base = Path::new("/cache/docker");
        let named = |words: &[&str]| program(words.join("\0").as_bytes(), base);
        assert_eq!(named(&["dockerd", "--data-root=/cache/docker/root"]).as_deref(), Some("dockerd"));
        let shim = ["/usr/bin/containerd-shim-runc-v2", "-address", "/cache/docker/exec/containerd/containerd.sock"];
        assert_eq!(named(&shim).as_deref(), Some("containerd-shim-runc-v2"));
        assert_eq!(named(&["dockerd", "--data-root=/var/lib/docker"]), None);
        assert_eq!(named(&["tail", "-f", "/cache/docker/log"]), None);
        assert_eq!(named(&["dockerd", "--data-root=/cache/docker-other/root"]), None);
    }

    #[test]
    fn mounts_go_from_the_inside_out() {
        let mounts = "overlay / overlay rw 0 0\n/dev/a /cache/docker/root ext4 rw 0 0\noverlay \
                      /cache/docker/root/overlay2/x/merged overlay rw 0 0\ntmpfs /cache/dockers tmpfs rw 0 0\n";
        let found = below(mounts, Path::new("/cache/docker"));
        assert_eq!(found, ["/cache/docker/root/overlay2/x/merged", "/cache/docker/root"]);
    }

    #[test]
    fn nothing_of_the_engine_lies_elsewhere_or_opens_a_way_out() {
        let folder = tempfile::tempdir().unwrap();
        let folders = Folders::new(folder.path()).unwrap();
        let arguments = folders.arguments().join(" ");
        for wanted in ["--ip-masq=false", "--iptables=false", "--ip-forward=false", "base=198.18.192.0/18"] {
            assert!(arguments.contains(wanted), "{arguments}");
        }
        assert_eq!(arguments.matches(&folder.path().display().to_string()).count(), 4, "{arguments}");
        let long = folder.path().join("x".repeat(80));
        assert!(Folders::new(&long).unwrap_err().to_string().contains("XDG_CACHE_HOME"));
    }
}
