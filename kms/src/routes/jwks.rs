//! `GET /api/v1/jwks`.

use axum::Json;
use axum::extract::State;
use keyrealm_auth::Caller;
use keyrealm_jose::jwk::JwkSet;
use utoipa::ToSchema;

use super::App;
use crate::error::KmsError;

/// A JSON Web Key Set, as the document shows it.
#[derive(ToSchema)]
#[allow(dead_code, reason = "only its schema is used: keyrealm-jose writes it")]
pub(crate) struct KeySet {
    keys: Vec<PublicKey>,
}

/// A public key (RFC 7517, section 4; RFC 7518, section 6; RFC 8037).
#[derive(ToSchema)]
#[allow(dead_code, reason = "only its schema is used: keyrealm-jose writes it")]
pub(crate) struct PublicKey {
    /// `EC`, `RSA` or `OKP`.
    kty: String,
    /// The version's id.
    #[schema(format = Uuid)]
    kid: String,
    /// `sig`.
    r#use: String,
    alg: String,
    /// EC and OKP.
    crv: Option<String>,
    /// EC and OKP, base64url.
    x: Option<String>,
    /// EC, base64url.
    y: Option<String>,
    /// RSA, base64url.
    n: Option<String>,
    /// RSA, base64url.
    e: Option<String>,
}

/// The public halves of the tenant's signing keys (RFC 7517, section 5).
#[utoipa::path(
    get, path = "/api/v1/jwks", tag = "keys",
    responses(
        (status = 200, description = "A JSON Web Key Set; each `kid` is a version's id", body = KeySet),
    )
)]
pub(crate) async fn jwks(State(app): State<App>, caller: Caller) -> Result<Json<JwkSet>, KmsError> {
    Ok(Json(app.jwks(caller.tenant).await?))
}
