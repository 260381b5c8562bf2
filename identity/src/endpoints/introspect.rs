//! `POST /oauth2/v1/introspect` (RFC 7662).

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::HeaderMap;
use keyrealm_auth::RevocationsUnknown;
use keyrealm_base::Timestamp;
use keyrealm_http::{OAuthError, OAuthErrorCode};
use keyrealm_store::StoreError;
use serde_json::{Value, json};

use super::form::OAuthForm;
use super::schemas::{ErrorBody, Introspection, TokenQuestion};
use crate::app::{App, Shared};
use crate::directory::Client;
use crate::handle::Handle;
use crate::storage::refresh_tokens;

/// Tells whether a token is active. Access tokens of one's own tenant, refresh tokens of one's own client.
#[utoipa::path(post, operation_id = "introspect", path = "/oauth2/v1/introspect", tag = "oauth2",
    security(("basic" = []), ()),
    request_body(content = TokenQuestion, content_type = "application/x-www-form-urlencoded", description = "With authentication of a confidential client by HTTP Basic or in the form"),
    responses(
        (status = 200, description = "RFC 7662, section 2.2", body = Introspection), (status = 400, description = "invalid_request", body = ErrorBody),
        (status = 401, description = "invalid_client", body = ErrorBody), (status = 413, description = "Too long a form", body = ErrorBody),
        (status = 503, description = "temporarily_unavailable: it cannot be told now", body = ErrorBody),
    ))]
pub(crate) async fn introspect(State(app): State<Shared>, headers: HeaderMap, OAuthForm(form): OAuthForm) -> Response {
    let client = match app.authenticate_confidential(&headers, &form).await {
        Ok(client) => client,
        Err(error) => return error.into_response(),
    };
    let Some(token) = form.get("token") else {
        return OAuthError::new(OAuthErrorCode::InvalidRequest, "token is missing").into_response();
    };
    match look(&app, &client, token).await {
        Ok(Some(answer)) => Json(answer).into_response(),
        // Nothing more is said of a token that is not active.
        Ok(None) => Json(json!({"active": false})).into_response(),
        Err(error) => {
            tracing::error!(%error, "cannot introspect");
            OAuthError::new(OAuthErrorCode::TemporarilyUnavailable, "whether the token is active cannot be told now")
                .into_response()
        }
    }
}

/// Why it cannot be told whether a token is active.
#[derive(Debug, thiserror::Error)]
enum Unknown {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Revocations(#[from] RevocationsUnknown),
}

async fn look(app: &App, client: &Client, token: &str) -> Result<Option<Value>, Unknown> {
    if let Some(handle) = Handle::parse(token) {
        if handle.tenant() != client.tenant {
            return Ok(None);
        }
        let found = refresh_tokens::live(&mut app.read(client.tenant).await?, handle.hash(), app.clock.now()).await?;
        return Ok(found.filter(|found| found.client_id == client.spec.client_id).map(|found| {
            json!({"active": true, "token_type": "refresh_token", "client_id": found.client_id, "sub": found.user_id,
                   "scope": found.scope, "exp": found.expires.seconds(), "iss": app.issuer})
        }));
    }
    let Ok(claims) = app.own_access(token, &app.audience) else { return Ok(None) };
    if claims.text("tenant_id") != Some(client.tenant.to_string().as_str()) || app.is_revoked(&claims)? {
        return Ok(None);
    }
    let mut answer = claims.all().clone();
    answer.insert("active".to_owned(), true.into());
    answer.insert("token_type".to_owned(), "Bearer".into());
    Ok(Some(Value::Object(answer)))
}

impl App {
    /// Whether one of our access tokens was revoked.
    ///
    /// # Errors
    /// When it is not known: then it is neither active nor not.
    pub(crate) fn is_revoked(&self, claims: &keyrealm_jose::jwt::Claims) -> Result<bool, RevocationsUnknown> {
        let text = |name: &str| claims.text(name).unwrap_or_default().to_owned();
        let principal = keyrealm_auth::Principal {
            issuer: text("iss"),
            subject: text("sub"),
            client_id: text("client_id"),
            tenant: None,
            scopes: keyrealm_auth::ScopeSet::EMPTY,
            token_id: text("jti"),
            session: claims.text("sid").map(str::to_owned),
            family: claims.text("family").map(str::to_owned),
            expires: claims.instant("exp").unwrap_or(Timestamp::from_millis(0)),
        };
        self.revocations.is_revoked(&principal, self.clock.now())
    }
}
