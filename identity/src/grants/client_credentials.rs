//! `client_credentials` (RFC 6749, section 4.4): no database when the client is known.

use keyrealm_auth::{Scope, ScopeSet};
use keyrealm_http::OAuthErrorCode;
use keyrealm_http::extract::Form;
use keyrealm_registry::specs::ClientType;

use super::{GrantError, TokenAnswer};
use crate::app::App;
use crate::directory::Client;
use crate::domain::client::ClientRules;
use crate::tokens::AccessToken;

pub(crate) fn grant(app: &App, client: &Client, form: &Form) -> Result<TokenAnswer, GrantError> {
    if client.spec.kind != ClientType::Confidential || !client.spec.allows_grant("client_credentials") {
        return Err(GrantError::new(OAuthErrorCode::UnauthorizedClient, "the client may not use client_credentials"));
    }
    // What is about a person is not for a client of its own.
    let personal = [Scope::OpenId, Scope::Profile, Scope::Email, Scope::OfflineAccess];
    let allowed: ScopeSet = client.spec.scope_set().iter().filter(|scope| !personal.contains(scope)).collect();
    let scopes = match form.get("scope") {
        None => allowed,
        Some(text) => {
            let asked = ScopeSet::parse(text)
                .map_err(|_| GrantError::new(OAuthErrorCode::InvalidScope, "the scope is malformed"))?;
            if !asked.unknown.is_empty() || !asked.known.is_within(allowed) {
                return Err(GrantError::new(OAuthErrorCode::InvalidScope, "the client may not ask for this scope"));
            }
            asked.known
        }
    };
    let access_token = app.mint_access(&AccessToken {
        id: app.token_id(),
        subject: client.spec.client_id.clone(),
        client_id: &client.spec.client_id,
        tenant: client.tenant,
        scopes,
        session: None,
        family: None,
        auth_time: None,
    })?;
    Ok(TokenAnswer {
        access_token,
        token_type: "Bearer",
        expires_in: app.lifetimes.access_seconds,
        scope: scopes.to_string(),
        refresh_token: None,
        id_token: None,
    })
}
