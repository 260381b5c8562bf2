//! The operator as a process, with all its controllers, on a real API server and a real PostgreSQL, with real servers: what
//! remains of it when it is killed, when others go and come back, and when nothing happens.
//!
//! `cargo xtask cluster --control-plane-only NAME up`, then with the KUBECONFIG that it prints:
//! `KEYREALM_TEST_KUBECONFIG=... cargo test -p operator --features clusters,failpoints --test crashes`.
//! With `KEYREALM_TEST_FULL=1` no step is passed over, and what takes its time is given it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stderr, reason = "helpers of tests fail the test")]
#![allow(clippy::indexing_slicing, clippy::panic, reason = "helpers of tests fail the test")]

#[path = "../account/mod.rs"]
mod account;
mod acts;
mod audit;
mod edits;
mod ends;
mod killed;
mod namespaced;
mod outages;
mod process;
mod servers;
mod steady;
mod world;
