//! Which control groups the machine has, and the group that all pods of the bed lie in.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use rustix::process::Signal;

use super::process::send;

/// The group, below each root.
pub(crate) const GROUP: &str = "keyrealm-bed";
/// What the kubelet cannot do without.
const NEEDED: [&str; 4] = ["cpu", "cpuset", "memory", "pids"];

/// The control groups of a machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Cgroups {
    /// A tree for each controller (version 1), by its mount point.
    Separate(Vec<PathBuf>),
    /// One tree for all (version 2), with the controllers that it has.
    Unified(PathBuf, Vec<String>),
}

impl Cgroups {
    /// Of this machine.
    ///
    /// # Errors
    /// When a controller is missing that the kubelet needs.
    pub(crate) fn of_this_machine() -> Result<Self> {
        let mounts = fs::read_to_string("/proc/mounts").context("cannot read /proc/mounts")?;
        Self::choose(&mounts, |root| fs::read_to_string(root.join("cgroup.controllers")).unwrap_or_default())
    }

    /// From what `/proc/mounts` says, and the text of `cgroup.controllers` at the root of a unified tree.
    fn choose(mounts: &str, controllers: impl Fn(&Path) -> String) -> Result<Self> {
        let entries = mounts.lines().filter_map(|line| {
            let mut words = line.split(' ');
            let (_, at, kind, options) = (words.next()?, words.next()?, words.next()?, words.next()?);
            Some((PathBuf::from(at), kind, options))
        });
        let (mut separate, mut had) = (Vec::new(), Vec::new());
        for (at, kind, options) in entries {
            // Mounted there and nowhere deeper, the unified tree is the one in use; below it, it only counts processes.
            if kind == "cgroup2" && at == Path::new("/sys/fs/cgroup") {
                let found: Vec<String> = controllers(&at).split_whitespace().map(str::to_owned).collect();
                missing(&found, "cgroup v2")?;
                return Ok(Self::Unified(at, found));
            }
            if kind == "cgroup2" {
                // Beside separate trees: the group lies in it too.
                separate.push(at);
            } else if kind == "cgroup" {
                had.extend(options.split(',').filter(|option| NEEDED.contains(option)).map(str::to_owned));
                separate.push(at);
            }
        }
        missing(&had, "cgroup v1")?;
        Ok(Self::Separate(separate))
    }

    /// Makes the group in each tree.
    ///
    /// # Errors
    /// When it cannot be made, or its controllers cannot be handed down to it.
    pub(crate) fn make(&self) -> Result<()> {
        for root in self.roots() {
            let group = root.join(GROUP);
            fs::create_dir_all(&group).with_context(|| format!("cannot make {}", group.display()))?;
        }
        if let Self::Unified(root, controllers) = self {
            let enable: Vec<String> = controllers.iter().map(|name| format!("+{name}")).collect();
            for at in [root.clone(), root.join(GROUP)] {
                let file = at.join("cgroup.subtree_control");
                // One by one: a controller that cannot be handed down and is not needed stops nothing.
                for one in &enable {
                    if let Err(error) = fs::write(&file, one)
                        && NEEDED.iter().any(|needed| one.get(1..) == Some(needed))
                    {
                        return Err(error).with_context(|| {
                            format!(
                                "cannot hand down `{one}` in {}; processes in the root group of a container prevent it: \
                                 run on the machine itself",
                                file.display()
                            )
                        });
                    }
                }
            }
        }
        Ok(())
    }

    /// Ends every process of the group and takes it away.
    pub(crate) fn remove(&self) {
        for _ in 0..50 {
            let mut any = false;
            for root in self.roots() {
                for pid in processes(&root.join(GROUP)) {
                    any = true;
                    send(pid, Signal::KILL);
                }
            }
            if !any {
                break;
            }
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
        for root in self.roots() {
            remove_tree(&root.join(GROUP));
        }
    }

    fn roots(&self) -> &[PathBuf] {
        match self {
            Self::Separate(roots) => roots,
            Self::Unified(root, _) => std::slice::from_ref(root),
        }
    }
}

fn missing(found: &[String], which: &str) -> Result<()> {
    let missing: Vec<&str> = NEEDED.into_iter().filter(|needed| !found.iter().any(|name| name == needed)).collect();
    if missing.is_empty() {
        return Ok(());
    }
    bail!(
        "no pods can run here: {which} has no controller {}; mount it, or use a cluster of yours with --kubeconfig",
        missing.join(", ")
    )
}

fn processes(group: &Path) -> Vec<u32> {
    let mut found: Vec<u32> = fs::read_to_string(group.join("cgroup.procs"))
        .unwrap_or_default()
        .lines()
        .filter_map(|line| line.parse().ok())
        .collect();
    found.extend(children(group).iter().flat_map(|child| processes(child)));
    found
}

fn remove_tree(group: &Path) {
    for child in children(group) {
        remove_tree(&child);
    }
    let _ = fs::remove_dir(group);
}

fn children(group: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(group).into_iter().flatten().flatten();
    entries.map(|entry| entry.path()).filter(|path| path.is_dir()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As recorded on a machine with a tree for each controller and the unified one beside them.
    const HYBRID: &str = "tmpfs /sys/fs/cgroup tmpfs rw,relatime,mode=755 0 0\n\
        cgroup /sys/fs/cgroup/cpu cgroup rw,relatime,cpu 0 0\n\
        cgroup /sys/fs/cgroup/cpuacct cgroup rw,relatime,cpuacct 0 0\n\
        cgroup /sys/fs/cgroup/cpuset cgroup rw,relatime,cpuset 0 0\n\
        cgroup /sys/fs/cgroup/memory cgroup rw,relatime,memory 0 0\n\
        cgroup /sys/fs/cgroup/pids cgroup rw,relatime,pids 0 0\n\
        cgroup2 /sys/fs/cgroup/unified cgroup2 rw,relatime 0 0\n";
    /// As systemd mounts it since 2019.
    const UNIFIED: &str = "sysfs /sys sysfs rw,nosuid 0 0\n\
        cgroup2 /sys/fs/cgroup cgroup2 rw,nosuid,nodev,noexec,relatime,nsdelegate,memory_recursiveprot 0 0\n";

    #[test]
    fn the_tree_in_use_is_chosen() {
        let Cgroups::Separate(roots) = Cgroups::choose(HYBRID, |_| String::new()).unwrap() else { panic!("v1") };
        assert_eq!(roots.len(), 6);
        let all = "cpuset cpu io memory hugetlb pids rdma misc\n";
        let chosen = Cgroups::choose(UNIFIED, |_| all.to_owned()).unwrap();
        let Cgroups::Unified(root, controllers) = chosen else { panic!("v2") };
        assert_eq!((root.as_path(), controllers.len()), (Path::new("/sys/fs/cgroup"), 8));
    }

    #[test]
    fn a_missing_controller_is_named() {
        let error = Cgroups::choose(UNIFIED, |_| "cpuset cpu io pids".to_owned()).unwrap_err().to_string();
        assert!(error.contains("cgroup v2 has no controller memory"), "{error}");
        let without = HYBRID.replace("cgroup /sys/fs/cgroup/pids cgroup rw,relatime,pids 0 0\n", "");
        let error = Cgroups::choose(&without, |_| String::new()).unwrap_err().to_string();
        assert!(error.contains("cgroup v1 has no controller pids"), "{error}");
        assert!(Cgroups::choose("", |_| String::new()).is_err());
    }
}
