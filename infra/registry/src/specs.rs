//! What can be declared in a tenant: the forms of `spec` in a desired row. Who declares writes them, the products read them
//! and check what a type cannot say. Unknown members are refused; members that are left out have their default.

use serde::{Deserialize, Serialize};

/// A key of the KMS (kind `key`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeySpec {
    /// An algorithm of the KMS, such as `ES256` or `A256GCM/dir`; it cannot change.
    pub algorithm: String,
    /// For people.
    #[serde(default)]
    pub description: String,
}

/// Whether a client can keep a secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ClientType {
    /// It has none.
    Public,
    /// It has one or two.
    Confidential,
}

/// Whether the code flow demands PKCE.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PkcePolicy {
    /// Always.
    #[default]
    Required,
    /// If the request has a challenge; for confidential clients only.
    IfSent,
}

/// A client of Identity (kind `client`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClientSpec {
    /// Unique in the realm.
    pub client_id: String,
    /// The name that people are shown; the client id where it is empty.
    #[serde(default)]
    pub display_name: String,
    /// Whether it can keep a secret.
    #[serde(rename = "type")]
    pub kind: ClientType,
    /// SHA-256 of the secrets in hex: one, or two during a rotation.
    #[serde(default)]
    pub secret_sha256: Vec<String>,
    /// Where codes may be sent.
    #[serde(default)]
    pub redirect_uris: Vec<String>,
    /// Where people may be sent after they logged out.
    #[serde(default)]
    pub post_logout_redirect_uris: Vec<String>,
    /// `authorization_code`, `refresh_token`, `client_credentials`.
    pub grants: Vec<String>,
    /// Scopes, separated by blanks.
    pub scopes: String,
    /// Whether the code flow demands PKCE.
    #[serde(default)]
    pub pkce: PkcePolicy,
    /// A disabled client gets nothing, and what it got is revoked.
    #[serde(default = "yes")]
    pub enabled: bool,
}

/// A user of Identity (kind `user`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UserSpec {
    /// The address; may be empty.
    #[serde(default)]
    pub email: String,
    /// The name that people are shown.
    #[serde(default)]
    pub display_name: String,
    /// The password's hash, as the crypto crate writes it.
    pub password_hash: String,
    /// `admin`, `tenant-admin`, `user`, `service`.
    #[serde(default)]
    pub roles: Vec<String>,
    /// A disabled user cannot log in, and what he had is revoked.
    #[serde(default = "yes")]
    pub enabled: bool,
}

fn yes() -> bool {
    true
}
