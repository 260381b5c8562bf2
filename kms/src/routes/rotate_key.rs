//! `POST /api/v1/keys/{key_id}/rotate`.

use axum::Json;
use axum::extract::State;
use keyrealm_auth::Caller;
use keyrealm_base::KeyId;
use keyrealm_http::extract::{Empty, PathId};

use super::App;
use super::view::KeyView;
use crate::error::KmsError;

/// Makes a new version, which encrypts and signs from now on. Older ones decrypt and verify.
#[utoipa::path(
    post, path = "/api/v1/keys/{key_id}/rotate", tag = "keys", params(("key_id" = String, Path, format = Uuid, description = "UUIDv7")),
    responses(
        (status = 200, description = "The key with its new latest version", body = KeyView),
        (status = 404, description = "There is no such key in this tenant"),
        (status = 409, description = "The key is disabled"),
    )
)]
pub(crate) async fn rotate_key(
    State(app): State<App>,
    caller: Caller,
    PathId(id): PathId<KeyId>,
    _: Empty,
) -> Result<Json<KeyView>, KmsError> {
    Ok(Json(app.service.rotate(caller.tenant, id).await?.into()))
}
