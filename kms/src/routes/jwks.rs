//! `GET /api/v1/jwks`.

use axum::Json;
use axum::extract::State;
use keyrealm_auth::Caller;
use keyrealm_jose::jwk::JwkSet;

use super::App;
use crate::error::KmsError;

/// The public halves of the tenant's signing keys (RFC 7517, section 5).
#[utoipa::path(
    get, path = "/api/v1/jwks", tag = "keys",
    responses(
        (status = 200, description = "A JSON Web Key Set; each `kid` is a version's id", body = serde_json::Value),
        (status = 401, description = "No valid token"), (status = 403, description = "The scope is missing"),
    )
)]
pub(crate) async fn jwks(State(app): State<App>, caller: Caller) -> Result<Json<JwkSet>, KmsError> {
    Ok(Json(app.jwks(caller.tenant).await?))
}
