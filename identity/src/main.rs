//! `identity serve|live|ready|check-config|openapi`.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use clap::{Args, Parser, Subcommand};
use identity::seed::{self, DemoCredentials};
use identity::{Config, Deps, Running, Server};
use keyrealm_base::{Clock, SharedClock, SharedRandom, SystemClock};
use keyrealm_config::{LogFormat, Setting, Sources, environment, load};
use keyrealm_crypto::SystemRandom;
use keyrealm_http::{Sockets, probe};
use keyrealm_registry::Registrar;
use keyrealm_store::{Database, Product, patiently};
use keyrealm_telemetry::Format;
use keyrealm_tls::{TrustBundle, read_private, write_private};
use tokio::signal::unix::{Signal, SignalKind, signal};

/// The Keyrealm identity server.
#[derive(Parser)]
#[command(version)]
struct Cli {
    /// A configuration file; may be given more than once, the later over the earlier.
    #[arg(long, global = true)]
    config: Vec<PathBuf>,
    /// A setting, over files and environment; may be given more than once.
    #[arg(long, global = true, value_name = "KEY=VALUE")]
    set: Vec<Setting>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Runs the server until SIGTERM or Ctrl-C.
    Serve(Demo),
    /// Asks the running server whether it lives.
    Live,
    /// Asks the running server whether it is ready.
    Ready,
    /// Reads and checks the configuration.
    CheckConfig,
    /// Prints the OpenAPI document.
    Openapi,
}

#[derive(Args)]
struct Demo {
    /// Declares the demo's tenants, users and clients.
    #[arg(long)]
    demo: bool,
    /// Deletes the demo's tenants with all that they have, then declares them anew.
    #[arg(long)]
    reset_demo: bool,
    /// Uses the documented demo passwords instead of random ones. They are known to everybody.
    #[arg(long)]
    demo_password: bool,
    /// The file of the demo's passwords: read where it exists, else written (default: demo-credentials.json in the
    /// database folder).
    #[arg(long, value_name = "FILE")]
    demo_credentials: Option<PathBuf>,
}

#[tokio::main]
async fn main() -> ExitCode {
    match run(Cli::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            complain(&format!("identity: {error:#}"));
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

async fn run(cli: Cli) -> Result<()> {
    let config = || -> Result<Config> {
        let environment = environment("identity")?;
        Ok(load(&Sources { product: "identity", files: &cli.config, environment, flags: cli.set.clone() })?)
    };
    let checked = || -> Result<Config> {
        let config = config()?;
        config.check()?;
        Ok(config)
    };
    match &cli.command {
        Command::Serve(demo) => serve(checked()?, demo).await,
        Command::Live => live(&config()?, "livez").await,
        Command::Ready => live(&config()?, "readyz").await,
        Command::CheckConfig => {
            checked()?;
            answer("the configuration can be used\n");
            Ok(())
        }
        Command::Openapi => {
            answer(&identity::openapi());
            Ok(())
        }
    }
}

async fn serve(config: Config, demo: &Demo) -> Result<()> {
    let format = match config.telemetry.format {
        LogFormat::Json => Format::Json,
        LogFormat::Human => Format::Human,
    };
    keyrealm_telemetry::init(format, &config.telemetry.level, std::io::stderr)?;
    // Before the start, which may take its time: the first process of a container has no default action for it.
    let mut terminate = signal(SignalKind::terminate()).context("cannot listen for SIGTERM")?;
    let (database, mut running) = tokio::select! {
        started = start(config, demo) => started?,
        () = told_to_end(&mut terminate) => {
            tracing::info!("told to end before the server was started");
            return Ok(());
        }
    };
    let failed = tokio::select! {
        () = told_to_end(&mut terminate) => None,
        failed = running.failed() => Some(failed),
    };
    running.shutdown().await;
    database.close().await;
    match failed {
        Some(failed) => bail!("{failed}; without it the server cannot go on"),
        None => Ok(()),
    }
}

async fn told_to_end(terminate: &mut Signal) {
    tokio::select! {
        _ = terminate.recv() => {}
        _ = tokio::signal::ctrl_c() => {}
    }
}

/// A server that is ended on the way has done nothing that the next one does not complete.
async fn start(config: Config, demo: &Demo) -> Result<(Arc<Database>, Running)> {
    let (clock, random): (SharedClock, SharedRandom) = (Arc::new(SystemClock), Arc::new(SystemRandom));
    let database = patiently(async || Database::open(&config.database, Product::Identity, None).await).await?;
    if demo.demo || demo.reset_demo {
        let file = match (&demo.demo_credentials, &config.database.postgres) {
            (Some(file), _) => file.clone(),
            (None, None) => config.database.folder.join("demo-credentials.json"),
            (None, Some(_)) => bail!("--demo with database.postgres needs --demo-credentials FILE for the passwords"),
        };
        let registrar = Registrar::new(Arc::clone(&database), Arc::clone(&clock), Arc::clone(&random));
        declare_demo(&database, &registrar, demo, &file).await?;
    }
    let listen = &config.server;
    let sockets = Sockets::bind(&listen.public.address, &listen.mtls.address, &listen.admin.address).await?;
    let deps = Deps { database: Arc::clone(&database), clock, random, sockets };
    Ok((database, Server::start(config, deps).await?))
}

async fn declare_demo(database: &Database, registrar: &Registrar, demo: &Demo, file: &Path) -> Result<()> {
    patiently(async || registrar.ensure_deployment("").await).await?;
    if demo.reset_demo {
        patiently(async || registrar.delete_demo().await).await?;
    }
    let declared = patiently(async || seed::is_declared(database, registrar).await).await?;
    let kept: Option<DemoCredentials> = if file.exists() {
        let text = read_private(file)?;
        Some(serde_json::from_slice(text.expose()).with_context(|| format!("{} has another form", file.display()))?)
    } else {
        None
    };
    if demo.demo_password && (declared || kept.is_some()) && kept != Some(DemoCredentials::documented()) {
        tracing::warn!(
            file = %file.display(),
            "--demo-password has no effect: the demo has the passwords of this file; take the file away and start with \
             --reset-demo for the documented ones"
        );
    }
    if declared {
        return Ok(());
    }
    let credentials = if let Some(kept) = kept {
        kept
    } else {
        let credentials =
            if demo.demo_password { DemoCredentials::documented() } else { DemoCredentials::generate(&SystemRandom) };
        write_private(file, serde_json::to_string_pretty(&credentials)?.as_bytes())?;
        credentials
    };
    patiently(async || seed::declare_demo(registrar, &credentials, &SystemRandom).await).await?;
    tracing::info!(file = %file.display(), "the demo is declared");
    Ok(())
}

async fn live(config: &Config, path: &str) -> Result<()> {
    let trust = TrustBundle::from_file(&config.tls.ca, SystemClock.now())?;
    Ok(probe(&trust, &config.server.admin.address, path).await?)
}
