//! `POST /api/v1/keys`.

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::{StatusCode, header};
use keyrealm_auth::Caller;
use keyrealm_http::extract::Json;
use keyrealm_registry::ManagedBy;
use serde::Deserialize;
use utoipa::ToSchema;

use super::App;
use super::view::KeyView;
use crate::error::KmsError;
use crate::service::NewKey;

/// A key to be made.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct CreateKey {
    /// 1 to 63 letters, digits, `-`, `_`, `.`; unique in the tenant.
    name: String,
    /// At most 255 characters.
    #[serde(default)]
    description: String,
    /// `A256GCM/A256KW` (default), `A256GCM/dir`, `ES256`, `RS256` or `EdDSA`.
    #[serde(default = "default_algorithm")]
    algorithm: String,
}

fn default_algorithm() -> String {
    "A256GCM/A256KW".to_owned()
}

/// Makes a key with its first version.
#[utoipa::path(
    post, path = "/api/v1/keys", tag = "keys", request_body = CreateKey,
    responses(
        (status = 201, description = "The key; `Location` has its address", body = KeyView),
        (status = 400, description = "A field or the algorithm is not allowed"),
        (status = 409, description = "The name is in use"),
    )
)]
pub(crate) async fn create_key(
    State(app): State<App>,
    caller: Caller,
    Json(body): Json<CreateKey>,
) -> Result<Response, KmsError> {
    let new = NewKey {
        name: body.name,
        description: body.description,
        algorithm: body.algorithm,
        managed_by: ManagedBy::Api,
    };
    let key = app.service.create(caller.tenant, new).await?;
    let location = format!("/api/v1/keys/{}", key.id);
    Ok((StatusCode::CREATED, [(header::LOCATION, location)], axum::Json(KeyView::from(key))).into_response())
}
