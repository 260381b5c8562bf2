//! `GET` and `POST /oidc/v1/logout` (OpenID Connect RP-Initiated Logout).

use axum::extract::State;
use axum::response::Response;
use http::{HeaderMap, StatusCode, Uri};
use keyrealm_base::TenantId;
use keyrealm_http::extract::Form;
use keyrealm_jose::json;
use keyrealm_jose::jws::Unverified;
use keyrealm_store::StoreError;
use serde_json::{Map, Value};
use url::Url;

use super::form::PageForm;
use super::schemas::LogoutForm;
use super::{cookies, flow};
use crate::app::{App, Shared};
use crate::pages;

/// Ends the session.
#[utoipa::path(get, operation_id = "logout", path = "/oidc/v1/logout", tag = "oidc",
    params(("id_token_hint" = Option<String>, Query), ("post_logout_redirect_uri" = Option<String>, Query), ("state" = Option<String>, Query), ("client_id" = Option<String>, Query)),
    responses((status = 200, description = "A page"), (status = 303, description = "To the registered address"), (status = 400, description = "The hint or the address is not right")))]
pub(crate) async fn get(State(app): State<Shared>, headers: HeaderMap, uri: Uri) -> Response {
    match Form::parse(uri.query().unwrap_or_default().as_bytes()) {
        Ok(form) => answer(&app, &headers, &form, false).await,
        Err(_) => pages::error(StatusCode::BAD_REQUEST, "The request gives a parameter twice (invalid_request)."),
    }
}

/// The same by POST; also the answer to the question whether to log out.
#[utoipa::path(post, operation_id = "logoutByForm", path = "/oidc/v1/logout", tag = "oidc",
    request_body(content = LogoutForm, content_type = "application/x-www-form-urlencoded"),
    responses((status = 200, description = "A page"), (status = 303, description = "To the registered address"), (status = 400, description = "The hint or the address is not right")))]
pub(crate) async fn post(State(app): State<Shared>, headers: HeaderMap, PageForm(form): PageForm) -> Response {
    answer(&app, &headers, &form, true).await
}

const QUESTION: &str = "logout";
/// Of one browser; more cookies than that nobody was given.
const MOST_SESSIONS: usize = 16;

async fn answer(app: &App, headers: &HeaderMap, form: &Form, posted: bool) -> Response {
    let page = |text: &str| pages::error(StatusCode::BAD_REQUEST, text);
    let confirmed =
        posted && form.get("form_token").is_some_and(|token| cookies::is_own_form(headers, QUESTION, token));
    let hint = match form.get("id_token_hint").map(|hint| app.hint(hint)) {
        Some(None) => return page("The id_token_hint is not a token of this server."),
        Some(Some(hint)) => Some(hint),
        None => None,
    };
    let target = match target(app, form, hint.as_ref()).await {
        Ok(Ok(target)) => target,
        Ok(Err(text)) => return page(text),
        Err(error) => return flow::failed(&error),
    };
    let sessions = match sessions(app, headers, hint.as_ref()).await {
        Ok(sessions) => sessions,
        Err(error) => return flow::failed(&error),
    };
    let hinted = hint.as_ref().and_then(|hint| hint.get("sid")).and_then(Value::as_str);
    // Without a token of this very session anybody could log the user out by a link: ask.
    if !confirmed && sessions.iter().any(|(_, sid)| hinted != Some(sid.as_str())) {
        return ask(app, headers, form);
    }
    let mut response = match target {
        Some(target) => flow::redirect(&target),
        None => pages::logged_out(),
    };
    for (tenant, sid) in sessions {
        if let Err(error) = app.revoker.session(tenant, &sid).await {
            return flow::failed(&error);
        }
        cookies::clear_session(response.headers_mut(), tenant);
    }
    response
}

/// The sessions of this browser that are meant: that of the tenant that the hint is about, or all.
async fn sessions(
    app: &App,
    headers: &HeaderMap,
    hint: Option<&Map<String, Value>>,
) -> Result<Vec<(TenantId, String)>, StoreError> {
    let about = match hint.and_then(|hint| hint.get("aud")).and_then(Value::as_str) {
        Some(client_id) => app.directory.client(client_id).await?.map(|client| client.tenant),
        None => None,
    };
    let mut found = Vec::new();
    for handle in cookies::sessions(headers).take(MOST_SESSIONS) {
        let tenant = handle.tenant();
        if app.directory.is_enabled(tenant)
            && about.is_none_or(|about| about == tenant)
            && let Some(session) = flow::session(app, headers, tenant).await?
        {
            found.push((tenant, session.sid.to_string()));
        }
    }
    Ok(found)
}

/// Asks; what the application sent goes through the form and is checked again when the answer comes.
fn ask(app: &App, headers: &HeaderMap, form: &Form) -> Response {
    let browser = cookies::Browser::of(headers, app.random.as_ref());
    let kept: Vec<_> = ["id_token_hint", "client_id", "post_logout_redirect_uri", "state"]
        .into_iter()
        .filter_map(|name| form.get(name).map(|value| (name, value)))
        .collect();
    let mut page = pages::logout(&browser.form_token(QUESTION), &kept);
    browser.keep(page.headers_mut());
    page
}

/// Where to go afterwards: only to an address that is registered for the client that the hint (or client_id) names.
async fn target(
    app: &App,
    form: &Form,
    hint: Option<&Map<String, Value>>,
) -> Result<Result<Option<String>, &'static str>, StoreError> {
    let Some(uri) = form.get("post_logout_redirect_uri") else { return Ok(Ok(None)) };
    let hinted = hint.and_then(|hint| hint.get("aud")).and_then(Value::as_str);
    let given = form.get("client_id");
    if hinted.is_some() && given.is_some() && hinted != given {
        return Ok(Err("The client_id is not that of the id_token_hint."));
    }
    let Some(client_id) = hinted else { return Ok(Err("post_logout_redirect_uri needs an id_token_hint.")) };
    let client = app.directory.client(client_id).await?;
    let registered = client.is_some_and(|client| client.spec.post_logout_redirect_uris.iter().any(|own| own == uri));
    let (true, Ok(mut url)) = (registered, Url::parse(uri)) else {
        return Ok(Err("The post_logout_redirect_uri is not registered for the application."));
    };
    if let Some(state) = form.get("state").filter(|state| state.len() <= 2048) {
        url.query_pairs_mut().append_pair("state", state);
    }
    Ok(Ok(Some(url.into())))
}

impl App {
    /// The claims of one of our id_tokens, also of one that has expired (section 2).
    fn hint(&self, token: &str) -> Option<Map<String, Value>> {
        let token = Unverified::parse(token).ok().filter(|token| token.header("typ") == Some("JWT"))?;
        let kid = token.header("kid")?.to_owned();
        let verified = token.verify("RS256", self.keys.verifying.get(&kid, "RS256").ok()?).ok()?;
        let claims = json::object(&verified.payload).ok()?;
        (claims.get("iss").and_then(Value::as_str) == Some(self.issuer.as_str())).then_some(claims)
    }

    /// The subject of one of our id_tokens.
    pub(crate) fn hinted_subject(&self, token: &str) -> Option<String> {
        self.hint(token)?.get("sub")?.as_str().map(str::to_owned)
    }
}
