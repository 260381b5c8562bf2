//! Keys as the API shows them, and the base64url of its byte strings.

use keyrealm_base::ProblemCode;
use keyrealm_http::Problem;
use keyrealm_jose::b64;
use serde::Serialize;
use utoipa::ToSchema;

use crate::domain::key::{Key, KeyState};

/// A key without its material.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct KeyView {
    /// UUIDv7.
    #[schema(format = Uuid)]
    pub(crate) key_id: String,
    /// Unique in the tenant.
    pub(crate) name: String,
    pub(crate) description: String,
    /// Such as `A256GCM/A256KW` or `ES256`.
    pub(crate) algorithm: String,
    pub(crate) state: KeyState,
    /// `api`, or `resource` when it is declared elsewhere.
    pub(crate) managed_by: &'static str,
    /// The version that encrypts and signs.
    pub(crate) latest_version: u32,
    /// RFC 3339.
    pub(crate) created_at: String,
    /// RFC 3339.
    pub(crate) updated_at: String,
}

impl From<Key> for KeyView {
    fn from(key: Key) -> Self {
        Self {
            key_id: key.id.to_string(),
            name: key.name,
            description: key.description,
            algorithm: key.algorithm,
            state: key.state,
            managed_by: key.managed_by.name(),
            latest_version: key.latest_version,
            created_at: key.created_at.to_string(),
            updated_at: key.updated_at.to_string(),
        }
    }
}

/// The bytes of a base64url field.
pub(crate) fn bytes(field: &'static str, text: &str) -> Result<Vec<u8>, Problem> {
    b64::decode(text).ok_or_else(|| {
        Problem::new(ProblemCode::InvalidField, format!("`{field}` must be base64url without padding"))
            .with("field", field)
    })
}
