//! Passwords of people: PBKDF2-HMAC-SHA-256 (RFC 8018), 600000 iterations, 32-byte salt, 32-byte hash. And those of
//! database logins, as PostgreSQL stores them.

mod hash;
mod pool;
mod scram;

pub use hash::{PasswordHash, PasswordHashError};
pub use pool::{PasswordPool, PasswordPoolError};
pub use scram::{ScramPasswordError, ScramVerifier};
