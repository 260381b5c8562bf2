//! The databases: where things lie, transactions that cannot reach another tenant, migrations, and notices of change.
//!
//! Statements are written once, with `$1` placeholders and `{s}` before each table name; what differs between databases
//! lies in the module of each.

mod database;
mod epochs;
mod error;
mod migrate;
mod notice;
mod patience;
mod postgres;
mod space;
mod sql;
mod sqlite;
mod tx;
mod value;

pub use database::{Database, StatementHook, TenantAccess};
pub use epochs::Epochs;
pub use error::StoreError;
pub use migrate::Migration;
pub use notice::{Notice, Notices, Pulse};
pub use patience::{Passing, patiently};
pub use space::{Product, Space};
pub use sql::Sql;
pub use tx::{ControlTx, RealmTx, TenantTx, Tx};
pub use value::{FromValue, Row, Value};
