//! `GET` and `POST /oauth2/v1/authorize` (RFC 6749, section 4.1.1; OpenID Connect Core, section 3.1.2.1).

use axum::Extension;
use axum::extract::State;
use axum::response::Response;
use http::{HeaderMap, StatusCode, Uri};
use keyrealm_http::Peer;
use keyrealm_http::extract::Form;

use super::flow;
use super::form::PageForm;
use super::schemas::AuthorizeForm;
use crate::app::Shared;
use crate::domain::authorize::{Prompt, check};
use crate::domain::client::ClientRules;
use crate::pages;

/// Begins a log-in.
#[utoipa::path(get, operation_id = "authorize", path = "/oauth2/v1/authorize", tag = "oauth2",
    params(
        ("client_id" = String, Query), ("redirect_uri" = String, Query, description = "As registered"),
        ("response_type" = String, Query, description = "code"), ("scope" = Option<String>, Query), ("state" = Option<String>, Query),
        ("nonce" = Option<String>, Query), ("code_challenge" = Option<String>, Query, description = "S256"),
        ("code_challenge_method" = Option<String>, Query, description = "S256"), ("prompt" = Option<String>, Query),
        ("max_age" = Option<u32>, Query), ("login_hint" = Option<String>, Query),
    ),
    responses((status = 303, description = "To the log-in, or back to the client with code or error, state and iss"), (status = 400, description = "A page: the client or the redirect URI is not right"), (status = 429, description = "A page: too many log-ins were begun")))]
pub(crate) async fn get(
    State(app): State<Shared>,
    Extension(peer): Extension<Peer>,
    headers: HeaderMap,
    uri: Uri,
) -> Response {
    match Form::parse(uri.query().unwrap_or_default().as_bytes()) {
        Ok(form) => answer(app, peer, headers, form).await,
        Err(_) => pages::error(
            StatusCode::BAD_REQUEST,
            "The application's request gives a parameter twice (invalid_request).",
        ),
    }
}

/// The same by POST.
#[utoipa::path(post, operation_id = "authorizeByForm", path = "/oauth2/v1/authorize", tag = "oauth2",
    request_body(content = AuthorizeForm, content_type = "application/x-www-form-urlencoded"),
    responses((status = 303, description = "As by GET"), (status = 400, description = "As by GET"), (status = 413, description = "A page"), (status = 415, description = "A page: no form"), (status = 429, description = "As by GET")))]
pub(crate) async fn post(
    State(app): State<Shared>,
    Extension(peer): Extension<Peer>,
    headers: HeaderMap,
    PageForm(form): PageForm,
) -> Response {
    answer(app, peer, headers, form).await
}

/// What must be right before anything is sent to the client (RFC 6749, section 4.1.2.1).
async fn answer(app: Shared, peer: Peer, headers: HeaderMap, form: Form) -> Response {
    let page = |text: &str| pages::error(StatusCode::BAD_REQUEST, text);
    let client = match app.directory.client(form.get("client_id").unwrap_or_default()).await {
        Ok(Some(client)) => client,
        Ok(None) => return page("The application is not known here: check its client_id."),
        Err(error) => return flow::failed(&error),
    };
    let redirect_uri = form.get("redirect_uri").unwrap_or_default();
    if !client.spec.redirects_to(redirect_uri) {
        return page("The application's redirect_uri is not registered: it must be the registered one, to the letter.");
    }
    let request = match check(&client.spec, redirect_uri, |name| form.get(name).map(str::to_owned)) {
        Ok(request) => request,
        Err(refusal) => {
            let state = form.get("state").filter(|state| state.len() <= 2048);
            return flow::refused(&app, redirect_uri, state, &refusal);
        }
    };
    // A hint at another user than the one of the session asks for a log-in.
    let session = match flow::session(&app, &headers, client.tenant).await {
        Ok(session) => session,
        Err(error) => return flow::failed(&error),
    };
    let hinted = form.get("id_token_hint").map(|hint| app.hinted_subject(hint));
    let session = match (&hinted, session) {
        (Some(Some(subject)), Some(session)) if *subject != session.user_id.to_string() => None,
        (_, session) => session,
    };
    if matches!(hinted, Some(None)) && request.prompts.contains(&Prompt::None) {
        let refusal = crate::domain::authorize::Refusal {
            code: "invalid_request",
            description: "id_token_hint is not one of ours",
        };
        return flow::refused(&app, redirect_uri, request.state.as_deref(), &refusal);
    }
    let from = flow::From::Client(peer.address.ip());
    match flow::go_on(&app, &client, &request, session.as_ref(), from).await {
        Ok(response) => response,
        Err(error) => flow::failed(&error),
    }
}
