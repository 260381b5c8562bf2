//! Discovery (OpenID Connect Discovery; RFC 8414) and the key set.

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, HeaderValue, StatusCode, header};
use keyrealm_auth::Scope;
use keyrealm_crypto::sha256_hex;

use super::schemas::{KeySet, Metadata};
use crate::app::{App, Shared};

/// The metadata for OpenID Connect.
#[utoipa::path(get, operation_id = "openidConfiguration", path = "/.well-known/openid-configuration", tag = "metadata",
    responses((status = 200, description = "The metadata", body = Metadata)))]
pub(crate) async fn openid_configuration(State(app): State<Shared>) -> Response {
    open(Json(metadata(&app)).into_response())
}

/// The metadata for OAuth: the same document.
#[utoipa::path(get, operation_id = "authorizationServerMetadata", path = "/.well-known/oauth-authorization-server", tag = "metadata",
    responses((status = 200, description = "The metadata", body = Metadata)))]
pub(crate) async fn authorization_server(State(app): State<Shared>) -> Response {
    open(Json(metadata(&app)).into_response())
}

/// The keys that verify tokens.
#[utoipa::path(get, operation_id = "jwks", path = "/oauth2/v1/jwks", tag = "metadata",
    responses((status = 200, description = "A JSON Web Key Set (RFC 7517)", body = KeySet), (status = 304, description = "Not changed")))]
pub(crate) async fn jwks(State(app): State<Shared>, headers: HeaderMap) -> Response {
    let tag = format!("\"{}\"", sha256_hex(app.keys.published.as_bytes()));
    let known = headers.get(header::IF_NONE_MATCH).and_then(|value| value.to_str().ok());
    let mut response = if known == Some(tag.as_str()) {
        StatusCode::NOT_MODIFIED.into_response()
    } else {
        ([(header::CONTENT_TYPE, "application/jwk-set+json")], app.keys.published.clone()).into_response()
    };
    if let Ok(tag) = HeaderValue::from_str(&tag) {
        response.headers_mut().insert(header::ETAG, tag);
    }
    open(response)
}

/// Readable from every web page, and for a while without asking again.
fn open(mut response: Response) -> Response {
    let headers = response.headers_mut();
    headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("public, max-age=300"));
    response
}

fn metadata(app: &App) -> Metadata {
    let at = |path: &str| format!("{}{path}", app.issuer);
    let methods = vec!["client_secret_basic", "client_secret_post", "none"];
    Metadata {
        issuer: app.issuer.clone(),
        authorization_endpoint: at("/oauth2/v1/authorize"),
        token_endpoint: at("/oauth2/v1/token"),
        introspection_endpoint: at("/oauth2/v1/introspect"),
        revocation_endpoint: at("/oauth2/v1/revoke"),
        userinfo_endpoint: at("/oidc/v1/userinfo"),
        end_session_endpoint: at("/oidc/v1/logout"),
        jwks_uri: at("/oauth2/v1/jwks"),
        scopes_supported: Scope::ALL.iter().map(|scope| scope.name()).collect(),
        response_types_supported: vec!["code"],
        response_modes_supported: vec!["query"],
        grant_types_supported: vec!["authorization_code", "refresh_token", "client_credentials"],
        subject_types_supported: vec!["public"],
        id_token_signing_alg_values_supported: vec!["RS256"],
        token_endpoint_auth_methods_supported: methods.clone(),
        introspection_endpoint_auth_methods_supported: vec!["client_secret_basic", "client_secret_post"],
        revocation_endpoint_auth_methods_supported: methods,
        code_challenge_methods_supported: vec!["S256"],
        claims_supported: vec![
            "iss",
            "sub",
            "aud",
            "exp",
            "iat",
            "auth_time",
            "nonce",
            "acr",
            "amr",
            "sid",
            "at_hash",
            "name",
            "preferred_username",
            "email",
            "email_verified",
            "tenant_id",
        ],
        prompt_values_supported: vec!["none", "login", "consent", "select_account"],
        authorization_response_iss_parameter_supported: true,
        request_parameter_supported: false,
        request_uri_parameter_supported: false,
        claims_parameter_supported: false,
    }
}
