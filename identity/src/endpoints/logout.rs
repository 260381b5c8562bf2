//! `GET` and `POST /oidc/v1/logout` (OpenID Connect RP-Initiated Logout).

use axum::body::Bytes;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, StatusCode, Uri};
use keyrealm_http::extract::Form;
use keyrealm_jose::json;
use keyrealm_jose::jws::Unverified;
use keyrealm_store::StoreError;
use serde_json::{Map, Value};
use url::Url;

use super::{cookies, flow};
use crate::app::{App, Shared};
use crate::handle::Handle;
use crate::pages;

/// Ends the session.
#[utoipa::path(get, operation_id = "logout", path = "/oidc/v1/logout", tag = "oidc",
    params(("id_token_hint" = Option<String>, Query), ("post_logout_redirect_uri" = Option<String>, Query), ("state" = Option<String>, Query), ("client_id" = Option<String>, Query)),
    responses((status = 200, description = "A page"), (status = 303, description = "To the registered address"), (status = 400, description = "The hint or the address is not right")))]
pub(crate) async fn get(State(app): State<Shared>, headers: HeaderMap, uri: Uri) -> Response {
    answer(&app, &headers, uri.query().unwrap_or_default().as_bytes(), false).await
}

/// The same by POST; also the answer to the question whether to log out.
#[utoipa::path(post, operation_id = "logoutByForm", path = "/oidc/v1/logout", tag = "oidc",
    request_body(content = String, content_type = "application/x-www-form-urlencoded"),
    responses((status = 200, description = "A page"), (status = 303, description = "To the registered address"), (status = 400, description = "The hint or the address is not right")))]
pub(crate) async fn post(State(app): State<Shared>, headers: HeaderMap, body: Bytes) -> Response {
    answer(&app, &headers, &body, true).await
}

const QUESTION: &str = "logout";

async fn answer(app: &App, headers: &HeaderMap, parameters: &[u8], posted: bool) -> Response {
    let page = |text: &str| pages::error(StatusCode::BAD_REQUEST, text);
    let Ok(form) = Form::parse(parameters) else {
        return page("The request gives a parameter twice (invalid_request).");
    };
    let confirmed =
        posted && form.get("form_token").is_some_and(|token| cookies::is_own_form(headers, QUESTION, token));
    let hint = match form.get("id_token_hint").map(|hint| app.hint(hint)) {
        Some(None) => return page("The id_token_hint is not a token of this server."),
        Some(Some(hint)) => Some(hint),
        None => None,
    };
    let target = match target(app, &form, hint.as_ref()).await {
        Ok(Ok(target)) => target,
        Ok(Err(text)) => return page(text),
        Err(error) => return flow::failed(&error),
    };
    let handle = cookies::get(headers, cookies::SESSION)
        .and_then(Handle::parse)
        .filter(|handle| app.directory.is_enabled(handle.tenant()));
    let session = match &handle {
        None => None,
        Some(handle) => match flow::session(app, headers, handle.tenant()).await {
            Ok(session) => session.map(|session| (handle.tenant(), session)),
            Err(error) => return flow::failed(&error),
        },
    };
    if let Some((tenant, session)) = session {
        let sid = session.sid.to_string();
        let own = hint.as_ref().is_some_and(|hint| hint.get("sid").and_then(Value::as_str) == Some(sid.as_str()));
        // Without a token of this very session anybody could log the user out by a link: ask.
        if !own && !confirmed {
            let browser = cookies::get(headers, cookies::BROWSER).unwrap_or_default();
            return pages::logout(&cookies::form_token(browser, QUESTION));
        }
        if let Err(error) = app.end_session(tenant, &sid).await {
            return flow::failed(&error);
        }
    }
    let mut response = match target {
        Some(target) => flow::redirect(&target),
        None => pages::logged_out().into_response(),
    };
    cookies::clear(response.headers_mut(), cookies::SESSION);
    response
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
