//! The runtime on a real API server.
//!
//! `cargo xtask cluster --control-plane-only NAME up`, then with the KUBECONFIG that it prints:
//! `KEYREALM_TEST_KUBECONFIG=... cargo test -p operator --features clusters --test api_server`.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stderr, reason = "helpers of tests fail the test")]

#[path = "../account/mod.rs"]
mod account;
#[path = "../used_rights/calls.rs"]
mod calls;
mod demo_environments;
mod leaders;
mod objects;
mod outages;
mod realm;
mod rights;
mod support;
