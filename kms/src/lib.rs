//! The key management service: versioned keys for every tenant that never leave it.
// The futures of a request lie in one another, down to the driver of the database.
#![recursion_limit = "256"]

mod config;
mod domain;
mod error;
mod freshness;
mod openapi;
mod operate;
mod reconcile;
mod routes;
mod seal;
pub mod seed;
mod server;
mod service;
mod slow;
mod snapshot;
mod storage;
mod usage;

pub use config::{Auth, Barrier, Config, Issuer, Server as ServerConfig};
pub use openapi::openapi;
pub use server::{Deps, Running, Server, StartError};
