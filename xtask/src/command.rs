//! Running other programs, each announced before it runs.

use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context, Result, bail};

/// The workspace folder.
pub(crate) fn root() -> PathBuf {
    // <workspace>/xtask. As cargo runs this task first: two clones that share a target folder share this program, too, and
    // where it was built may be gone.
    let here = std::env::var_os("CARGO_MANIFEST_DIR").unwrap_or_else(|| env!("CARGO_MANIFEST_DIR").into());
    let here = PathBuf::from(here);
    here.parent().map_or(here.clone(), PathBuf::from)
}

/// `cargo` as it runs this task, in the workspace folder.
pub(crate) fn cargo(args: &[&str]) -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.args(args).current_dir(root());
    command
}

/// This program, also when a build has replaced its file meanwhile.
pub(crate) const OWN_PROGRAM: &str = "/proc/self/exe";

/// A line of progress.
#[allow(clippy::print_stderr, reason = "a task talks to the person who runs it")]
pub(crate) fn say(text: &str) {
    eprintln!("xtask: {text}");
}

/// The output of a task.
#[allow(clippy::print_stdout, reason = "what was asked for")]
pub(crate) fn print(text: &str) {
    print!("{text}");
}

/// Runs the command and says how long it took.
///
/// # Errors
/// When it cannot be started or ends with another status than 0.
pub(crate) fn run(what: &str, command: &mut Command) -> Result<()> {
    say(what);
    let began = Instant::now();
    let status = command.stdin(Stdio::null()).status().with_context(|| format!("cannot start {command:?}"))?;
    if !status.success() {
        bail!("{what}: {command:?} ended with {status}");
    }
    say(&format!("{what}: {:.1} s", began.elapsed().as_secs_f64()));
    Ok(())
}

/// What the command prints on its standard output.
///
/// # Errors
/// When it cannot be started, ends with another status than 0 or prints no UTF-8.
pub(crate) fn output(what: &str, command: &mut Command) -> Result<String> {
    let output = command
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()
        .with_context(|| format!("cannot start {command:?}"))?;
    if !output.status.success() {
        bail!("{what}: {command:?} ended with {}", output.status);
    }
    String::from_utf8(output.stdout).with_context(|| format!("{what}: the output is not UTF-8"))
}

/// Runs the command without a word; what it printed is the answer, or part of the error.
///
/// # Errors
/// When it cannot be started or ends with another status than 0.
pub(crate) fn quietly(command: &mut Command) -> Result<String> {
    let output = command.stdin(Stdio::null()).output().with_context(|| format!("cannot start {command:?}"))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        bail!("{command:?} ended with {}: {}", output.status, said.trim());
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Runs the command with this text as its standard input.
///
/// # Errors
/// As [`quietly`].
pub(crate) fn feed(command: &mut Command, text: &str) -> Result<String> {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("cannot start {command:?}"))?;
    if let Some(mut input) = child.stdin.take() {
        // One that ends early says why on its other outputs.
        let _ = input.write_all(text.as_bytes());
    }
    let output = child.wait_with_output()?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        bail!("{command:?} ended with {}: {}", output.status, said.trim());
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
