//! `operator run|crds|check|live|ready`.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context, Result};
use clap::{Parser, Subcommand};
use keyrealm_base::SystemClock;
use keyrealm_config::{LogFormat, Setting, Sources, environment, load};
use keyrealm_crypto::SystemRandom;
use keyrealm_telemetry::Format;
use operator::config::Settings;
use operator::failpoint::Failpoint;
use operator::run::Deps;
use operator::{check, controller, definitions, health, run};
use tokio::signal::unix::{SignalKind, signal};

/// The Keyrealm operator.
#[derive(Parser)]
#[command(version)]
struct Cli {
    /// A configuration file; may be given more than once, the later over the earlier.
    #[arg(long, global = true)]
    config: Vec<PathBuf>,
    /// A setting, over files and environment; may be given more than once.
    #[arg(long, global = true, value_name = "KEY=VALUE")]
    set: Vec<Setting>,
    /// A kubeconfig; without it kubectl's own, or the pod's service account.
    #[arg(long, global = true, value_name = "FILE")]
    kubeconfig: Option<PathBuf>,
    /// A context of the kubeconfig.
    #[arg(long, global = true)]
    context: Option<String>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Runs the operator until SIGTERM or Ctrl-C.
    Run,
    /// Prints the definitions of the resources.
    Crds {
        /// Applies them to the cluster instead, and waits until they are served.
        #[arg(long)]
        apply: bool,
    },
    /// Looks whether the operator can work in the cluster: a line for each thing, with the mend.
    Check,
    /// Asks the running operator whether it lives.
    Live,
    /// Asks the running operator whether it is ready.
    Ready,
}

#[tokio::main]
async fn main() -> ExitCode {
    match command(Cli::parse()).await {
        Ok(code) => code,
        Err(error) => {
            complain(&format!("operator: {error:#}"));
            ExitCode::from(2)
        }
    }
}

#[allow(clippy::print_stderr, reason = "the one place that speaks to the caller's terminal")]
fn complain(text: &str) {
    eprintln!("{text}");
}

#[allow(clippy::print_stdout, reason = "the output of a command")]
fn answer(text: &str) {
    print!("{text}");
}

async fn command(cli: Cli) -> Result<ExitCode> {
    if matches!(cli.command, Command::Crds { apply: false }) {
        answer(&definitions::yaml()?);
        return Ok(ExitCode::SUCCESS);
    }
    let environment = environment("operator")?;
    let sources = Sources { product: "operator", files: &cli.config, environment, flags: cli.set };
    let mut settings: Settings = load(&sources)?;
    settings.kubeconfig = cli.kubeconfig.or(settings.kubeconfig);
    settings.context = cli.context.or(settings.context);
    settings.check()?;
    match cli.command {
        Command::Run => serve(settings).await?,
        Command::Crds { .. } => {
            for name in definitions::apply(&settings).await? {
                answer(&format!("{name} is served\n"));
            }
        }
        Command::Check => return Ok(look(&settings).await),
        Command::Live => health::live(&settings.runtime_dir, &settings.server.admin.address).await?,
        Command::Ready => health::ready(&settings.runtime_dir, &settings.server.admin.address).await?,
    }
    Ok(ExitCode::SUCCESS)
}

async fn serve(settings: Settings) -> Result<()> {
    let format = match settings.telemetry.format {
        LogFormat::Json => Format::Json,
        LogFormat::Human => Format::Human,
    };
    keyrealm_telemetry::init(format, &settings.telemetry.level, std::io::stderr)?;
    let mut terminate = signal(SignalKind::terminate()).context("cannot listen for SIGTERM")?;
    let stop = async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = tokio::signal::ctrl_c() => {}
        }
    };
    let deps = Deps {
        clock: Arc::new(SystemClock),
        random: Arc::new(SystemRandom),
        failpoint: Failpoint::from_environment(),
        controllers: controller::start,
        record: false,
        told: None,
    };
    run::run(settings, deps, stop).await
}

async fn look(settings: &Settings) -> ExitCode {
    let findings = check::check(settings).await;
    for finding in &findings {
        answer(&match &finding.mend {
            None => format!("ok    {}\n", finding.what),
            Some(mend) => format!("FAIL  {}: {mend}\n", finding.what),
        });
    }
    let failed = findings.iter().filter(|finding| finding.mend.is_some()).count();
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
