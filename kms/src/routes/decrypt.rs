//! `POST /api/v1/keys/{key_id}/decrypt`.

use axum::extract::State;
use keyrealm_auth::Caller;
use keyrealm_base::KeyId;
use keyrealm_http::extract::{Json, PathId};
use keyrealm_jose::b64;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::App;
use crate::error::KmsError;

/// What to decrypt.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Decrypt {
    /// Compact JWE.
    ciphertext: String,
    /// The context given on encrypt.
    context: Option<String>,
}

/// The plaintext.
#[derive(Serialize, ToSchema)]
pub(crate) struct Plaintext {
    /// base64url without padding.
    plaintext: String,
    #[schema(format = Uuid)]
    key_id: String,
    #[schema(format = Uuid)]
    version_id: String,
    version: u32,
}

/// Decrypts with the version that the ciphertext names.
#[utoipa::path(
    post, path = "/api/v1/keys/{key_id}/decrypt", tag = "operations", request_body = Decrypt,
    params(("key_id" = String, Path, format = Uuid, description = "UUIDv7")),
    responses(
        (status = 200, description = "The plaintext", body = Plaintext),
        (status = 400, description = "It does not open with this key and context"),
        (status = 404, description = "There is no such key in this tenant"),
        (status = 409, description = "The key is disabled"),
    )
)]
pub(crate) async fn decrypt(
    State(app): State<App>,
    caller: Caller,
    PathId(id): PathId<KeyId>,
    Json(body): Json<Decrypt>,
) -> Result<axum::Json<Plaintext>, KmsError> {
    let done = app.decrypt(caller.tenant, id, &body.ciphertext, body.context.as_deref()).await?;
    Ok(axum::Json(Plaintext {
        plaintext: b64::encode(done.result.expose()),
        key_id: id.to_string(),
        version_id: done.version_id.to_string(),
        version: done.version,
    }))
}
