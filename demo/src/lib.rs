//! The demo: every step done and checked over HTTPS as a client would, with both servers in one process or with ones that
//! run already.

mod attached;
#[cfg(test)]
mod broken_tests;
mod browser;
mod calls;
mod card;
mod cli;
#[cfg(feature = "kubernetes")]
mod cluster;
mod embedded;
mod endpoints;
mod folder;
mod outcome;
mod report;
mod run;
mod servers;
mod signals;
mod steps;
mod target;

pub use cli::{Cli, Command, Output};
pub use outcome::{Cause, Outcome, StepFailure};
pub use run::main_with;
pub use steps::{STEPS, Step, steps_of};
pub use target::{AttachFlags, Target};
