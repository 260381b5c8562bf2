//! `GET` and `POST /oidc/v1/login`.

use axum::Extension;
use axum::extract::State;
use axum::response::Response;
use http::{HeaderMap, StatusCode, Uri, header};
use keyrealm_base::ObjectId;
use keyrealm_crypto::SecretBytes;
use keyrealm_crypto::password::PasswordHash;
use keyrealm_http::Peer;
use keyrealm_http::extract::Form;
use keyrealm_store::StoreError;
use std::time::Duration;

use super::form::PageForm;
use super::schemas::LoginForm;
use super::{cookies, flow};
use crate::app::{App, Shared};
use crate::domain::client::ClientRules;
use crate::domain::user::LONGEST_NAME;
use crate::handle::Handle;
use crate::pages;
use crate::storage::sessions::{self, Session};
use crate::storage::{interactions, users};

/// The log-in form.
#[utoipa::path(get, operation_id = "loginPage", path = "/oidc/v1/login", tag = "pages", params(("request_id" = String, Query)),
    responses((status = 200, description = "The form"), (status = 400, description = "The log-in is over")))]
pub(crate) async fn page(State(app): State<Shared>, headers: HeaderMap, uri: Uri) -> Response {
    let Ok(query) = Form::parse(uri.query().unwrap_or_default().as_bytes()) else { return flow::gone() };
    match flow::interaction(&app, query.get("request_id").unwrap_or_default()).await {
        Ok(Some((handle, interaction, client))) => {
            let user = interaction.request.login_hint.unwrap_or_default();
            show(&app, &headers, &handle, client.spec.shown_name(), &client.tenant_name, &user, None)
        }
        Ok(None) => flow::gone(),
        Err(error) => flow::failed(&error),
    }
}

fn show(
    app: &App,
    headers: &HeaderMap,
    handle: &Handle,
    client: &str,
    tenant: &str,
    user: &str,
    problem: Option<(StatusCode, &str)>,
) -> Response {
    let browser = cookies::Browser::of(headers, app.random.as_ref());
    let token = browser.form_token(handle.text());
    let status = problem.map_or(StatusCode::OK, |(status, _)| status);
    let mut response = pages::login(status, client, tenant, user, handle.text(), &token, problem.map(|(_, text)| text));
    browser.keep(response.headers_mut());
    response
}

/// Checks name and password.
#[utoipa::path(post, operation_id = "loginSubmit", path = "/oidc/v1/login", tag = "pages",
    request_body(content = LoginForm, content_type = "application/x-www-form-urlencoded"),
    responses((status = 303, description = "On to consent or the client"), (status = 401, description = "The form again"), (status = 403, description = "Another browser's form"), (status = 413, description = "A page"), (status = 415, description = "A page: no form"), (status = 429, description = "Too many tries"), (status = 503, description = "Too many log-ins")))]
pub(crate) async fn submit(
    State(app): State<Shared>,
    Extension(peer): Extension<Peer>,
    headers: HeaderMap,
    PageForm(form): PageForm,
) -> Response {
    let request_id = form.get("request_id").unwrap_or_default();
    if !cookies::is_own_form(&headers, request_id, form.get("form_token").unwrap_or_default()) {
        return flow::foreign_form();
    }
    match log_in(&app, &peer, &headers, &form, request_id).await {
        Ok(response) => response,
        Err(error) => flow::failed(&error),
    }
}

async fn log_in(
    app: &Shared,
    peer: &Peer,
    headers: &HeaderMap,
    form: &Form,
    request_id: &str,
) -> Result<Response, StoreError> {
    let Some((handle, interaction, client)) = flow::interaction(app, request_id).await? else {
        return Ok(flow::gone());
    };
    let name = form.get("username").unwrap_or_default();
    let again = |status, text: &str| {
        show(app, headers, &handle, client.spec.shown_name(), &client.tenant_name, name, Some((status, text)))
    };
    if name.chars().count() > LONGEST_NAME {
        return Ok(again(StatusCode::UNAUTHORIZED, WRONG));
    }
    let (tenant, now, address) = (client.tenant, app.clock.now(), peer.address.ip());
    if let Err(wait) = app.throttle.begin(tenant, name, address, now) {
        let seconds = wait.as_secs().max(1).to_string();
        let text = format!("Too many tries. Wait {seconds} s and try again.");
        let mut response = again(StatusCode::TOO_MANY_REQUESTS, &text);
        if let Ok(value) = http::HeaderValue::from_str(&seconds) {
            response.headers_mut().insert(header::RETRY_AFTER, value);
        }
        return Ok(response);
    }
    let user = users::by_name(&mut app.read(tenant).await?, name).await?.filter(|user| user.spec.enabled);
    let hash = to_check(user.as_ref().map(|user| user.spec.password_hash.as_str()), &app.dummy);
    let password = SecretBytes::copy_of(form.get("password").unwrap_or_default().as_bytes());
    let Ok(right) = app.passwords.verify(hash, password).await else {
        app.throttle.undo(tenant, name, address);
        let text = "Too many people log in at the moment. Try again in a few seconds.";
        return Ok(flow::busy(again(StatusCode::SERVICE_UNAVAILABLE, text)));
    };
    let Some(user) = user.filter(|_| right) else { return Ok(again(StatusCode::UNAUTHORIZED, WRONG)) };
    app.throttle.succeeded(tenant, name, address);

    // A new cookie, whatever the browser came with: nobody can have planted it. The session of the old one ends; it goes
    // on only under the new one and only for the same user, whose applications stay logged in.
    let old = flow::session(app, headers, tenant).await?;
    let same = old.as_ref().filter(|old| old.user_id == user.id).map(|old| old.sid);
    let sid = same.unwrap_or_else(|| ObjectId::new(app.clock.as_ref(), app.random.as_ref()));
    let session = Session { sid, user_id: user.id, auth_time: now };
    let cookie = Handle::new(tenant, app.random.as_ref());
    let ends = old.filter(|old| old.user_id != user.id).map(|old| old.sid.to_string());
    if let Some(ends) = &ends {
        app.revoker.refuse_session(ends).await?;
    }
    let mut tx = app.write(tenant).await?;
    if !users::hold(&mut tx, &user).await? {
        return Ok(again(StatusCode::UNAUTHORIZED, WRONG));
    }
    match &ends {
        Some(ends) => app.revoker.session_rows(&mut tx, ends).await?,
        None => sessions::delete(&mut tx, &sid.to_string()).await?,
    }
    let expires = now.plus(Duration::from_secs(u64::from(app.lifetimes.session_seconds)));
    sessions::insert(&mut tx, cookie.hash(), &session, expires).await?;
    interactions::bind(&mut tx, handle.hash(), &sid.to_string()).await?;
    tx.commit().await?;
    let mut response =
        flow::go_on(app, &client, &interaction.request, Some(&session), flow::From::LogIn(&handle)).await?;
    cookies::set_session(response.headers_mut(), &cookie);
    Ok(response)
}

/// What the password is checked against: an unknown user costs the same work as a wrong password (TEN-20).
fn to_check(stored: Option<&str>, dummy: &PasswordHash) -> PasswordHash {
    stored.and_then(|stored| stored.parse().ok()).unwrap_or_else(|| dummy.clone())
}

const WRONG: &str = "The user name or the password is wrong.";

#[cfg(test)]
mod tests {
    use keyrealm_crypto::SystemRandom;

    use super::*;

    /// Whoever is not there is checked like everybody else, against a hash of the same cost that no password has.
    #[test]
    fn an_unknown_user_costs_the_same_work() {
        let dummy = PasswordHash::dummy(&SystemRandom);
        let own = PasswordHash::create(&SecretBytes::copy_of(b"password"), &SystemRandom);
        assert!(to_check(None, &dummy) == dummy && to_check(Some("no hash"), &dummy) == dummy);
        assert!(to_check(Some(&own.to_string()), &dummy) == own);
        let cost = |hash: &PasswordHash| hash.to_string().split('$').nth(2).map(str::to_owned);
        assert_eq!(cost(&dummy), cost(&own));
        assert!(!dummy.matches(&SecretBytes::copy_of(b"password")));
    }
}
