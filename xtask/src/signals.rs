//! What a task does when it is told to end: it takes away what it started, then goes.

use anyhow::{Context, Result};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use crate::command::say;

/// From now on runs `clean` at the first signal and ends the process. A Ctrl-C goes to the children as well; with
/// `child_decides` it is theirs alone, and the task ends when they do.
///
/// # Errors
/// When the signals cannot be had.
pub(crate) fn clean_up_by(child_decides: bool, clean: impl FnOnce() + Send + 'static) -> Result<()> {
    let mut signals = Signals::new([SIGHUP, SIGINT, SIGTERM]).context("cannot listen for signals")?;
    std::thread::spawn(move || {
        let ends = signals.forever().find(|signal| !(child_decides && *signal == SIGINT));
        let signal = ends.unwrap_or(SIGTERM);
        say(&format!("signal {signal}: cleaning up"));
        clean();
        std::process::exit(128 + signal);
    });
    Ok(())
}
