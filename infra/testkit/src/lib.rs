//! What tests share: a clock they move, a chain of their own, an issuer, a client. Panics are how it reports.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test that cannot be set up has failed")]

mod clock;
mod issuer;
mod tls;

pub use clock::TestClock;
pub use issuer::TestIssuer;
pub use tls::TestTls;
