//! The databases: where things lie, transactions that cannot reach another tenant, migrations, and notices of change.
//!
//! Statements are written once, with `$1` placeholders and `{s}` before each table name; what differs between databases
//! lies in the module of each.

mod access;
mod database;
mod drift;
mod epochs;
mod error;
mod migrate;
mod notice;
mod postgres;
mod provision;
mod space;
mod sql;
mod sqlite;
mod tx;
mod value;

pub use access::RegistrarAccess;
pub use database::{Database, StatementHook, TenantAccess};
pub use drift::{Drift, DriftKind};
pub use epochs::Epochs;
pub use error::{StoreError, Trouble};
pub use migrate::Migration;
pub use notice::{Notice, Notices, Pulse};
pub use space::{Product, Space};
pub use sql::Sql;
pub use tx::{ControlTx, RealmTx, TenantTx, Tx};
pub use value::{FromValue, Row, Value};
