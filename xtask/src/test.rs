//! `cargo xtask test`: the one test command.

use std::process::Command;
use std::time::Instant;

use anyhow::{Context, Result};
use clap::Args;
use keyrealm_testkit::{PROGRAMS_VARIABLE, PostgresServer, SERVER_VARIABLE};

use crate::cluster::{self, Bed, HELD};
use crate::command::{OWN_PROGRAM, cargo, run as stage, say};
use crate::{crds, need, openapi, postgres, readme};

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

    // On the newest PostgreSQL; the installed one is that of the clusters and pods below.
    workspace(postgres::NEWEST, !options.no_install)?;
    if options.full {
        let older = postgres::VERSIONS.iter().filter(|version| **version != postgres::NEWEST);
        older.copied().try_for_each(|version| workspace(version, !options.no_install))?;
    }

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

/// The tests of all crates, those of the database on a PostgreSQL of this version.
fn workspace(version: &str, install: bool) -> Result<()> {
    let programs = postgres::programs(version, install);
    let server = match &programs {
        Ok(programs) => PostgresServer::start_from(programs.folder()),
        Err(error) => {
            say(&format!("NOT RUN on PostgreSQL {version}, on the installed one instead: {error:#}"));
            PostgresServer::start()
        }
    };
    // Its own processes end with this one; only the folder is taken away here.
    let server = server.map_err(anyhow::Error::msg)?;
    say(&format!("{} listens on {}:{}", server.version().map_err(anyhow::Error::msg)?, server.host, server.port));
    let mut tests = cargo(&["test", "--workspace", "--features", "demo/kubernetes", "--no-fail-fast"]);
    tests.env(SERVER_VARIABLE, &server.folder).env(PROGRAMS_VARIABLE, &server.programs);
    let tested = stage("tests", &mut tests);
    // The server may be reading it still.
    let _ = std::fs::remove_dir_all(&server.folder);
    tested
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
        // What the suites called, for the comparison with the rights.
        let calls = tempfile::tempdir()?;
        let test = |arguments: &[&str]| {
            let mut command = cargo(&["test", "-p", "operator", "--no-fail-fast", "--features"]);
            command.args(arguments).env("KEYREALM_TEST_KUBECONFIG", &kubeconfig);
            command.env("KEYREALM_TEST_CALLS", calls.path());
            command
        };
        // One build for all: a failpoint that nobody names does nothing.
        const FEATURES: &str = "clusters,failpoints";
        let crashes = [FEATURES, "--test", "crashes"];
        stage("tests of the operator", &mut test(&[FEATURES, "--test", "api_server", "--test", "tenants"]))?;
        stage("the operator's rights are those that it used", &mut test(&[FEATURES, "--test", "used_rights"]))?;
        if full {
            stage("the operator ended at every step", test(&crashes).env("KEYREALM_TEST_FULL", "1"))?;
            let alone = [&crashes[..], &["--", "--ignored", "--test-threads=1"]].concat();
            stage("tests that need the API server for themselves", &mut test(&alone))?;
        } else {
            // They wait more than they work.
            let some =
                ["--", "--test-threads=4", "--skip", "each_step_of_realms", "--skip", "each_step_of_a_demonstration"];
            stage(
                "the operator's own program, and what goes away around it",
                &mut test(&[&crashes[..], &some].concat()),
            )?;
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
