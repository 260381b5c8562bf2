//! `POST /oauth2/v1/token`.

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, header};
use keyrealm_http::{OAuthError, OAuthErrorCode};

use super::form::OAuthForm;
use super::schemas::{ErrorBody, TokenForm};
use crate::app::Shared;
use crate::grants::{GrantError, TokenAnswer, authorization_code, client_credentials, refresh_token};

/// Exchanges a grant for tokens.
#[utoipa::path(post, operation_id = "token", path = "/oauth2/v1/token", tag = "oauth2",
    security(("basic" = []), ()),
    request_body(content = TokenForm, content_type = "application/x-www-form-urlencoded", description = "With client authentication by HTTP Basic or in the form; public clients give their client_id"),
    responses(
        (status = 200, description = "Tokens (RFC 6749, section 5.1)", body = TokenAnswer),
        (status = 400, description = "RFC 6749, section 5.2", body = ErrorBody), (status = 401, description = "invalid_client", body = ErrorBody),
        (status = 413, description = "Too long a form", body = ErrorBody), (status = 503, description = "temporarily_unavailable", body = ErrorBody),
    ))]
pub(crate) async fn token(State(app): State<Shared>, headers: HeaderMap, OAuthForm(form): OAuthForm) -> Response {
    let client = match app.authenticate(&headers, &form).await {
        Ok(client) => client,
        Err(error) => return error.into_response(),
    };
    let answer = match form.get("grant_type") {
        Some("authorization_code") => authorization_code::grant(&app, &client, &form).await,
        Some("refresh_token") => refresh_token::grant(&app, &client, &form).await,
        Some("client_credentials") => client_credentials::grant(&app, &client, &form),
        Some(_) => {
            Err(GrantError(OAuthError::new(OAuthErrorCode::UnsupportedGrantType, "the grant_type is not supported")))
        }
        None => Err(GrantError(OAuthError::new(OAuthErrorCode::InvalidRequest, "grant_type is missing"))),
    };
    match answer {
        Ok(answer) => {
            ([(header::CACHE_CONTROL, "no-store"), (header::PRAGMA, "no-cache")], Json(answer)).into_response()
        }
        Err(GrantError(error)) => error.into_response(),
    }
}
