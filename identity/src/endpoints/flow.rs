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
    busy(pages::error(StatusCode::SERVICE_UNAVAILABLE, "The server cannot do this now. Go back and try again."))
}

/// Says when to come again.
pub(crate) fn busy(mut response: Response) -> Response {
    response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("2"));
    response
}

/// The session of this browser, if it is one of this tenant.
pub(crate) async fn session(app: &App, headers: &HeaderMap, tenant: TenantId) -> Result<Option<Session>, StoreError> {
    let Some(handle) = cookies::session(headers, tenant) else { return Ok(None) };
    let idle = Duration::from_secs(u64::from(app.lifetimes.idle_seconds));
    let mut tx = app.write(tenant).await?;
    let session = sessions::touch(&mut tx, handle.hash(), app.clock.now(), idle).await?;
    tx.commit().await?;
    Ok(session)
}

/// Where a request comes from.
pub(crate) enum From<'a> {
    /// From the client, by a browser at this address.
    Client(IpAddr),
    /// From the log-in that it led to.
    LogIn(&'a Handle),
}

/// Goes to the next step of a request.
pub(crate) async fn go_on(
    app: &App,
    client: &Arc<Client>,
    request: &Request,
    session: Option<&Session>,
    from: From<'_>,
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
        Some(user) => consents::get(&mut tx, &user.id.to_string(), &request.client_id)
            .await?
            .is_some_and(|agreed| scopes.is_within(agreed)),
        None => false,
    };
    let situation = Situation {
        auth_time: user.as_ref().and(session).map(|session| session.auth_time),
        consented,
        just_logged_in: matches!(from, From::LogIn(_)),
        now: app.clock.now(),
    };
    match (next(request, &situation), session) {
        (Next::Refuse(refusal), _) => Ok(refused(app, &request.redirect_uri, request.state.as_deref(), &refusal)),
        (Next::Issue, Some(session)) => {
            // Of two who come from the same log-in, one goes on.
            if let From::LogIn(handle) = from
                && !interactions::take(&mut tx, handle.hash()).await?
            {
                return Ok(gone());
            }
            issue(app, client, request, session, scopes, tx).await
        }
        (step, _) => {
            let page = if step == Next::Consent { "consent" } else { "login" };
            let text = match from {
                From::LogIn(handle) => handle.text().to_owned(),
                From::Client(address) => {
                    if app.throttle.open_page(address, app.clock.now()).is_err() {
                        return Ok(busy(pages::error(
                            StatusCode::TOO_MANY_REQUESTS,
                            "Too many log-ins were begun from your network. Wait a moment and try again.",
                        )));
                    }
                    let handle = Handle::new(client.tenant, app.random.as_ref());
                    let sid = if step == Next::Consent { session.map(|session| session.sid.to_string()) } else { None };
                    let kept = Interaction { request: request.clone(), sid };
                    let expires = app.clock.now().plus(INTERACTION);
                    interactions::insert(&mut tx, handle.hash(), &kept, expires).await?;
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
    codes::insert(&mut tx, handle.hash(), &code, expires).await?;
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
