//! Developer tasks: `cargo xtask <test|cluster|images|compose|helm|kubeconform|crds|openapi>`.

mod chart;
mod cluster;
mod command;
mod compose;
mod crds;
mod guard;
mod images;
mod lock;
mod need;
mod openapi;
mod postgres;
mod readme;
mod signals;
mod space;
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
    /// Writes the resource definitions crds/*.yaml, and the chart's copy, from the types.
    Crds {
        /// Fails when a definition on disk differs, instead of writing it.
        #[arg(long)]
        check: bool,
    },
    /// The container images of the workspace's programs, and of PostgreSQL for managed databases.
    Images(images::Options),
    /// A real `docker compose`, the plugin built and the engine started where they are missing.
    Compose(compose::Options),
    /// A real Helm on the cluster of `cargo xtask cluster`.
    Helm(chart::Arguments),
    /// kubeconform, with schemas made from the API of Kubernetes 1.34 and 1.37.
    Kubeconform(chart::Arguments),
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
        Task::Crds { check } => crds::run(check),
        Task::Images(options) => images::run(&options),
        // The exit code is that of the program.
        Task::Compose(options) => std::process::exit(compose::run(&options)?),
        Task::Helm(arguments) => std::process::exit(chart::helm(&arguments)?),
        Task::Kubeconform(arguments) => std::process::exit(chart::kubeconform(&arguments)?),
    }
}
