//! The commands of the README, run as they stand there.

use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::command::{root, run};

/// The lines of the README's blocks that start with ```` ```sh ````. Those that start with ```` ```sh bed ```` want a cluster:
/// the tests on the bed run them, each block as one script.
///
/// # Errors
/// When the README cannot be read or has no such block.
fn commands() -> Result<Vec<String>> {
    let text = std::fs::read_to_string(root().join("README.md")).context("cannot read README.md")?;
    let mut inside = false;
    let mut found = Vec::new();
    for line in text.lines() {
        match line.trim() {
            "```sh" => inside = true,
            "```" => inside = false,
            "" => {}
            command if inside && !command.starts_with('#') => found.push(command.to_owned()),
            _ => {}
        }
    }
    if found.is_empty() {
        bail!("README.md has no ```sh block");
    }
    Ok(found)
}

/// Runs each command of the README but the one that runs this.
///
/// # Errors
/// When one fails.
pub(crate) fn check() -> Result<()> {
    for line in commands()?.iter().filter(|line| !line.starts_with("cargo xtask test")) {
        run(&format!("README: {line}"), Command::new("sh").arg("-c").arg(line).current_dir(root()))?;
    }
    Ok(())
}
