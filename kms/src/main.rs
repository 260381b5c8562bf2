//! `kms serve|live|ready|check-config|openapi`.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use clap::{Parser, Subcommand};
use keyrealm_base::{SharedClock, SharedRandom, SystemClock};
use keyrealm_config::{Sources, load};
use keyrealm_crypto::SystemRandom;
use keyrealm_http::Sockets;
use keyrealm_http::client::{ClientOptions, HttpsClient};
use keyrealm_registry::Registrar;
use keyrealm_store::Database;
use keyrealm_telemetry::Format;
use keyrealm_tls::{TrustBundle, client_config};
use kms::{Config, Deps, Server};
use tokio::signal::unix::{SignalKind, signal};
use url::Url;

/// The Keyrealm key management service.
#[derive(Parser)]
#[command(version)]
struct Cli {
    /// A configuration file; may be given more than once, the later over the earlier.
    #[arg(long, global = true)]
    config: Vec<PathBuf>,
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
    let sources =
        Sources { product: "kms", files: &cli.config, environment: std::env::vars().collect(), flags: Vec::new() };
    let config: Config = load(&sources)?;
    match cli.command {
        Command::Serve { demo, reset_demo } => serve(config, demo, reset_demo).await,
        Command::Live => probe(&config, "livez").await,
        Command::Ready => probe(&config, "readyz").await,
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
    let format = if config.telemetry.format == "json" { Format::Json } else { Format::Human };
    keyrealm_telemetry::init(format, &config.telemetry.level, std::io::stderr)?;
    let (clock, random): (SharedClock, SharedRandom) = (Arc::new(SystemClock), Arc::new(SystemRandom));
    let database = Database::open_sqlite(&config.database.folder, None)?;
    if demo || reset_demo {
        let registrar = Registrar::new(Arc::clone(&database), Arc::clone(&clock), Arc::clone(&random));
        registrar.ensure_deployment("").await?;
        if reset_demo {
            for (slug, _) in kms::seed::DEMO_TENANTS {
                registrar.delete_tenant(slug).await?;
            }
        }
        kms::seed::declare_demo(&registrar).await?;
    }
    let listen = &config.server;
    let sockets = Sockets::bind(&listen.public.address, &listen.mtls.address, &listen.admin.address).await?;
    let deps = Deps { database: Arc::clone(&database), clock, random, sockets, client: ClientOptions::default() };
    let running = Server::start(config, deps).await?;
    let mut terminate = signal(SignalKind::terminate()).context("cannot listen for SIGTERM")?;
    tokio::select! {
        _ = terminate.recv() => {}
        _ = tokio::signal::ctrl_c() => {}
    }
    running.shutdown().await;
    database.close().await;
    Ok(())
}

/// Asks the admin listener by the name `localhost`, over TLS with the configured bundle.
async fn probe(config: &Config, path: &str) -> Result<()> {
    let port = config
        .server
        .admin
        .address
        .rsplit_once(':')
        .map(|(_, port)| port)
        .context("server.admin.address has no port")?;
    let trust = TrustBundle::from_file(&config.tls.ca)?;
    let client = HttpsClient::new(&client_config(&trust, None)?, ClientOptions::default());
    let answer = client.get(&Url::parse(&format!("https://localhost:{port}/{path}"))?).await?;
    if answer.status != http::StatusCode::OK {
        bail!("{path} answered {}", answer.status);
    }
    Ok(())
}
