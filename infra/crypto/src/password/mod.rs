//! Passwords of people: PBKDF2-HMAC-SHA-256 (RFC 8018), 600000 iterations, 32-byte salt, 32-byte hash.

mod hash;
mod pool;

pub use hash::{PasswordHash, PasswordHashError};
pub use pool::{PasswordPool, PasswordPoolError};
