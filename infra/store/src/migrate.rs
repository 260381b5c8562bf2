//! Migrations: numbered, additive, each in one transaction, so that a crash leaves a space at one version or the next. Where
//! there are no tables yet several may share a transaction.
//!
//! That transaction is the `MigrationTx` of the design: it has the rights of the schema's owner, and only the functions
//! `migrate` of the two databases open one.

/// One step of a space's tables.
#[derive(Debug, Clone, Copy)]
pub struct Migration {
    /// 1, 2, 3 ... without gaps.
    pub version: i64,
    /// The statements, with `{s}` before table names and `{blob}` for the type of bytes.
    pub statements: &'static [&'static str],
}
