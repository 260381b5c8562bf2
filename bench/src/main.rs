//! `cargo run --release -p bench`: what a request costs, as ratios of one run on one machine.
//!
//! The servers are the release binaries, each in its own process. What is compared is measured in turns, round by round,
//! so that a noisy moment hits both sides.

mod empty;
mod load;
mod measure;
mod operator;
mod process;
mod report;
mod world;

use std::path::PathBuf;

use anyhow::Result;
use clap::{Parser, Subcommand};

/// Measures Keyrealm.
#[derive(Parser)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    /// Rounds of each comparison.
    #[arg(long, default_value_t = 5)]
    rounds: u32,
    /// Seconds of each side of a round.
    #[arg(long, default_value_t = 2)]
    seconds: u64,
    /// Connections, each with one request at a time.
    #[arg(long, default_value_t = 8)]
    connections: usize,
    /// Also writes the result here, as JSON.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Fails when a target is missed.
    #[arg(long)]
    check: bool,
}

#[derive(Subcommand)]
enum Command {
    /// Serves the empty authenticated handler that the KMS is compared with (started by the benchmark itself).
    #[command(hide = true)]
    Empty {
        /// The KMS's configuration.
        config: PathBuf,
    },
    /// Measures the operator on a control plane: `cargo xtask cluster --control-plane-only NAME up`.
    Operator(operator::Options),
    /// Issues certificates as the Realm controller does (started by the benchmark itself, as a process of its own).
    #[command(hide = true)]
    Certificates {
        /// The operator's configuration.
        config: PathBuf,
    },
    /// Looks at Tenants at rest (started by the benchmark itself, as a process of its own).
    #[command(hide = true)]
    Rest {
        /// The operator's configuration.
        config: PathBuf,
    },
}

#[tokio::main]
async fn main() -> Result<()> {
    let cli = Cli::parse();
    let results = match &cli.command {
        Some(Command::Empty { config }) => return empty::serve(config).await,
        Some(Command::Certificates { config }) => return operator::certificates::run(config).await,
        Some(Command::Rest { config }) => return operator::rest::run(config).await,
        Some(Command::Operator(options)) => operator::all(options).await?,
        None => {
            let plan = measure::Plan { rounds: cli.rounds, seconds: cli.seconds, connections: cli.connections };
            measure::all(&plan).await?
        }
    };
    report::print(&results);
    if let Some(path) = &cli.json {
        std::fs::write(path, serde_json::to_string_pretty(&results)?)?;
    }
    let missed = results.iter().filter(|result| !result.is_met()).count();
    if cli.check && missed > 0 {
        anyhow::bail!("{missed} targets were missed");
    }
    Ok(())
}
