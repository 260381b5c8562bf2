//! `POST /api/v1/keys/{key_id}/verify`.

use axum::extract::State;
use keyrealm_auth::Caller;
use keyrealm_base::KeyId;
use keyrealm_http::extract::{Json, PathId};
use keyrealm_jose::b64;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::App;
use crate::error::KmsError;

/// What to verify.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Verify {
    /// Compact JWS.
    signature: String,
    /// The context given on sign.
    context: Option<String>,
}

/// A signature that verifies.
#[derive(Serialize, ToSchema)]
pub(crate) struct Valid {
    /// Always true: a signature that does not verify answers 400.
    valid: bool,
    /// base64url without padding.
    payload: String,
    #[schema(format = Uuid)]
    key_id: String,
    #[schema(format = Uuid)]
    version_id: String,
    version: u32,
}

/// Verifies with the version that the signature names.
#[utoipa::path(
    post, path = "/api/v1/keys/{key_id}/verify", tag = "operations", request_body = Verify,
    params(("key_id" = String, Path, format = Uuid, description = "UUIDv7")),
    responses(
        (status = 200, description = "The signature verifies", body = Valid),
        (status = 400, description = "It does not verify with this key and context"),
        (status = 404, description = "There is no such key in this tenant"),
        (status = 409, description = "The key is disabled"),
    )
)]
pub(crate) async fn verify(
    State(app): State<App>,
    caller: Caller,
    PathId(id): PathId<KeyId>,
    Json(body): Json<Verify>,
) -> Result<axum::Json<Valid>, KmsError> {
    let done = app.verify(caller.tenant, id, &body.signature, body.context.as_deref()).await?;
    Ok(axum::Json(Valid {
        valid: true,
        payload: b64::encode(done.result),
        key_id: id.to_string(),
        version_id: done.version_id.to_string(),
        version: done.version,
    }))
}
