//! The demo: every step done and checked over HTTPS as a client would, with both servers in one process or with ones that
//! run already.

mod attached;
mod browser;
mod card;
mod cli;
#[cfg(feature = "kubernetes")]
mod cluster;
mod embedded;
mod endpoints;
mod outcome;
mod report;
mod run;
mod servers;
mod steps;
mod target;

pub use cli::{Cli, Output};
pub use outcome::{Outcome, StepFailure};
pub use run::main_with;
pub use steps::{STEPS, Step};
pub use target::{AttachFlags, Target};
