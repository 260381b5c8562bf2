//! `demo kms`, `demo identity`, `demo all`.

use std::process::ExitCode;

use clap::Parser;
use demo::{Cli, main_with};

#[tokio::main]
async fn main() -> ExitCode {
    ExitCode::from(main_with(&Cli::parse()).await)
}
