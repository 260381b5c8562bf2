//! `refresh_token` with rotation (RFC 9700, section 4.14.2): each token is used once; who uses one again gets nothing, and
//! unless it was a lost answer, the whole family ends.

use std::time::Duration;

use keyrealm_auth::ScopeSet;
use keyrealm_base::{ObjectId, Timestamp};
use keyrealm_http::OAuthErrorCode;
use keyrealm_http::extract::Form;

use super::{GrantError, TokenAnswer};
use crate::app::App;
use crate::directory::Client;
use crate::domain::authorize;
use crate::domain::client::ClientRules;
use crate::domain::user::allowed_scopes;
use crate::handle::Handle;
use crate::storage::refresh_tokens::{self, RefreshToken, Spent, Successor};
use crate::storage::users;
use crate::tokens::{AccessToken, IdToken};

/// Those who come this soon after the winner are a race: they get nothing, and nothing ends.
const RACE: Duration = Duration::from_secs(2);
/// Until then a token whose successor nobody used is taken for a lost answer.
const LOST_ANSWER: Duration = Duration::from_secs(30);

/// What a token that cannot be used any more is presented for.
enum Again<'s> {
    /// There is nothing left to end.
    Over,
    Race,
    LostAnswer(&'s Successor),
    Replay,
}

fn judge(spent: &Spent, now: Timestamp) -> Again<'_> {
    if spent.ended || spent.token.expires <= now {
        return Again::Over;
    }
    // Without a use it was given up as lost, and was not: somebody has it.
    let (Some(used_at), Some(successor)) = (spent.used_at, &spent.successor) else { return Again::Replay };
    let since = now.since(used_at);
    if spent.revoked || successor.spent || since > LOST_ANSWER {
        Again::Replay
    } else if since <= RACE {
        Again::Race
    } else {
        Again::LostAnswer(successor)
    }
}

pub(crate) async fn grant(app: &App, client: &Client, form: &Form) -> Result<TokenAnswer, GrantError> {
    if !client.spec.allows_grant("refresh_token") {
        return Err(GrantError::new(OAuthErrorCode::UnauthorizedClient, "the client may not use refresh_token"));
    }
    let given = form
        .get("refresh_token")
        .ok_or_else(|| GrantError::new(OAuthErrorCode::InvalidRequest, "refresh_token is missing"))?;
    let invalid =
        || GrantError::invalid_grant("the refresh token is unknown, expired, used, revoked, or for another client");
    let handle = Handle::parse(given).filter(|handle| handle.tenant() == client.tenant).ok_or_else(invalid)?;
    let asked = match form.get("scope") {
        None => None,
        Some(text) => Some(
            ScopeSet::parse(text)
                .map_err(|_| GrantError::new(OAuthErrorCode::InvalidScope, "the scope is malformed"))?,
        ),
    };
    let now = app.clock.now();
    let successor = Handle::new(client.tenant, app.random.as_ref());
    let mut tx = app.write(client.tenant).await?;
    let client_id = &client.spec.client_id;
    let token = match refresh_tokens::consume(&mut tx, handle.hash(), client_id, successor.hash(), now).await? {
        Some(token) => token,
        None => {
            let spent = refresh_tokens::spent(&mut tx, handle.hash(), client_id).await?;
            drop(tx);
            let Some(spent) = spent else { return Err(invalid()) };
            match judge(&spent, now) {
                Again::Over | Again::Race => return Err(invalid()),
                Again::LostAnswer(lost) => {
                    // Whoever has the answer that was lost has an access token, too.
                    if let Some(access) = &lost.access {
                        app.revoker.token(access).await?;
                    }
                    tx = app.write(client.tenant).await?;
                    if !refresh_tokens::replace_successor(&mut tx, handle.hash(), lost, successor.hash(), now).await? {
                        return Err(invalid());
                    }
                    spent.token
                }
                Again::Replay => {
                    tracing::warn!(client = client_id, "a refresh token was replayed; its family is revoked");
                    app.revoker.family(client.tenant, &spent.token.family.to_string()).await?;
                    return Err(invalid());
                }
            }
        }
    };
    let granted = ScopeSet::parse(&token.scope).map(|parsed| parsed.known).unwrap_or_default();
    let Some(user) = users::enabled(&mut tx, &token.user_id.to_string()).await? else {
        tx.commit().await?;
        return Err(GrantError::invalid_grant("the user is disabled"));
    };
    // Narrower for this access token only; the refresh token keeps what was granted. Roles may have shrunk meanwhile.
    let scopes = match asked {
        Some(asked) if !asked.unknown.is_empty() || !asked.known.is_within(granted) => {
            // Rolled back: the token was not used.
            return Err(GrantError::new(OAuthErrorCode::InvalidScope, "the scope is more than was granted"));
        }
        Some(asked) => asked.known,
        None => granted,
    };
    let scopes = scopes.allowed_by(allowed_scopes(&user.spec.roles));
    let access = app.token_id();
    refresh_tokens::insert(&mut tx, successor.hash(), &token, access).await?;
    tx.commit().await?;
    answer(app, client, &token, access, scopes, &successor)
}

fn answer(
    app: &App,
    client: &Client,
    token: &RefreshToken,
    access: ObjectId,
    scopes: ScopeSet,
    successor: &Handle,
) -> Result<TokenAnswer, GrantError> {
    let access_token = app.mint_access(&AccessToken {
        id: access,
        subject: token.user_id.to_string(),
        client_id: &token.client_id,
        tenant: client.tenant,
        scopes,
        session: Some(token.sid),
        family: Some(token.family),
        auth_time: Some(token.auth_time),
    })?;
    let id_token = if authorize::is_openid(scopes) {
        // Without nonce (OpenID Connect Core, section 12.2).
        Some(app.mint_id(&IdToken {
            subject: token.user_id.to_string(),
            client_id: &token.client_id,
            session: token.sid,
            auth_time: token.auth_time,
            nonce: None,
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
        refresh_token: Some(successor.text().to_owned()),
        id_token,
    })
}
