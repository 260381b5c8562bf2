//! `GET` and `POST /oidc/v1/userinfo` (OpenID Connect Core, section 5.3).

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, StatusCode, header};
use keyrealm_auth::{Scope, ScopeSet};
use keyrealm_base::TenantId;
use serde_json::{Value, json};

use crate::app::{App, Shared};
use crate::storage::users;

/// The claims of the user behind an access token with scope `openid`.
#[utoipa::path(get, operation_id = "userinfo", path = "/oidc/v1/userinfo", tag = "oidc", security(("bearer" = [])),
    responses((status = 200, description = "Claims", body = Value), (status = 401, description = "No valid token"), (status = 403, description = "The scope openid is missing")))]
pub(crate) async fn get(State(app): State<Shared>, headers: HeaderMap) -> Response {
    answer(&app, &headers).await
}

/// The same by POST.
#[utoipa::path(post, operation_id = "userinfoByPost", path = "/oidc/v1/userinfo", tag = "oidc", security(("bearer" = [])),
    responses((status = 200, description = "Claims", body = Value), (status = 401, description = "No valid token"), (status = 403, description = "The scope openid is missing")))]
pub(crate) async fn post(State(app): State<Shared>, headers: HeaderMap) -> Response {
    answer(&app, &headers).await
}

fn refuse(status: StatusCode, challenge: &'static str, error: &str) -> Response {
    (status, [(header::WWW_AUTHENTICATE, challenge)], Json(json!({"error": error}))).into_response()
}

fn invalid_token() -> Response {
    refuse(StatusCode::UNAUTHORIZED, "Bearer error=\"invalid_token\"", "invalid_token")
}

async fn answer(app: &App, headers: &HeaderMap) -> Response {
    let value = headers
        .get(header::AUTHORIZATION)
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.split_once(' '));
    let Some((scheme, token)) = value else {
        return refuse(StatusCode::UNAUTHORIZED, "Bearer", "invalid_request");
    };
    let Ok(claims) = app.own_access(token, &app.audience) else { return invalid_token() };
    if !scheme.eq_ignore_ascii_case("bearer") || app.is_revoked(&claims) {
        return invalid_token();
    }
    let scopes =
        ScopeSet::parse(claims.text("scope").unwrap_or_default()).map(|parsed| parsed.known).unwrap_or_default();
    if !scopes.contains(Scope::OpenId) {
        return refuse(
            StatusCode::FORBIDDEN,
            "Bearer error=\"insufficient_scope\", scope=\"openid\"",
            "insufficient_scope",
        );
    }
    let Some(tenant) = claims.text("tenant_id").and_then(|text| text.parse::<TenantId>().ok()) else {
        return invalid_token();
    };
    let subject = claims.text("sub").unwrap_or_default();
    let user = async { users::enabled(&mut app.read(tenant).await?, subject).await };
    match user.await {
        Ok(Some(user)) => {
            let mut body = serde_json::Map::new();
            body.insert("sub".to_owned(), subject.into());
            body.insert("tenant_id".to_owned(), tenant.to_string().into());
            if scopes.contains(Scope::Profile) {
                body.insert("preferred_username".to_owned(), user.username.into());
                body.insert("name".to_owned(), user.spec.display_name.into());
            }
            if scopes.contains(Scope::Email) && !user.spec.email.is_empty() {
                body.insert("email".to_owned(), user.spec.email.into());
                // Declared by whoever runs the realm; nobody clicked a link.
                body.insert("email_verified".to_owned(), false.into());
            }
            Json(Value::Object(body)).into_response()
        }
        Ok(None) => invalid_token(),
        Err(error) => {
            tracing::error!(%error, "cannot read a user");
            refuse(StatusCode::SERVICE_UNAVAILABLE, "Bearer", "temporarily_unavailable")
        }
    }
}
