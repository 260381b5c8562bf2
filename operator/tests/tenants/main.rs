//! Tenants on a real API server, a real PostgreSQL and real servers of both products. As `tests/api_server`:
//! `KEYREALM_TEST_KUBECONFIG=... cargo test -p operator --features clusters --test tenants`.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, reason = "helpers of tests fail the test")]

#[path = "../used_rights/calls.rs"]
mod calls;
mod ends;
mod life;
mod support;
