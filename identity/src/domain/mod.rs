//! Decisions without I/O.

pub(crate) mod authorize;
pub(crate) mod client;
pub(crate) mod pkce;
pub(crate) mod user;
