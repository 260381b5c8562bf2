//! What tests share: a clock they move, a chain of their own, an issuer, a client. Panics are how it reports.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test that cannot be set up has failed")]

mod clock;
mod database;
mod issuer;
mod log;
mod port;
mod postgres;
mod program;
mod proxy;
mod tls;

pub use clock::TestClock;
pub use database::{On, TestDatabase};
pub use issuer::TestIssuer;
pub use log::CapturedLog;
pub use port::free_port;
pub use postgres::{Lifetime, PROGRAMS_VARIABLE, PostgresServer, SERVER_VARIABLE};
pub use program::Program;
pub use proxy::SilentProxy;
pub use tls::TestTls;

/// Makes two tests of each function: on SQLite and on PostgreSQL. The functions are `async fn name(on: On)`.
#[macro_export]
macro_rules! on_each_database {
    ($($name:ident),* $(,)?) => {
        $(mod $name {
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn on_sqlite() {
                super::$name($crate::On::Sqlite).await;
            }

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn on_postgres() {
                super::$name($crate::On::Postgres).await;
            }
        })*
    };
}
