//! Developer tasks: `cargo xtask <test|cluster|openapi>`.

mod cluster;
mod command;
mod guard;
mod lock;
mod need;
mod openapi;
mod readme;
mod test;
mod tools;

use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};

/// Developer tasks of Keyrealm.
#[derive(Parser)]
#[command(name = "cargo xtask")]
struct Cli {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Every test: format, clippy, unit and integration tests, the demo, the README's commands.
    Test(test::Options),
    /// A real Kubernetes for tests: a given one, kind's, or one built and run here.
    Cluster(cluster::Options),
    /// Writes the OpenAPI documents under docs/openapi from the code.
    Openapi {
        /// Fails when a document on disk differs, instead of writing it.
        #[arg(long)]
        check: bool,
    },
}

fn main() -> ExitCode {
    match run(Cli::parse().task) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            command::say(&format!("{error:#}"));
            ExitCode::FAILURE
        }
    }
}

fn run(task: Task) -> Result<()> {
    match task {
        Task::Test(options) => test::run(&options),
        Task::Cluster(options) => cluster::run(options),
        Task::Openapi { check } => openapi::run(check),
    }
}
