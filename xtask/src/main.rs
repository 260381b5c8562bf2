//! Developer tasks: `cargo xtask <test|openapi>`.

mod command;
mod need;
mod openapi;
mod readme;
mod test;

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
    /// Writes the OpenAPI documents under docs/openapi from the code.
    Openapi {
        /// Fails when a document on disk differs, instead of writing it.
        #[arg(long)]
        check: bool,
    },
}

fn main() -> Result<()> {
    match Cli::parse().task {
        Task::Test(options) => test::run(&options),
        Task::Openapi { check } => openapi::run(check),
    }
}
