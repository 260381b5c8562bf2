//! `cargo xtask test`: the one test command.

use std::process::Command;
use std::time::Instant;

use anyhow::{Context, Result};
use clap::Args;
use keyrealm_testkit::{PostgresServer, SERVER_VARIABLE};

use crate::cluster::{Bed, HELD};
use crate::command::{OWN_PROGRAM, cargo, run as stage, say};
use crate::{crds, need, openapi, readme};

/// What to leave out.
#[derive(Args)]
pub(crate) struct Options {
    /// Installs nothing: what is missing is named with the line that installs it.
    #[arg(long)]
    no_install: bool,
    /// Runs no cluster and no pods, and says what was not run.
    #[arg(long)]
    no_pods: bool,
}

/// Runs every test.
///
/// # Errors
/// At the first stage that fails.
pub(crate) fn run(options: &Options) -> Result<()> {
    let began = Instant::now();
    need::programs(need::TESTS, !options.no_install)?;
    let validator = need::openapi_validator(!options.no_install)?;

    stage("format", &mut cargo(&["fmt", "--all", "--check"]))?;
    let clippy = ["clippy", "--workspace", "--all-targets", "--all-features", "--quiet", "--", "--deny", "warnings"];
    stage("clippy", &mut cargo(&clippy))?;
    // The demo as newcomers build it.
    let plain = ["clippy", "-p", "demo", "--all-targets", "--quiet", "--", "--deny", "warnings"];
    stage("clippy of the demo without features", &mut cargo(&plain))?;

    crds::run(true)?;

    // Its own processes end with this one; only the folder is taken away here.
    let server = PostgresServer::start().map_err(anyhow::Error::msg)?;
    say(&format!("PostgreSQL listens on {}:{}", server.host, server.port));
    let mut tests = cargo(&["test", "--workspace", "--features", "demo/kubernetes", "--no-fail-fast"]);
    tests.env(SERVER_VARIABLE, &server.folder);
    let tested = stage("tests", &mut tests);
    // The server may be reading it still.
    let _ = std::fs::remove_dir_all(&server.folder);
    tested?;

    openapi::run(true)?;
    for document in openapi::paths() {
        stage("OpenAPI validator", Command::new(&validator).arg(document))?;
    }
    readme::check()?;
    if options.no_pods {
        say("NOT RUN (--no-pods): clusters, images, and KMS and Identity in pods");
    } else {
        pods(options)?;
    }
    say(&format!("all passed in {:.0} s", began.elapsed().as_secs_f64()));
    Ok(())
}

/// The tests on real clusters: control planes alone, then the bed with our images in pods.
fn pods(options: &Options) -> Result<()> {
    let began = Instant::now();
    let _held = Bed::hold("cargo xtask test").context("the pod tests need the bed for themselves")?;
    let install: &[&str] = if options.no_install { &["--no-install"] } else { &[] };
    stage("the bed starts", own(&["cluster", "--bed", "up"]).args(install))?;
    let tested = on_the_bed(install);
    // Whatever came of it, nothing stays.
    let stopped = stage("the bed stops", &mut own(&["cluster", "--bed", "down"]));
    tested.and(stopped)?;
    say(&format!("clusters and pods: {:.0} s", began.elapsed().as_secs_f64()));
    Ok(())
}

fn on_the_bed(install: &[&str]) -> Result<()> {
    stage("images", own(&["images", "--load"]).args(install))?;
    stage("tests on clusters", &mut cargo(&["test", "-p", "xtask", "--features", "clusters", "--test", "clusters"]))?;
    let pods = ["test", "-p", "xtask", "--features", "clusters", "--test", "pods", "--", "--test-threads=1"];
    stage("tests in pods", cargo(&pods).env(HELD, "1"))
}

/// Another task of this program, which may use the bed that this one holds.
fn own(arguments: &[&str]) -> Command {
    let mut command = Command::new(OWN_PROGRAM);
    command.args(arguments).env(HELD, "1");
    command
}
