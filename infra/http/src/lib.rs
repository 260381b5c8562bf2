//! HTTP as every product speaks it: listeners over TLS, limits, problems, strict extractors, health, and the client.

pub mod client;
pub mod extract;
mod health;
mod linger;
mod oauth;
mod pace;
mod probe;
mod problem;
mod problem_docs;
pub mod raw;
mod serve;
mod sockets;
mod standard;
mod tasks;

pub use health::{Check, Health, health_router};
pub use oauth::{OAuthError, OAuthErrorCode};
pub use probe::{ProbeError, probe};
pub use problem::Problem;
pub use problem_docs::problem_docs;
pub use serve::{Limits, Listener, Peer, Serving};
pub use sockets::{Addresses, Api, BindError, Routers, Sockets};
pub use standard::{Standard, standard};
pub use tasks::Tasks;

/// The largest request body, in bytes.
pub const MAX_BODY: usize = 2 * 1024 * 1024;
