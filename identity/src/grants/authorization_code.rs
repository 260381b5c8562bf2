//! `authorization_code` (RFC 6749, section 4.1.3; RFC 7636, section 4.6).

use std::time::Duration;

use keyrealm_auth::ScopeSet;
use keyrealm_http::OAuthErrorCode;
use keyrealm_http::extract::Form;

use super::{GrantError, TokenAnswer};
use crate::app::App;
use crate::directory::Client;
use crate::domain::client::ClientRules;
use crate::domain::{authorize, pkce};
use crate::handle::Handle;
use crate::storage::codes::{self, Code};
use crate::storage::refresh_tokens::{self, RefreshToken};
use crate::storage::users;
use crate::tokens::{AccessToken, IdToken};

/// Those who come this soon after the winner are a race and no theft.
const RACE: Duration = Duration::from_secs(2);

pub(crate) async fn grant(app: &App, client: &Client, form: &Form) -> Result<TokenAnswer, GrantError> {
    if !client.spec.allows_grant("authorization_code") {
        return Err(GrantError::new(OAuthErrorCode::UnauthorizedClient, "the client may not use authorization_code"));
    }
    let given = form.get("code").ok_or_else(|| GrantError::new(OAuthErrorCode::InvalidRequest, "code is missing"))?;
    let invalid = || GrantError::invalid_grant("the code is unknown, expired, used, or for another client");
    let handle = Handle::parse(given).filter(|handle| handle.tenant() == client.tenant).ok_or_else(invalid)?;
    let now = app.clock.now();
    let mut tx = app.write(client.tenant).await?;
    let Some(code) = codes::consume(&mut tx, handle.hash(), &client.spec.client_id, now).await? else {
        let used = codes::used(&mut tx, handle.hash(), &client.spec.client_id).await?;
        drop(tx);
        if let Some((used_at, family)) = used
            && now.since(used_at) > RACE
        {
            // RFC 6749, section 4.1.2: somebody else has this code, too.
            tracing::warn!(client = client.spec.client_id, "a code was used again; its tokens are revoked");
            app.revoker.family(client.tenant, &family).await?;
        }
        return Err(invalid());
    };
    // Used up from here on, whatever is wrong with the rest of the request.
    if let Err(error) = check(&code, form) {
        tx.commit().await?;
        return Err(error);
    }
    // Disabled since the log-in.
    if users::enabled(&mut tx, &code.user_id.to_string()).await?.is_none() {
        tx.commit().await?;
        return Err(invalid());
    }
    let scopes = ScopeSet::parse(&code.scope).map(|parsed| parsed.known).unwrap_or_default();
    let access = app.token_id();
    let refresh = if client.spec.allows_grant("refresh_token") {
        let refresh = Handle::new(client.tenant, app.random.as_ref());
        let token = RefreshToken {
            family: code.family,
            client_id: code.client_id.clone(),
            user_id: code.user_id,
            scope: code.scope.clone(),
            sid: code.sid,
            auth_time: code.auth_time,
            expires: now.plus(Duration::from_secs(u64::from(app.lifetimes.refresh_seconds))),
        };
        refresh_tokens::insert(&mut tx, refresh.hash(), &token, access).await?;
        Some(refresh.text().to_owned())
    } else {
        None
    };
    tx.commit().await?;
    let access_token = app.mint_access(&AccessToken {
        id: access,
        subject: code.user_id.to_string(),
        client_id: &code.client_id,
        tenant: client.tenant,
        scopes,
        session: Some(code.sid),
        family: Some(code.family),
        auth_time: Some(code.auth_time),
    })?;
    let id_token = if authorize::is_openid(scopes) {
        Some(app.mint_id(&IdToken {
            subject: code.user_id.to_string(),
            client_id: &code.client_id,
            session: code.sid,
            auth_time: code.auth_time,
            nonce: code.nonce.as_deref(),
            access_token: &access_token,
        })?)
    } else {
        None
    };
    Ok(TokenAnswer {
        access_token,
        token_type: "Bearer",
        expires_in: app.lifetimes.access_seconds,
        scope: scopes.to_string(),
        refresh_token: refresh,
        id_token,
    })
}

fn check(code: &Code, form: &Form) -> Result<(), GrantError> {
    // OAuth 2.1 drops the parameter; whoever sends it must send the right one.
    if form.get("redirect_uri").is_some_and(|uri| uri != code.redirect_uri) {
        return Err(GrantError::invalid_grant("redirect_uri is not that of the authorization request"));
    }
    match (&code.challenge, form.get("code_verifier")) {
        (None, None) => Ok(()),
        (Some(challenge), Some(verifier)) if pkce::verify(challenge, verifier) => Ok(()),
        (Some(_), Some(_)) => Err(GrantError::invalid_grant("code_verifier is not that of code_challenge")),
        (Some(_), None) => Err(GrantError::invalid_grant("code_verifier is missing")),
        (None, Some(_)) => {
            Err(GrantError::invalid_grant("code_verifier is given, but the request had no code_challenge"))
        }
    }
}
