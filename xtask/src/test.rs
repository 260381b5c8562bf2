//! `cargo xtask test`: the one test command.

use std::process::Command;
use std::time::Instant;

use anyhow::{Context, Result};
use clap::Args;
use keyrealm_testkit::{PostgresServer, SERVER_VARIABLE};

use crate::cluster::{self, Bed, HELD};
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
    /// Ends the operator at every step, looks at it at rest for two minutes, and makes 1,000 random edits, not 100.
    #[arg(long)]
    full: bool,
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
    // Built once from Go modules: helm in two minutes, kubeconform and the schemas in some seconds.
    let chart = ["test", "-p", "xtask", "--features", "clusters", "--test", "chart"];
    stage("the chart (with its tools built: about 20 s)", &mut cargo(&chart))?;
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
    let tested = on_the_bed(install, options.full);
    // Whatever came of it, nothing stays.
    let stopped = stage("the bed stops", &mut own(&["cluster", "--bed", "down"]));
    tested.and(stopped)?;
    say(&format!("clusters and pods: {:.0} s", began.elapsed().as_secs_f64()));
    Ok(())
}

fn on_the_bed(install: &[&str], full: bool) -> Result<()> {
    stage("images", own(&["images", "--load"]).args(install))?;
    let clusters = ["clusters", "resources", "release"].iter().flat_map(|test| ["--test", *test]);
    stage("tests on clusters", cargo(&["test", "-p", "xtask", "--features", "clusters"]).args(clusters))?;
    operator(install, full)?;
    let pods = ["--test", "pods", "--test", "operator", "--", "--test-threads=1"];
    stage("tests in pods", cargo(&["test", "-p", "xtask", "--features", "clusters"]).args(pods).env(HELD, "1"))
}

/// The operator on a control plane of its own: the pods are played, all else is real.
fn operator(install: &[&str], full: bool) -> Result<()> {
    const NAME: &str = "tests-of-the-operator";
    let began = Instant::now();
    let cluster = ["cluster", "--control-plane-only", NAME];
    stage("a control plane for the operator", own(&cluster).arg("up").args(install))?;
    let tested = || {
        let kubeconfig = cluster::kubeconfig_of(NAME)?.context("the control plane has no kubeconfig")?;
        let test = |arguments: &[&str]| {
            let mut command = cargo(&["test", "-p", "operator", "--no-fail-fast", "--features"]);
            command.args(arguments).env("KEYREALM_TEST_KUBECONFIG", &kubeconfig);
            command
        };
        // One build for all: a failpoint that nobody names does nothing.
        let crashes = ["clusters,failpoints", "--test", "crashes"];
        let some = ["clusters,failpoints", "--test", "api_server", "--test", "tenants"];
        stage("tests of the operator", &mut test(&some))?;
        if full {
            stage("the operator ended at every step", test(&crashes).env("KEYREALM_TEST_FULL", "1"))?;
            let alone = [&crashes[..], &["--", "--ignored", "--test-threads=1"]].concat();
            stage("tests that need the API server for themselves", &mut test(&alone))?;
        } else {
            let some = [&crashes[..], &["--", "edits::", "namespaced::"]].concat();
            stage("the operator's own program: random edits, given namespaces", &mut test(&some))?;
        }
        Ok(())
    };
    let tested = tested();
    let stopped = stage("the control plane stops", own(&cluster).arg("down"));
    tested.and(stopped)?;
    say(&format!("the operator: {:.0} s", began.elapsed().as_secs_f64()));
    Ok(())
}

/// Another task of this program, which may use the bed that this one holds.
fn own(arguments: &[&str]) -> Command {
    let mut command = Command::new(OWN_PROGRAM);
    command.args(arguments).env(HELD, "1");
    command
}
