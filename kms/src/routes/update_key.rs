//! `PATCH /api/v1/keys/{key_id}`.

use axum::extract::State;
use keyrealm_auth::Caller;
use keyrealm_base::KeyId;
use keyrealm_http::extract::{Json, PathId};
use keyrealm_registry::ManagedBy;
use serde::Deserialize;
use utoipa::ToSchema;

use super::App;
use super::view::KeyView;
use crate::error::KmsError;
use crate::service::KeyPatch;

/// What to change; a member that is left out stays.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct UpdateKey {
    name: Option<String>,
    description: Option<String>,
}

/// Changes name and description.
#[utoipa::path(
    patch, path = "/api/v1/keys/{key_id}", tag = "keys", request_body = UpdateKey,
    params(("key_id" = String, Path, format = Uuid, description = "UUIDv7")),
    responses(
        (status = 200, description = "The key", body = KeyView), (status = 400, description = "A field is not allowed"),
        (status = 404, description = "There is no such key in this tenant"),
        (status = 409, description = "The name is in use, or the key is managed by a resource"),
    )
)]
pub(crate) async fn update_key(
    State(app): State<App>,
    caller: Caller,
    PathId(id): PathId<KeyId>,
    Json(body): Json<UpdateKey>,
) -> Result<axum::Json<KeyView>, KmsError> {
    let patch = KeyPatch { name: body.name, description: body.description };
    Ok(axum::Json(app.service.update(caller.tenant, id, patch, ManagedBy::Api).await?.into()))
}
