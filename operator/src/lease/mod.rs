//! Leader election: one process works, the others keep their stores warm. client-go's algorithm, as a pure machine
//! ([`Election`]); the calls are in [`run`].

mod election;
mod leadership;
mod run;

pub use election::{Decision, Election, Record, Timing};
pub use leadership::{Leadership, NotLeading, Now};
pub use run::{Candidate, LeaseError};

#[cfg(test)]
mod tests;
