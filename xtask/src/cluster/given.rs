//! A cluster of the caller's own. It may be somebody's production: it is named before anything is done, and left alone when
//! it has our resources from anything but a test.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use super::programs;
use crate::command::{quietly, say};

/// Marks what tests make.
const TEST_LABEL: &str = "keyrealm.dev/test-run";
/// The group of our resources.
const GROUP: &str = "keyrealm.dev";

/// A cluster by its kubeconfig.
pub(crate) struct Given {
    kubeconfig: PathBuf,
}

impl Given {
    pub(crate) fn new(kubeconfig: PathBuf) -> Self {
        Self { kubeconfig }
    }

    /// Says which cluster it is, and refuses one that is in use.
    ///
    /// # Errors
    /// When it cannot be reached, or has resources of the group that no test made.
    pub(crate) fn check(&self) -> Result<()> {
        let ask = |arguments: &[&str]| {
            quietly(self.kubectl()?.args(arguments)).with_context(|| format!("with {}", self.kubeconfig.display()))
        };
        let server = ask(&["config", "view", "--minify", "--output", "jsonpath={.clusters[0].cluster.server}"])?;
        let context = ask(&["config", "current-context"])?;
        say(&format!("using {server} (context {})", context.trim()));
        let columns = format!(
            "jsonpath={{range .items[*]}}{{.spec.group}} {{.metadata.name}} {{.metadata.labels.{}}}{{\"\\n\"}}{{end}}",
            TEST_LABEL.replace('.', "\\.")
        );
        let found = ask(&["get", "customresourcedefinitions", "--output", &columns])?;
        let foreign = foreign(&found);
        if !foreign.is_empty() {
            bail!(
                "this cluster has {} that no test made: Keyrealm is in use there; take another cluster",
                foreign.join(", ")
            );
        }
        Ok(())
    }

    pub(crate) fn kubeconfig(&self) -> PathBuf {
        self.kubeconfig.clone()
    }

    pub(crate) fn kubectl(&self) -> Result<Command> {
        programs::kubectl_for(&self.kubeconfig)
    }

    pub(crate) fn load_image(&self, archive: &Path) -> Result<()> {
        bail!(
            "{} cannot be loaded into a given cluster: push the images to a registry that its nodes read",
            archive.display()
        )
    }
}

/// The definitions of our group that carry no test's label. A line is group, name, label.
fn foreign(lines: &str) -> Vec<&str> {
    let rows = lines.lines().filter_map(|line| {
        let mut words = line.split(' ');
        Some((words.next()?, words.next()?, words.next().unwrap_or_default()))
    });
    rows.filter(|(group, _, label)| *group == GROUP && label.is_empty()).map(|(_, name, _)| name).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_resources_from_elsewhere_are_foreign() {
        let lines =
            "keyrealm.dev realms.keyrealm.dev \nkeyrealm.dev tenants.keyrealm.dev run-1\nother.io x.other.io \n";
        assert_eq!(foreign(lines), ["realms.keyrealm.dev"]);
        assert!(foreign("").is_empty());
    }
}
