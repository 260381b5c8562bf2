//! `POST /api/v1/keys/{key_id}/sign`.

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use keyrealm_auth::Caller;
use keyrealm_base::KeyId;
use keyrealm_http::extract::{Json, PathId};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::App;
use super::view::bytes;

/// What to sign.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Sign {
    /// base64url without padding.
    payload: String,
    /// 1 to 2048 bytes that must be given again to verify.
    context: Option<String>,
}

/// The signature.
#[derive(Serialize, ToSchema)]
pub(crate) struct Signature {
    /// Compact JWS (RFC 7515) with the payload inside; its `kid` is the version's id.
    signature: String,
    #[schema(format = Uuid)]
    key_id: String,
    #[schema(format = Uuid)]
    version_id: String,
    version: u32,
}

/// Signs with the latest version.
#[utoipa::path(
    post, path = "/api/v1/keys/{key_id}/sign", tag = "operations", request_body = Sign,
    params(("key_id" = String, Path, format = Uuid, description = "UUIDv7")),
    responses(
        (status = 200, description = "The signature", body = Signature),
        (status = 400, description = "A field is not allowed, or the key does not sign"),
        (status = 404, description = "There is no such key in this tenant"),
        (status = 409, description = "The key is disabled"),
    )
)]
pub(crate) async fn sign(
    State(app): State<App>,
    caller: Caller,
    PathId(id): PathId<KeyId>,
    Json(body): Json<Sign>,
) -> Result<axum::Json<Signature>, Response> {
    let payload = bytes("payload", &body.payload).map_err(IntoResponse::into_response)?;
    let done =
        app.sign(caller.tenant, id, payload, body.context.as_deref()).await.map_err(IntoResponse::into_response)?;
    Ok(axum::Json(Signature {
        signature: done.result,
        key_id: id.to_string(),
        version_id: done.version_id.to_string(),
        version: done.version,
    }))
}
