//! The identity server: OAuth 2.1 and OpenID Connect for every tenant of a realm.

mod app;
mod client_auth;
mod config;
mod directory;
mod domain;
mod endpoints;
mod grants;
mod handle;
mod keys;
mod openapi;
mod pages;
mod purge;
mod reconcile;
mod revoke;
pub mod seed;
mod server;
mod storage;
mod throttle;
mod tokens;

pub use config::Config;
pub use openapi::openapi;
pub use server::{Deps, Running, Server, StartError};
