//! `POST /api/v1/keys/{key_id}/disable` and `.../enable`.

use axum::Json;
use axum::extract::State;
use keyrealm_auth::Caller;
use keyrealm_base::KeyId;
use keyrealm_http::extract::{Empty, PathId};
use keyrealm_registry::ManagedBy;

use super::App;
use super::view::KeyView;
use crate::domain::key::KeyState;
use crate::error::KmsError;

/// Disables a key: it does nothing until it is enabled again.
#[utoipa::path(
    post, path = "/api/v1/keys/{key_id}/disable", tag = "keys", params(("key_id" = String, Path, format = Uuid, description = "UUIDv7")),
    responses(
        (status = 200, description = "The key", body = KeyView),
        (status = 404, description = "There is no such key in this tenant"),
        (status = 409, description = "It is disabled already, or managed by a resource"),
    )
)]
pub(crate) async fn disable_key(
    state: State<App>,
    caller: Caller,
    id: PathId<KeyId>,
    _: Empty,
) -> Result<Json<KeyView>, KmsError> {
    set(state, caller, id, KeyState::Disabled).await
}

/// Enables a disabled key.
#[utoipa::path(
    post, path = "/api/v1/keys/{key_id}/enable", tag = "keys", params(("key_id" = String, Path, format = Uuid, description = "UUIDv7")),
    responses(
        (status = 200, description = "The key", body = KeyView),
        (status = 404, description = "There is no such key in this tenant"),
        (status = 409, description = "It is enabled already, or managed by a resource"),
    )
)]
pub(crate) async fn enable_key(
    state: State<App>,
    caller: Caller,
    id: PathId<KeyId>,
    _: Empty,
) -> Result<Json<KeyView>, KmsError> {
    set(state, caller, id, KeyState::Active).await
}

async fn set(
    State(app): State<App>,
    caller: Caller,
    PathId(id): PathId<KeyId>,
    state: KeyState,
) -> Result<Json<KeyView>, KmsError> {
    Ok(Json(app.service.set_state(caller.tenant, id, state, ManagedBy::Api).await?.into()))
}
