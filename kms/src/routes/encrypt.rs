//! `POST /api/v1/keys/{key_id}/encrypt`.

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use keyrealm_auth::Caller;
use keyrealm_base::KeyId;
use keyrealm_crypto::SecretBytes;
use keyrealm_http::extract::{Json, PathId};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::App;
use super::view::bytes;

/// What to encrypt.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Encrypt {
    /// base64url without padding.
    plaintext: String,
    /// 1 to 2048 bytes that must be given again to decrypt.
    context: Option<String>,
}

/// The ciphertext.
#[derive(Serialize, ToSchema)]
pub(crate) struct Ciphertext {
    /// Compact JWE (RFC 7516); its `kid` is the version's id.
    ciphertext: String,
    #[schema(format = Uuid)]
    key_id: String,
    #[schema(format = Uuid)]
    version_id: String,
    version: u32,
}

/// Encrypts with the latest version.
#[utoipa::path(
    post, path = "/api/v1/keys/{key_id}/encrypt", tag = "operations", request_body = Encrypt,
    params(("key_id" = String, Path, format = Uuid, description = "UUIDv7")),
    responses(
        (status = 200, description = "The ciphertext", body = Ciphertext),
        (status = 400, description = "A field is not allowed, or the key does not encrypt"),
        (status = 404, description = "There is no such key in this tenant"),
        (status = 409, description = "The key is disabled, or its version is used up"),
    )
)]
pub(crate) async fn encrypt(
    State(app): State<App>,
    caller: Caller,
    PathId(id): PathId<KeyId>,
    Json(body): Json<Encrypt>,
) -> Result<axum::Json<Ciphertext>, Response> {
    let plaintext = SecretBytes::new(bytes("plaintext", &body.plaintext).map_err(IntoResponse::into_response)?);
    let done = app.encrypt(caller.tenant, id, plaintext, body.context).await.map_err(IntoResponse::into_response)?;
    Ok(axum::Json(Ciphertext {
        ciphertext: done.result,
        key_id: id.to_string(),
        version_id: done.version_id.to_string(),
        version: done.version,
    }))
}
