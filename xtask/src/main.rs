//! Developer tasks: `cargo xtask <test|openapi|images|compose>`.

mod command;
mod compose;
mod go;
mod images;
mod lock;
mod need;
mod openapi;
mod readme;
mod signals;
mod space;
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
    /// The container images of the workspace's programs, and of PostgreSQL for managed databases.
    Images(images::Options),
    /// A real `docker compose`, the plugin built and the engine started where they are missing.
    Compose(compose::Options),
}

fn main() -> Result<()> {
    match Cli::parse().task {
        Task::Test(options) => test::run(&options),
        Task::Openapi { check } => openapi::run(check),
        Task::Images(options) => images::run(&options),
        // The exit code is compose's.
        Task::Compose(options) => std::process::exit(compose::run(&options)?),
    }
}
