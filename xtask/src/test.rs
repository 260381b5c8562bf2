//! `cargo xtask test`: the one test command.

use std::process::Command;
use std::time::Instant;

use anyhow::Result;
use clap::Args;
use keyrealm_testkit::{PostgresServer, SERVER_VARIABLE};

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
    let cluster =
        ["clippy", "-p", "demo", "--features", "kubernetes", "--all-targets", "--quiet", "--", "--deny", "warnings"];
    stage("clippy of the demo for clusters", &mut cargo(&cluster))?;

    // Its own processes end with this one; only the folder is taken away here.
    let server = PostgresServer::start().map_err(anyhow::Error::msg)?;
    say(&format!("PostgreSQL listens on 127.0.0.1:{}", server.port));
    let mut tests = cargo(&["test", "--workspace", "--no-fail-fast"]);
    tests.env(SERVER_VARIABLE, &server.folder);
    // What differs with the feature; the tests of processes are the same with and without it.
    let mut cluster =
        cargo(&["test", "-p", "demo", "--features", "kubernetes", "--lib", "--test", "arguments", "--test", "cluster"]);
    let tested = stage("tests", &mut tests).and_then(|()| stage("tests of the demo for clusters", &mut cluster));
    // The server may be reading it still.
    let _ = std::fs::remove_dir_all(&server.folder);
    tested?;

    openapi::run(true)?;
    for document in openapi::paths() {
        stage("OpenAPI validator", Command::new(&validator).arg(document))?;
    }
    readme::check()?;
    say(&format!("all passed in {:.0} s", began.elapsed().as_secs_f64()));
    Ok(())
}
