//! The demo: both servers in one process, and every step done and checked over HTTPS as a client would.

mod browser;
mod card;
mod cli;
mod embedded;
mod outcome;
mod report;
mod run;
mod steps;

pub use cli::{Cli, Output};
pub use outcome::{Outcome, StepFailure};
pub use run::main_with;
pub use steps::{STEPS, Step};
