//! The scopes that a client may be given: the names of the servers' table, which a test compares.

use schemars::Schema;
use serde_json::json;

/// Every scope of OpenID Connect and of the KMS that the servers know.
pub const SCOPES: &[&str] = &[
    "openid",
    "profile",
    "email",
    "offline_access",
    "kms:admin",
    "kms:write",
    "kms:read",
    "kms:encrypt",
    "kms:decrypt",
    "kms:sign",
    "kms:verify",
    "kms:wrap",
    "kms:unwrap",
    "kms:generate",
    "kms:derive",
    "kms:key:create",
    "kms:key:read",
    "kms:key:update",
    "kms:key:delete",
    "kms:version:create",
    "kms:version:rotate",
    "kms:version:revoke",
    "kms:version:destroy",
];

/// The items of a list are known scopes.
pub(crate) fn only_known(list: &mut Schema) {
    list.insert("items".to_owned(), json!({ "type": "string", "enum": SCOPES }));
}
