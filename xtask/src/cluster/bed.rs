//! Starting and stopping a cluster of our own: the bed with its node, or a control plane alone.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use keyrealm_base::{Clock, SystemClock};
use rustix::process::geteuid;

use super::cgroup::Cgroups;
use super::layout::{Kind, Layout, NODE_ADDRESS, NODE_NAME, Ports, Version};
use super::process::{Processes, Started, wait_until};
use super::programs::{Programs, kubectl};
use super::{addons, control_plane, database, images, network, node, pki, volumes};
use crate::command::{quietly, say};
use crate::lock::FileLock;
use crate::{need, space};

/// In which they are stopped: who uses another goes before it.
const ORDER: [&str; 10] = [
    "volumes",
    "coredns",
    "kube-proxy",
    "kubelet",
    "containerd",
    "kube-scheduler",
    "kube-controller-manager",
    "kube-apiserver",
    "etcd",
    "postgres",
];
/// Those of them that a control plane alone has.
const CONTROL_PLANE: std::ops::Range<usize> = 6..9;
/// The API server's own record of calls, beside what the programs print.
const AUDIT: &str = "audit";
const START: Duration = Duration::from_secs(60);
/// What etcd, images and pods need at least, in MiB.
const SPACE: u64 = 2 * 1024;

/// A cluster of our own.
pub(crate) struct Bed {
    kind: Kind,
    folder: PathBuf,
}

impl Bed {
    /// The one of this kind and name.
    ///
    /// # Errors
    /// When the name is none.
    pub(crate) fn new(kind: Kind, name: &str) -> Result<Self> {
        Ok(Self { kind, folder: Layout::folder_of(kind, name)? })
    }

    /// Starts it; one that runs whole stays as it is, what a broken start left is taken away first.
    ///
    /// # Errors
    /// What is missing or in the way; then nothing of it stays.
    pub(crate) fn up(&self, version: Version, install: bool) -> Result<()> {
        let began = Instant::now();
        self.check(version)?;
        let _lock = self.lock("cluster up")?;
        let (cgroups, programs) = if self.kind == Kind::Bed {
            need::programs(need::BED, install)?;
            (Some(Cgroups::of_this_machine()?), Programs::build(self.kind, version)?)
        } else {
            (None, Programs::build(self.kind, version)?)
        };
        if let Some(layout) = self.running() {
            if layout.version == version && self.broken(&layout).is_none() {
                say(&format!("the cluster runs already: {}", layout.api()));
                return Ok(());
            }
            say("what an earlier start left is taken away");
        }
        self.clean();
        let built = Instant::now();
        if let Err(error) = self.start(version, &programs, cgroups.as_ref()) {
            let kept = self.keep_logs();
            self.clean();
            return Err(error.context(format!("the cluster does not start{kept}")));
        }
        let layout = self.layout()?;
        say(&format!(
            "the cluster is ready after {:.1} s ({:.1} s of them to start): {}",
            began.elapsed().as_secs_f64(),
            built.elapsed().as_secs_f64(),
            layout.api()
        ));
        say(&format!("export KUBECONFIG={}", layout.kubeconfig().display()));
        Ok(())
    }

    fn check(&self, version: Version) -> Result<()> {
        if self.kind == Kind::Bed {
            ensure!(
                geteuid().is_root(),
                "only root can run pods here (bridge, mounts, containers); run it as root, name a cluster with \
                 --kubeconfig, or take --control-plane-only NAME, which needs no rights"
            );
            ensure!(version == Version::V1_34, "pods run on 1.34 only: later versions refuse cgroup v1");
        }
        Ok(())
    }

    fn lock(&self, purpose: &str) -> Result<Option<FileLock>> {
        match self.kind {
            Kind::Bed if std::env::var_os(HELD).is_some() => Ok(None),
            Kind::Bed => FileLock::take(Path::new(LOCK), purpose).map(Some),
            Kind::ControlPlane => FileLock::take(&self.folder.with_extension("lock"), purpose).map(Some),
        }
    }

    /// Keeps others from starting or stopping the bed while this lives; programs with [`HELD`] in their environment may.
    ///
    /// # Errors
    /// When somebody else holds it.
    pub(crate) fn hold(purpose: &str) -> Result<FileLock> {
        FileLock::take(Path::new(LOCK), purpose)
    }

    fn start(&self, version: Version, programs: &Programs, cgroups: Option<&Cgroups>) -> Result<()> {
        if self.kind == Kind::Bed {
            network::check_surroundings()?;
        }
        fs::create_dir_all(&self.folder).with_context(|| format!("cannot make {}", self.folder.display()))?;
        space::require(&self.folder, SPACE, "a cluster")?;
        let layout = Layout {
            kind: self.kind,
            version,
            folder: self.folder.clone(),
            ports: Ports::draw(self.kind)?,
            forwarded: network::forwards(),
        };
        // Before anything is made: from now on `down` knows what to take away.
        layout.write()?;
        if let Some(cgroups) = cgroups {
            network::open()?;
            network::check_ports()?;
            cgroups.make()?;
        }
        pki::write(&layout, &SystemClock)?;
        control_plane::write_audit_policy(&layout)?;
        let processes = Processes::new(&self.folder);
        let mut started = vec![
            processes.start(&control_plane::etcd(&layout, programs))?,
            processes.start(&control_plane::api_server(&layout, programs))?,
        ];
        if self.kind == Kind::Bed {
            node::configure(&layout)?;
            volumes::make(&layout)?;
            started.push(processes.start(&node::containerd(&layout)?)?);
            started.push(processes.start(&database::daemon(&layout)?)?);
        }
        let ask = |arguments: &[&str]| ask(&programs.kubectl, &layout, arguments);
        wait_until("the API server", START, &mut started, || ask(&["get", "--raw", "/readyz"]).map(drop))?;
        started.push(processes.start(&control_plane::controller_manager(&layout, programs))?);
        if let Some(scheduler) = control_plane::scheduler(&layout, programs) {
            started.push(processes.start(&scheduler)?);
            self.start_node(&layout, programs, &processes, &mut started)?;
        }
        if self.kind == Kind::ControlPlane {
            // The controllers take some seconds more; what waits for them, such as the end of a namespace, waits by itself.
            return started.iter_mut().try_for_each(Started::check);
        }
        wait_until("PostgreSQL", START, &mut started, || database::ready(&processes.log("postgres")))?;
        // What every pod needs, and the first thing that controllers make.
        wait_until("the controllers", START, &mut started, || {
            ask(&["get", "serviceaccount", "default", "--namespace", "default"]).map(drop)
        })
    }

    fn start_node(
        &self,
        layout: &Layout,
        programs: &Programs,
        processes: &Processes,
        started: &mut Vec<Started>,
    ) -> Result<()> {
        wait_until("containerd", START, started, || {
            let mut version = Command::new("ctr");
            version.arg("--address").arg(layout.containerd()).arg("version");
            quietly(&mut version).map(drop).map_err(|error| error.to_string())
        })?;
        node::load_pause(layout)?;
        addons::apply(layout, &programs.kubectl)?;
        let daemons = [
            node::kubelet(layout, programs),
            node::proxy(layout, programs),
            node::coredns(layout, programs),
            volumes::keeper(layout, &programs.kubectl)?,
        ];
        for daemon in &daemons {
            started.push(processes.start(daemon)?);
        }
        let condition = r#"jsonpath={.status.conditions[?(@.type=="Ready")].status}"#;
        wait_until("the node", START, started, || {
            match ask(&programs.kubectl, layout, &["get", "node", NODE_NAME, "--output", condition])?.as_str() {
                "True" => Ok(()),
                other => Err(format!("it says Ready={other}")),
            }
        })
    }

    /// Stops it and takes everything away; twice is no error.
    ///
    /// # Errors
    /// When somebody else is at it, or something stays.
    pub(crate) fn down(&self) -> Result<()> {
        if self.kind == Kind::Bed {
            ensure!(geteuid().is_root(), "only root can stop the bed");
        }
        let _lock = self.lock("cluster down")?;
        if !self.folder.exists() && Processes::new(&self.folder).find().is_empty() {
            say("there is no cluster");
            return Ok(());
        }
        self.clean();
        let left = self.left();
        ensure!(left.is_empty(), "not all of the cluster could be taken away: {}", left.join(", "));
        say("the cluster is gone");
        Ok(())
    }

    fn clean(&self) {
        let processes = Processes::new(&self.folder);
        let (node, control_plane) = ORDER.split_at(4);
        processes.stop(node, Duration::from_secs(5));
        // What a crash left of cluster.json does not keep the rest from going.
        let forwarded = Layout::read(&self.folder).ok().flatten().is_none_or(|layout| layout.forwarded);
        if self.kind == Kind::Bed
            && let Ok(cgroups) = Cgroups::of_this_machine()
        {
            cgroups.remove();
        }
        processes.stop(control_plane, Duration::from_secs(5));
        processes.stop_rest();
        if self.kind == Kind::Bed {
            unmount_below(&self.folder);
            network::remove(forwarded);
            remove_shared();
        }
        let _ = fs::remove_dir_all(&self.folder);
    }

    /// What is still there of it.
    fn left(&self) -> Vec<String> {
        let processes = Processes::new(&self.folder).find();
        let mut left: Vec<String> =
            processes.iter().map(|found| format!("process {} ({})", found.pid, found.daemon)).collect();
        if self.folder.exists() {
            left.push(self.folder.display().to_string());
        }
        if self.kind == Kind::Bed {
            let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
            let points = mount_points(&mounts, &self.folder);
            left.extend(points.iter().map(|point| format!("the mount {}", point.display())));
            left.extend(network::left());
        }
        left
    }

    /// Puts the logs where the next start does not take them away.
    fn keep_logs(&self) -> String {
        let Ok(cache) = need::cache() else { return String::new() };
        let kept = cache.join("failed-start");
        let _ = fs::remove_dir_all(&kept);
        let copied = quietly(Command::new("cp").arg("-r").arg(self.folder.join("logs")).arg(&kept));
        copied.map_or_else(|_| String::new(), |_| format!(" (its logs: {})", kept.display()))
    }

    fn running(&self) -> Option<Layout> {
        // Half-written, it is no whole cluster.
        let layout = Layout::read(&self.folder).unwrap_or_default();
        layout.filter(|_| !Processes::new(&self.folder).find().is_empty())
    }

    /// What is wrong with a cluster that runs, if anything.
    fn broken(&self, layout: &Layout) -> Option<String> {
        let found = Processes::new(&self.folder).find();
        let needed = if self.kind == Kind::Bed { Some(&ORDER[..]) } else { ORDER.get(CONTROL_PLANE) };
        let mut needed = needed.into_iter().flatten();
        let missing = needed.find(|name| !found.iter().any(|process| process.daemon == **name));
        if let Some(missing) = missing {
            return Some(format!("{missing} does not run"));
        }
        if let Err(error) = pki::check_time(layout, SystemClock.now()) {
            return Some(error.to_string());
        }
        let kubectl = kubectl(layout.version).ok()?;
        ask(&kubectl, layout, &["get", "--raw", "/readyz"]).err()
    }

    /// The cluster that runs.
    ///
    /// # Errors
    /// When none does.
    pub(crate) fn layout(&self) -> Result<Layout> {
        let layout = Layout::read(&self.folder)?;
        layout.with_context(|| format!("no cluster runs in {}; start it with cluster up", self.folder.display()))
    }

    /// Prints what runs.
    ///
    /// # Errors
    /// When nothing does, or something is wrong with it.
    pub(crate) fn status(&self) -> Result<()> {
        let layout = self.layout()?;
        let found = Processes::new(&self.folder).find();
        say(&format!("{} (Kubernetes {:?})", layout.api(), layout.version));
        for name in ORDER {
            let pids: Vec<u32> =
                found.iter().filter(|process| process.daemon == name).map(|process| process.pid).collect();
            if let Some(first) = pids.first() {
                let memory: u64 = pids.iter().map(|pid| resident(*pid)).sum();
                say(&format!("  {name:<24} process {first:<8} {:>5} MB", memory / 1024));
            }
        }
        say(&format!("export KUBECONFIG={}", layout.kubeconfig().display()));
        if let Some(reason) = self.broken(&layout) {
            bail!("the cluster is broken: {reason}; `cluster up` makes it anew");
        }
        if self.kind == Kind::Bed {
            let text = ask(&kubectl(layout.version)?, &layout, &["get", "nodes,pods", "--all-namespaces"]);
            say(&format!("PostgreSQL: {}", database::folder(&layout).display()));
            say(&format!("the node is {NODE_ADDRESS}\n{}", text.map_err(anyhow::Error::msg)?.trim_end()));
        }
        Ok(())
    }

    /// Loads an archive of images.
    ///
    /// # Errors
    /// When there is no node, or it does not take it.
    pub(crate) fn load_image(&self, archive: &Path) -> Result<()> {
        ensure!(self.kind == Kind::Bed, "a control plane alone has no node to load images into");
        images::import(&self.layout()?, archive)?;
        say(&format!("loaded {}", archive.display()));
        Ok(())
    }

    /// Prints the logs.
    ///
    /// # Errors
    /// When there is no cluster or no such program.
    pub(crate) fn logs(&self, program: Option<&str>) -> Result<()> {
        self.layout()?;
        let processes = Processes::new(&self.folder);
        let Some(program) = program else {
            for name in ORDER.iter().filter(|name| processes.log(name).is_file()) {
                say(&format!("{}:\n{}", processes.log(name).display(), processes.tail(name)));
            }
            return Ok(());
        };
        ensure!(program == AUDIT || ORDER.contains(&program), "`{program}` is none of {}, {AUDIT}", ORDER.join(", "));
        let path = processes.log(program);
        let text = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        crate::command::print(&text);
        Ok(())
    }

    /// How an administrator gets in, where it was started.
    pub(crate) fn kubeconfig(&self) -> Option<PathBuf> {
        self.layout().ok().map(|layout| layout.kubeconfig())
    }

    /// The kubectl of its version, told where it is.
    ///
    /// # Errors
    /// When there is no cluster.
    pub(crate) fn kubectl(&self) -> Result<Command> {
        let layout = self.layout()?;
        let mut command = Command::new(kubectl(layout.version)?);
        command.arg("--kubeconfig").arg(layout.kubeconfig());
        Ok(command)
    }
}

/// One bed a machine, whoever starts it.
const LOCK: &str = "/run/keyrealm-bed.lock";
/// Set for the programs of a task that holds the bed.
pub(crate) const HELD: &str = "KEYREALM_BED_HELD";

fn ask(kubectl: &Path, layout: &Layout, arguments: &[&str]) -> Result<String, String> {
    let mut command = Command::new(kubectl);
    command.arg("--kubeconfig").arg(layout.kubeconfig()).arg("--request-timeout=5s").args(arguments);
    quietly(&mut command).map_err(|error| error.to_string())
}

/// Memory in KiB.
fn resident(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|text| text.split_whitespace().next()?.parse().ok()).unwrap_or(0)
}

/// Takes away every mount below the folder, the deepest first.
fn unmount_below(folder: &Path) {
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    for point in mount_points(&mounts, folder) {
        let gone = quietly(Command::new("umount").arg(&point)).is_ok();
        if !gone {
            let _ = quietly(Command::new("umount").arg("--lazy").arg(&point));
        }
    }
}

/// The mount points below a folder, the latest first.
fn mount_points(mountinfo: &str, folder: &Path) -> Vec<PathBuf> {
    let points = mountinfo.lines().filter_map(|line| line.split(' ').nth(4)).map(PathBuf::from);
    let mut points: Vec<PathBuf> = points.filter(|point| point.starts_with(folder) && point != folder).collect();
    points.reverse();
    points
}

/// What the network plugins remember of pods, and empty folders, where everybody's lie and no setting says another place.
fn remove_shared() {
    for entry in fs::read_dir("/var/lib/cni/results").into_iter().flatten().flatten() {
        if entry.file_name().to_string_lossy().starts_with("keyrealm-bed-") {
            let _ = fs::remove_file(entry.path());
        }
    }
    for folder in ["/var/lib/cni/results", "/var/lib/cni", "/run/containerd/s", "/run/containerd"] {
        // Only what is empty goes.
        let _ = fs::remove_dir(folder);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_deepest_mount_goes_first() {
        let mounts = "1 2 3:4 / / rw - ext4 /dev/vda rw\n\
            5 1 0:6 / /var/lib/keyrealm-bed/kubelet/a rw - tmpfs tmpfs rw\n\
            6 5 0:7 / /var/lib/keyrealm-bed/kubelet/a/b rw - tmpfs tmpfs rw\n\
            7 1 0:8 / /var/lib/keyrealm-bedroom rw - tmpfs tmpfs rw\n";
        let points = mount_points(mounts, Path::new("/var/lib/keyrealm-bed"));
        assert_eq!(points.len(), 2);
        assert!(points[0].ends_with("b"));
    }
}
