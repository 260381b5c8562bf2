//! `kms serve|live|ready|check-config|openapi`.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use clap::{Parser, Subcommand};
use keyrealm_base::{Clock, SharedClock, SharedRandom, SystemClock};
use keyrealm_config::{LogFormat, Setting, Sources, environment, load};
use keyrealm_crypto::SystemRandom;
use keyrealm_http::client::ClientOptions;
use keyrealm_http::{Sockets, probe};
use keyrealm_registry::Registrar;
use keyrealm_store::{Database, Product, patiently};
use keyrealm_telemetry::Format;
use keyrealm_tls::TrustBundle;
use kms::{Config, Deps, Running, Server};
use tokio::signal::unix::{Signal, SignalKind, signal};

/// The Keyrealm key management service.
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
    Serve {
        /// Declares the demo's tenants and keys.
        #[arg(long)]
        demo: bool,
        /// Deletes the demo's tenants with all that they have, then declares them anew.
        #[arg(long)]
        reset_demo: bool,
    },
    /// Asks the running server whether it lives.
    Live,
    /// Asks the running server whether it is ready.
    Ready,
    /// Reads and checks the configuration.
    CheckConfig,
    /// Prints the OpenAPI document.
    Openapi,
}

#[tokio::main]
async fn main() -> ExitCode {
    match run(Cli::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            complain(&format!("kms: {error:#}"));
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
    if matches!(cli.command, Command::Openapi) {
        answer(&kms::openapi());
        return Ok(());
    }
    let environment = environment("kms")?;
    let sources = Sources { product: "kms", files: &cli.config, environment, flags: cli.set };
    let config: Config = load(&sources)?;
    match cli.command {
        Command::Serve { demo, reset_demo } => serve(config, demo, reset_demo).await,
        Command::Live => live(&config, "livez").await,
        Command::Ready => live(&config, "readyz").await,
        Command::CheckConfig => {
            config.check()?;
            answer("the configuration can be used\n");
            Ok(())
        }
        Command::Openapi => Ok(()),
    }
}

async fn serve(config: Config, demo: bool, reset_demo: bool) -> Result<()> {
    config.check()?;
    let format = match config.telemetry.format {
        LogFormat::Json => Format::Json,
        LogFormat::Human => Format::Human,
    };
    keyrealm_telemetry::init(format, &config.telemetry.level, std::io::stderr)?;
    // Before the start, which may take its time: the first process of a container has no default action for it.
    let mut terminate = signal(SignalKind::terminate()).context("cannot listen for SIGTERM")?;
    let (database, mut running) = tokio::select! {
        started = start(config, demo, reset_demo) => started?,
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
async fn start(config: Config, demo: bool, reset_demo: bool) -> Result<(Arc<Database>, Running)> {
    let (clock, random): (SharedClock, SharedRandom) = (Arc::new(SystemClock), Arc::new(SystemRandom));
    let database = patiently(async || Database::open(&config.database, Product::Kms, None).await).await?;
    if demo || reset_demo {
        let registrar = Registrar::new(Arc::clone(&database), Arc::clone(&clock), Arc::clone(&random));
        patiently(async || registrar.ensure_deployment("").await).await?;
        if reset_demo {
            patiently(async || registrar.delete_demo().await).await?;
        }
        patiently(async || kms::seed::declare_demo(&registrar).await).await?;
    }
    let listen = &config.server;
    let sockets = Sockets::bind(&listen.public.address, &listen.mtls.address, &listen.admin.address).await?;
    let deps = Deps { database: Arc::clone(&database), clock, random, sockets, client: ClientOptions::default() };
    Ok((database, Server::start(config, deps).await?))
}

async fn live(config: &Config, path: &str) -> Result<()> {
    let trust = TrustBundle::from_file(&config.tls.ca, SystemClock.now())?;
    Ok(probe(&trust, &config.server.admin.address, path).await?)
}
