//! `cargo xtask helm` and `cargo xtask kubeconform`: programs built from their modules, away from the user's own settings.

use std::ffi::OsString;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};
use clap::Args;

use super::schemas;
use crate::command::say;
use crate::tools::{HELM, KUBECONFORM};
use crate::{cluster, need};

/// What the program is told.
#[derive(Args)]
#[command(disable_help_flag = true)]
pub(crate) struct Arguments {
    /// The program's own arguments.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "ARGUMENTS")]
    arguments: Vec<OsString>,
}

/// Runs helm and returns its exit code. Its settings lie in the cache, and its cluster is that of `cargo xtask cluster`: the
/// user's own, of ~/.config and ~/.kube, are neither read nor written.
///
/// # Errors
/// When helm cannot be built or started.
pub(crate) fn helm(given: &Arguments) -> Result<i32> {
    let home = need::cache()?.join("helm");
    let kubeconfig = cluster::kubeconfig()?;
    let mut command = Command::new(HELM.programs()?.join("helm"));
    separate(&mut command, std::env::vars_os().map(|(name, _)| name), &home);
    // A file that is not there is a cluster that is not there.
    command.env("KUBECONFIG", kubeconfig.clone().unwrap_or_else(|| home.join("no-cluster")));
    let status = command.args(&given.arguments).status().context("cannot start helm")?;
    if !status.success() && kubeconfig.is_none() {
        say("no cluster is up here; for what needs one: cargo xtask cluster up");
    }
    Ok(status.code().unwrap_or(1))
}

/// Takes away what the environment tells helm, and gives it folders of its own.
fn separate(command: &mut Command, environment: impl Iterator<Item = OsString>, home: &Path) {
    for name in environment.filter(|name| {
        let name = name.to_string_lossy();
        name.starts_with("HELM_") || name == "KUBECONFIG"
    }) {
        command.env_remove(name);
    }
    for (name, folder) in [("HELM_CONFIG_HOME", "config"), ("HELM_CACHE_HOME", "cache"), ("HELM_DATA_HOME", "data")] {
        command.env(name, home.join(folder));
    }
}

/// Runs kubeconform and returns its exit code. Schemas are our own, made here, unless a place is named; nothing is downloaded.
///
/// # Errors
/// When kubeconform or the schemas cannot be made.
pub(crate) fn kubeconform(given: &Arguments) -> Result<i32> {
    let mut command = Command::new(KUBECONFORM.programs()?.join("kubeconform"));
    let names = |flag: &str| given.arguments.iter().any(|word| is_flag(&word.to_string_lossy(), flag));
    if !names("schema-location") {
        command.arg("-schema-location").arg(schemas::folder()?.join(schemas::LOCATION));
        if !names("kubernetes-version") {
            command.args(["-kubernetes-version", schemas::NEWEST]);
        }
    }
    let status = command.args(&given.arguments).status().context("cannot start kubeconform")?;
    Ok(status.code().unwrap_or(1))
}

/// Go's flags have one hyphen or two, and a value after `=` or a space.
fn is_flag(word: &str, flag: &str) -> bool {
    let name = word.strip_prefix("--").or_else(|| word.strip_prefix('-'));
    name.is_some_and(|name| name.split('=').next() == Some(flag))
}

#[cfg(test)]
mod tests {
    use std::ffi::OsStr;

    use super::*;

    #[test]
    fn helm_sees_nothing_of_the_user() {
        let mut command = Command::new("helm");
        let environment = ["HELM_REPOSITORY_CONFIG", "HELM_NAMESPACE", "KUBECONFIG", "HOME"].map(OsString::from);
        separate(&mut command, environment.into_iter(), Path::new("/cache/helm"));
        let set = |name: &str| command.get_envs().find(|(key, _)| *key == OsStr::new(name)).map(|(_, value)| value);
        for gone in ["HELM_REPOSITORY_CONFIG", "HELM_NAMESPACE", "KUBECONFIG"] {
            assert_eq!(set(gone), Some(None), "{gone}");
        }
        assert_eq!(set("HELM_CONFIG_HOME"), Some(Some(OsStr::new("/cache/helm/config"))));
        assert_eq!(set("HOME"), None, "it stays as it is");
    }

    #[test]
    fn flags_are_found_in_each_of_their_forms() {
        for word in ["-schema-location", "--schema-location", "-schema-location=x"] {
            assert!(is_flag(word, "schema-location"), "{word}");
        }
        for word in ["schema-location", "-schema", "-strict", "x=-schema-location"] {
            assert!(!is_flag(word, "schema-location"), "{word}");
        }
    }
}
