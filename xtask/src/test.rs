//! `cargo xtask test`: the one test command.

use std::process::Command;
use std::time::Instant;

use anyhow::Result;
use clap::Args;

use crate::command::{cargo, run as stage, say};
use crate::{need, openapi, readme};

/// What to leave out.
#[derive(Args)]
pub(crate) struct Options {
    /// Installs nothing: what is missing is named with the line that installs it.
    #[arg(long)]
    no_install: bool,
}

/// Runs every test.
///
/// # Errors
/// At the first stage that fails.
pub(crate) fn run(options: &Options) -> Result<()> {
    let began = Instant::now();
    need::programs(!options.no_install)?;
    let validator = need::openapi_validator(!options.no_install)?;

    stage("format", &mut cargo(&["fmt", "--all", "--check"]))?;
    let clippy = ["clippy", "--workspace", "--all-targets", "--quiet", "--", "--deny", "warnings"];
    stage("clippy", &mut cargo(&clippy))?;

    stage("tests", &mut cargo(&["test", "--workspace", "--no-fail-fast"]))?;

    openapi::run(true)?;
    for document in openapi::paths() {
        stage("OpenAPI validator", Command::new(&validator).arg(document))?;
    }
    readme::check()?;
    say(&format!("all passed in {:.0} s", began.elapsed().as_secs_f64()));
    Ok(())
}
