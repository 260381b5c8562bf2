//! `GET` and `POST /oidc/v1/consent`.

use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use http::{HeaderMap, Uri};
use keyrealm_auth::ScopeSet;
use keyrealm_http::extract::Form;
use keyrealm_store::StoreError;

use super::form::PageForm;
use super::schemas::ConsentForm;
use super::{cookies, flow};
use crate::app::{App, Shared};
use crate::directory::Client;
use crate::domain::authorize::Refusal;
use crate::domain::client::ClientRules;
use crate::domain::user::allowed_scopes;
use crate::handle::Handle;
use crate::pages;
use crate::storage::interactions::{self, Interaction};
use crate::storage::sessions::Session;
use crate::storage::users::User;
use crate::storage::{consents, users};

/// What the user is asked.
struct Question {
    handle: Handle,
    interaction: Interaction,
    client: Arc<Client>,
    session: Session,
    user: User,
    scopes: ScopeSet,
}

/// The consent form.
#[utoipa::path(get, operation_id = "consentPage", path = "/oidc/v1/consent", tag = "pages", params(("request_id" = String, Query)),
    responses((status = 200, description = "The form"), (status = 400, description = "The log-in is over")))]
pub(crate) async fn page(State(app): State<Shared>, headers: HeaderMap, uri: Uri) -> Response {
    let Ok(query) = Form::parse(uri.query().unwrap_or_default().as_bytes()) else { return flow::gone() };
    match question(&app, &headers, query.get("request_id").unwrap_or_default()).await {
        Ok(Some(asked)) => {
            let browser = cookies::Browser::of(&headers, app.random.as_ref());
            let token = browser.form_token(asked.handle.text());
            let wants: Vec<_> = asked.scopes.iter().map(|scope| (scope.name(), scope.description())).collect();
            let client = asked.client.spec.shown_name();
            let (tenant, user) = (&asked.client.tenant_name, &asked.user.username);
            let mut page = pages::consent(client, tenant, user, &wants, asked.handle.text(), &token);
            browser.keep(page.headers_mut());
            page
        }
        Ok(None) => flow::gone(),
        Err(error) => flow::failed(&error),
    }
}

/// The question, if this browser's user is the one who logged in for it (IDN-09).
async fn question(app: &App, headers: &HeaderMap, request_id: &str) -> Result<Option<Question>, StoreError> {
    let Some((handle, interaction, client)) = flow::interaction(app, request_id).await? else { return Ok(None) };
    let Some(session) = flow::session(app, headers, client.tenant).await? else { return Ok(None) };
    if interaction.sid.as_deref() != Some(session.sid.to_string().as_str()) {
        return Ok(None);
    }
    let user = users::enabled(&mut app.read(client.tenant).await?, &session.user_id.to_string()).await?;
    let Some(user) = user else { return Ok(None) };
    let asked = ScopeSet::parse(&interaction.request.scope).map(|parsed| parsed.known).unwrap_or_default();
    let scopes = asked.allowed_by(allowed_scopes(&user.spec.roles));
    Ok(Some(Question { handle, interaction, client, session, user, scopes }))
}

/// The answer.
#[utoipa::path(post, operation_id = "consentDecision", path = "/oidc/v1/consent", tag = "pages",
    request_body(content = ConsentForm, content_type = "application/x-www-form-urlencoded"),
    responses((status = 303, description = "Back to the client with a code, or with access_denied"), (status = 403, description = "Another browser's form"), (status = 413, description = "A page"), (status = 415, description = "A page: no form")))]
pub(crate) async fn submit(State(app): State<Shared>, headers: HeaderMap, PageForm(form): PageForm) -> Response {
    let request_id = form.get("request_id").unwrap_or_default();
    if !cookies::is_own_form(&headers, request_id, form.get("form_token").unwrap_or_default()) {
        return flow::foreign_form();
    }
    match answer(&app, &headers, &form, request_id).await {
        Ok(response) => response,
        Err(error) => flow::failed(&error),
    }
}

async fn answer(app: &App, headers: &HeaderMap, form: &Form, request_id: &str) -> Result<Response, StoreError> {
    let Some(asked) = question(app, headers, request_id).await? else { return Ok(flow::gone()) };
    let approved = form.get("action").or_else(|| form.get("decision")) == Some("approve");
    let mut tx = app.write(asked.client.tenant).await?;
    if !interactions::take(&mut tx, asked.handle.hash()).await? {
        return Ok(flow::gone());
    }
    let request = &asked.interaction.request;
    if !approved {
        tx.commit().await?;
        let refusal = Refusal { code: "access_denied", description: "the user did not agree" };
        return Ok(flow::refused(app, &request.redirect_uri, request.state.as_deref(), &refusal));
    }
    consents::add(&mut tx, &asked.user.id.to_string(), &request.client_id, asked.scopes).await?;
    flow::issue(app, &asked.client, request, &asked.session, asked.scopes, tx).await
}
