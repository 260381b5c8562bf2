//! `POST /oauth2/v1/revoke` (RFC 7009).

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, StatusCode};
use keyrealm_http::{OAuthError, OAuthErrorCode};
use keyrealm_store::StoreError;

use super::form::OAuthForm;
use super::schemas::{ErrorBody, TokenQuestion};
use crate::app::{App, Shared};
use crate::directory::Client;
use crate::handle::Handle;
use crate::storage::refresh_tokens;

/// Revokes a token of one's own client. Unknown and foreign tokens answer 200, too (section 2.2).
#[utoipa::path(post, operation_id = "revoke", path = "/oauth2/v1/revoke", tag = "oauth2",
    security(("basic" = []), ()),
    request_body(content = TokenQuestion, content_type = "application/x-www-form-urlencoded", description = "With client authentication by HTTP Basic or in the form; public clients give their client_id"),
    responses((status = 200, description = "It is revoked, or was no token of this client"), (status = 400, description = "invalid_request", body = ErrorBody),
        (status = 401, description = "invalid_client", body = ErrorBody), (status = 413, description = "Too long a form", body = ErrorBody),
        (status = 503, description = "temporarily_unavailable", body = ErrorBody)))]
pub(crate) async fn revoke(State(app): State<Shared>, headers: HeaderMap, OAuthForm(form): OAuthForm) -> Response {
    let client = match app.authenticate(&headers, &form).await {
        Ok(client) => client,
        Err(error) => return error.into_response(),
    };
    let Some(token) = form.get("token") else {
        return OAuthError::new(OAuthErrorCode::InvalidRequest, "token is missing").into_response();
    };
    match work(&app, &client, token).await {
        Ok(()) => StatusCode::OK.into_response(),
        Err(error) => {
            tracing::error!(%error, "cannot revoke");
            OAuthError::new(OAuthErrorCode::TemporarilyUnavailable, "the token could not be revoked").into_response()
        }
    }
}

async fn work(app: &App, client: &Client, token: &str) -> Result<(), StoreError> {
    let own = client.spec.client_id.as_str();
    if let Some(handle) = Handle::parse(token).filter(|handle| handle.tenant() == client.tenant) {
        let owner = refresh_tokens::owner(&mut app.read(client.tenant).await?, handle.hash()).await?;
        if let Some((family, _)) = owner.filter(|(_, client_id)| client_id == own) {
            app.revoker.family(client.tenant, &family).await?;
        }
        return Ok(());
    }
    match app.own_access(token, &app.audience) {
        Ok(claims) if claims.text("client_id") == Some(own) => {
            app.revoker.token(claims.text("jti").unwrap_or_default()).await
        }
        _ => Ok(()),
    }
}
