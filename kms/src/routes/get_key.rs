//! `GET /api/v1/keys/{key_id}`.

use axum::Json;
use axum::extract::State;
use keyrealm_auth::Caller;
use keyrealm_base::KeyId;
use keyrealm_http::extract::PathId;

use super::App;
use super::view::KeyView;
use crate::error::KmsError;

/// Reads a key.
#[utoipa::path(
    get, path = "/api/v1/keys/{key_id}", tag = "keys", params(("key_id" = String, Path, format = Uuid, description = "UUIDv7")),
    responses(
        (status = 200, description = "The key", body = KeyView), (status = 400, description = "No UUIDv7"),
        (status = 404, description = "There is no such key in this tenant"),
    )
)]
pub(crate) async fn get_key(
    State(app): State<App>,
    caller: Caller,
    PathId(id): PathId<KeyId>,
) -> Result<Json<KeyView>, KmsError> {
    Ok(Json(app.service.key(caller.tenant, id).await?.into()))
}
