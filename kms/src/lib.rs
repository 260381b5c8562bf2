//! The key management service: versioned keys for every tenant that never leave it.

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
