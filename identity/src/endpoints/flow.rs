//! What the steps of a log-in share: where to go next, issuing the code, and telling errors in the right place.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::response::{IntoResponse, Response};
use http::{HeaderMap, HeaderValue, StatusCode, header};
use keyrealm_auth::ScopeSet;
use keyrealm_base::{ObjectId, TenantId};
use keyrealm_store::{StoreError, TenantTx};
use url::Url;

use super::cookies;
use crate::app::App;
use crate::directory::Client;
use crate::domain::authorize::{Next, Refusal, Request, Situation, next};
use crate::domain::user::allowed_scopes;
use crate::handle::Handle;
use crate::pages;
use crate::storage::codes::{self, Code};
use crate::storage::interactions::{self, Interaction};
use crate::storage::sessions::{self, Session};
use crate::storage::{consents, users};

/// For how long a log-in page may be left open.
const INTERACTION: Duration = Duration::from_mins(15);
/// Used codes are remembered for so long, to notice who replays them.
const REMEMBER_CODES: Duration = Duration::from_hours(1);

/// See other, always by GET (RFC 9700, section 4.12).
pub(crate) fn redirect(to: &str) -> Response {
    match HeaderValue::from_str(to) {
        Ok(location) => (StatusCode::SEE_OTHER, [(header::LOCATION, location)]).into_response(),
        Err(_) => pages::error(StatusCode::BAD_REQUEST, "The address to go to cannot be used."),
    }
}

/// Back to the client, everything encoded, with `iss` (RFC 9207).
pub(crate) fn to_client(app: &App, request: &Request, parameters: &[(&str, &str)]) -> Response {
    to_uri(app, &request.redirect_uri, request.state.as_deref(), parameters)
}

fn to_uri(app: &App, uri: &str, state: Option<&str>, parameters: &[(&str, &str)]) -> Response {
    let Ok(mut uri) = Url::parse(uri) else {
        return pages::error(StatusCode::BAD_REQUEST, "The application's address cannot be used.");
    };
    uri.query_pairs_mut()
        .extend_pairs(parameters)
        .extend_pairs(state.map(|state| ("state", state)))
        .append_pair("iss", &app.issuer);
    redirect(uri.as_str())
}

/// An error that belongs to the client.
pub(crate) fn refused(app: &App, uri: &str, state: Option<&str>, refusal: &Refusal) -> Response {
    to_uri(app, uri, state, &[("error", refusal.code), ("error_description", refusal.description)])
}

/// The database failed in the middle of a log-in.
pub(crate) fn failed(error: &StoreError) -> Response {
    tracing::error!(%error, "the log-in failed");
    pages::error(StatusCode::SERVICE_UNAVAILABLE, "The server cannot do this now. Go back and try again.")
}

/// The session of this browser, if it is one of this tenant.
pub(crate) async fn session(app: &App, headers: &HeaderMap, tenant: TenantId) -> Result<Option<Session>, StoreError> {
    let Some(handle) = cookies::get(headers, cookies::SESSION).and_then(Handle::parse) else { return Ok(None) };
    if handle.tenant() != tenant {
        return Ok(None);
    }
    let idle = Duration::from_secs(u64::from(app.lifetimes.idle_seconds));
    let mut tx = app.write(tenant).await?;
    let session = sessions::touch(&mut tx, handle.hash(), app.clock.now(), idle).await?;
    tx.commit().await?;
    Ok(session)
}

/// Goes to the next step of a request.
pub(crate) async fn go_on(
    app: &App,
    client: &Arc<Client>,
    request: &Request,
    session: Option<&Session>,
    interaction: Option<&Handle>,
) -> Result<Response, StoreError> {
    let mut tx = app.write(client.tenant).await?;
    let user = match session {
        Some(session) => users::enabled(&mut tx, &session.user_id.to_string()).await?,
        None => None,
    };
    // Of what the client asks for, what the user's roles allow.
    let asked = ScopeSet::parse(&request.scope).map(|parsed| parsed.known).unwrap_or_default();
    let scopes = user.as_ref().map_or(asked, |user| asked.allowed_by(allowed_scopes(&user.spec.roles)));
    let consented = match &user {
        Some(user) => scopes.is_within(consents::get(&mut tx, &user.id.to_string(), &request.client_id).await?),
        None => false,
    };
    let situation = Situation {
        auth_time: user.as_ref().and(session).map(|session| session.auth_time),
        consented,
        just_logged_in: interaction.is_some(),
        now: app.clock.now(),
    };
    match (next(request, &situation), session) {
        (Next::Refuse(refusal), _) => Ok(refused(app, &request.redirect_uri, request.state.as_deref(), &refusal)),
        (Next::Issue, Some(session)) => {
            if let Some(handle) = interaction {
                interactions::take(&mut tx, handle.hash()).await?;
            }
            issue(app, client, request, session, scopes, tx).await
        }
        (step, _) => {
            let page = if step == Next::Consent { "consent" } else { "login" };
            let text = match interaction {
                Some(handle) => handle.text().to_owned(),
                None => {
                    let handle = Handle::new(client.tenant, app.random.as_ref());
                    let sid = if step == Next::Consent { session.map(|session| session.sid.to_string()) } else { None };
                    let kept = Interaction { request: request.clone(), sid };
                    let now = app.clock.now();
                    interactions::insert(&mut tx, handle.hash(), &kept, now, now.plus(INTERACTION)).await?;
                    handle.text().to_owned()
                }
            };
            tx.commit().await?;
            Ok(redirect(&format!("/oidc/v1/{page}?request_id={text}")))
        }
    }
}

/// Issues the code, and takes the browser back to the client.
pub(crate) async fn issue(
    app: &App,
    client: &Client,
    request: &Request,
    session: &Session,
    scopes: ScopeSet,
    mut tx: TenantTx,
) -> Result<Response, StoreError> {
    let now = app.clock.now();
    let handle = Handle::new(client.tenant, app.random.as_ref());
    let code = Code {
        client_id: request.client_id.clone(),
        user_id: session.user_id,
        redirect_uri: request.redirect_uri.clone(),
        scope: scopes.to_string(),
        nonce: request.nonce.clone(),
        challenge: request.challenge.clone(),
        sid: session.sid,
        family: ObjectId::new(app.clock.as_ref(), app.random.as_ref()),
        auth_time: session.auth_time,
    };
    let expires = now.plus(Duration::from_secs(u64::from(app.lifetimes.code_seconds)));
    codes::insert(&mut tx, handle.hash(), &code, expires, now.minus(REMEMBER_CODES)).await?;
    tx.commit().await?;
    Ok(to_client(app, request, &[("code", handle.text())]))
}

/// The interaction behind a page, with its client.
pub(crate) async fn interaction(
    app: &App,
    request_id: &str,
) -> Result<Option<(Handle, Interaction, Arc<Client>)>, StoreError> {
    let Some(handle) = Handle::parse(request_id).filter(|handle| app.directory.is_enabled(handle.tenant())) else {
        return Ok(None);
    };
    let found = interactions::get(&mut app.read(handle.tenant()).await?, handle.hash(), app.clock.now()).await?;
    let Some(found) = found else { return Ok(None) };
    let client = app.directory.client(&found.request.client_id).await?;
    Ok(client.filter(|client| client.tenant == handle.tenant()).map(|client| (handle, found, client)))
}

/// A page for a log-in that is over.
pub(crate) fn gone() -> Response {
    pages::error(
        StatusCode::BAD_REQUEST,
        "This log-in has ended or was left open for too long. Go back to the application and start again.",
    )
}

/// A page for a form that another browser was shown.
pub(crate) fn foreign_form() -> Response {
    pages::error(
        StatusCode::FORBIDDEN,
        "This form does not belong to your browser's log-in. Cookies must be allowed for this site; go back to the application and start again.",
    )
}

/// The address of the caller.
pub(crate) fn address(peer: &keyrealm_http::Peer) -> IpAddr {
    peer.address.ip()
}
