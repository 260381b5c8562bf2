//! `GET` and `POST /oidc/v1/userinfo` (OpenID Connect Core, section 5.3).

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, HeaderValue, StatusCode, header};
use keyrealm_auth::{Scope, ScopeSet};
use keyrealm_base::TenantId;
use serde_json::json;

use super::schemas::{ErrorBody, UserInfo};
use crate::app::{App, Shared};
use crate::storage::users;

/// The claims of the user behind an access token with scope `openid`.
#[utoipa::path(get, operation_id = "userinfo", path = "/oidc/v1/userinfo", tag = "oidc", security(("bearer" = ["openid"])),
    responses((status = 200, description = "Claims", body = UserInfo), (status = 401, description = "No valid token", body = ErrorBody), (status = 403, description = "The scope openid is missing", body = ErrorBody),
        (status = 503, description = "Not now", body = ErrorBody)))]
pub(crate) async fn get(State(app): State<Shared>, headers: HeaderMap) -> Response {
    answer(&app, &headers).await
}

/// The same by POST.
#[utoipa::path(post, operation_id = "userinfoByPost", path = "/oidc/v1/userinfo", tag = "oidc", security(("bearer" = ["openid"])),
    responses((status = 200, description = "Claims", body = UserInfo), (status = 401, description = "No valid token", body = ErrorBody), (status = 403, description = "The scope openid is missing", body = ErrorBody),
        (status = 503, description = "Not now", body = ErrorBody)))]
pub(crate) async fn post(State(app): State<Shared>, headers: HeaderMap) -> Response {
    answer(&app, &headers).await
}

/// A refusal (RFC 6750, section 3): the same words in the header and in the body.
fn refuse(status: StatusCode, error: &'static str, description: &'static str, more: &str) -> Response {
    let challenge = format!("Bearer error=\"{error}\", error_description=\"{description}\"{more}");
    let mut response = (status, Json(json!({"error": error, "error_description": description}))).into_response();
    if let Ok(challenge) = HeaderValue::from_str(&challenge) {
        response.headers_mut().insert(header::WWW_AUTHENTICATE, challenge);
    }
    response
}

fn invalid_token() -> Response {
    refuse(
        StatusCode::UNAUTHORIZED,
        "invalid_token",
        "the access token is malformed, expired, revoked or not for here",
        "",
    )
}

/// Without a challenge: there may be nothing wrong with the token.
fn not_now() -> Response {
    let body = json!({"error": "temporarily_unavailable", "error_description": "the token cannot be checked now"});
    super::flow::busy((StatusCode::SERVICE_UNAVAILABLE, Json(body)).into_response())
}

async fn answer(app: &App, headers: &HeaderMap) -> Response {
    let value = headers
        .get(header::AUTHORIZATION)
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.split_once(' '));
    let Some((scheme, token)) = value else {
        // Who brings nothing is told what to bring, and of no error (RFC 6750, section 3.1).
        let body = json!({"error": "invalid_request", "error_description": "a bearer token is needed"});
        return (StatusCode::UNAUTHORIZED, [(header::WWW_AUTHENTICATE, "Bearer")], Json(body)).into_response();
    };
    let Ok(claims) = app.own_access(token, &app.audience) else { return invalid_token() };
    if !scheme.eq_ignore_ascii_case("bearer") {
        return invalid_token();
    }
    match app.is_revoked(&claims) {
        Ok(false) => {}
        Ok(true) => return invalid_token(),
        Err(error) => {
            tracing::warn!(%error, "cannot check a token");
            return not_now();
        }
    }
    let scopes =
        ScopeSet::parse(claims.text("scope").unwrap_or_default()).map(|parsed| parsed.known).unwrap_or_default();
    if !scopes.contains(Scope::OpenId) {
        let text = "the token has not the scope openid";
        return refuse(StatusCode::FORBIDDEN, "insufficient_scope", text, ", scope=\"openid\"");
    }
    let tenant = claims.text("tenant_id").and_then(|text| text.parse::<TenantId>().ok());
    let Some(tenant) = tenant.filter(|tenant| app.directory.is_enabled(*tenant)) else { return invalid_token() };
    let subject = claims.text("sub").unwrap_or_default();
    let user = async { users::enabled(&mut app.read(tenant).await?, subject).await };
    match user.await {
        Ok(Some(user)) => {
            let (profile, email) = (scopes.contains(Scope::Profile), scopes.contains(Scope::Email));
            let email = Some(user.spec.email).filter(|text| email && !text.is_empty());
            Json(UserInfo {
                sub: subject.to_owned(),
                tenant_id: tenant.to_string(),
                preferred_username: profile.then_some(user.username),
                name: profile.then_some(user.spec.display_name),
                // Declared by whoever runs the realm; nobody clicked a link.
                email_verified: email.as_ref().map(|_| false),
                email,
            })
            .into_response()
        }
        Ok(None) => invalid_token(),
        Err(error) => {
            tracing::error!(%error, "cannot read a user");
            not_now()
        }
    }
}
