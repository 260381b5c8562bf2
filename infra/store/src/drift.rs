//! What somebody changed in the database behind our back: missing schemas, roles, rights and marks.

use crate::Space;

/// One difference between what a space shall have and what the catalog shows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Drift {
    /// Where.
    pub space: Space,
    /// What.
    pub kind: DriftKind,
    /// The schema or role.
    pub object: String,
}

/// What is different.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DriftKind {
    /// There is no such schema.
    SchemaMissing,
    /// The schema lost its mark, and is ours by its owner.
    SchemaUnmarked,
    /// The schema has somebody else's comment, or none and another owner. It is not touched.
    SchemaForeign,
    /// The schema belongs to another role. It is not touched.
    SchemaOwner,
    /// There is no such role.
    RoleMissing,
    /// The role lost its mark, and is ours by the schema.
    RoleUnmarked,
    /// The role has somebody else's comment, or none and no schema of ours. It is not touched.
    RoleForeign,
    /// The role can log in, inherits or creates.
    RoleAttributes,
    /// The product's login is missing.
    LoginMissing,
    /// The product's login, or the registrar's, may not take the role.
    Membership,
    /// The role may not use the schema.
    SchemaGrant,
    /// The role may not read and write a table.
    TableGrant,
    /// The role would not get rights on tables that are made later.
    DefaultPrivileges,
}

impl DriftKind {
    /// Whether it is somebody else's and must be mended by hand.
    #[must_use]
    pub const fn is_foreign(self) -> bool {
        matches!(self, Self::SchemaForeign | Self::SchemaOwner | Self::RoleForeign)
    }
}
