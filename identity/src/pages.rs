//! The pages: rendered here, without scripts, under a policy that allows nothing but their own style and forms.

use askama::Template;
use axum::extract::Request;
use axum::middleware::Next;
use axum::response::{Html, IntoResponse, Response};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderValue, StatusCode, header};
use keyrealm_base::RequestId;
use keyrealm_crypto::sha256;

const STYLE: &str = include_str!("../templates/style.css");

#[derive(Template)]
#[template(path = "login.html")]
struct Login<'a> {
    style: &'a str,
    client: &'a str,
    tenant: &'a str,
    username: &'a str,
    request_id: &'a str,
    form_token: &'a str,
    problem: Option<&'a str>,
}

#[derive(Template)]
#[template(path = "consent.html")]
struct Consent<'a> {
    style: &'a str,
    client: &'a str,
    tenant: &'a str,
    user: &'a str,
    wants: &'a [(&'a str, &'a str)],
    request_id: &'a str,
    form_token: &'a str,
}

#[derive(Template)]
#[template(path = "logout.html")]
struct Logout<'a> {
    style: &'a str,
    form_token: &'a str,
    kept: &'a [(&'a str, &'a str)],
}

#[derive(Template)]
#[template(path = "message.html")]
struct Message<'a> {
    style: &'a str,
    title: &'a str,
    text: &'a str,
    request_id: Option<&'a str>,
}

/// An error page on its way out: which request it is about is known outside the handlers.
#[derive(Clone)]
struct Unnamed(String);

/// The log-in form.
pub(crate) fn login(
    status: StatusCode,
    client: &str,
    tenant: &str,
    username: &str,
    request_id: &str,
    form_token: &str,
    problem: Option<&str>,
) -> Response {
    page(status, &Login { style: STYLE, client, tenant, username, request_id, form_token, problem })
}

/// The consent form; `wants` are scopes with what they mean.
pub(crate) fn consent(
    client: &str,
    tenant: &str,
    user: &str,
    wants: &[(&str, &str)],
    request_id: &str,
    form_token: &str,
) -> Response {
    page(StatusCode::OK, &Consent { style: STYLE, client, tenant, user, wants, request_id, form_token })
}

/// The question whether to log out; `kept` are the fields that the answer brings back.
pub(crate) fn logout(form_token: &str, kept: &[(&str, &str)]) -> Response {
    page(StatusCode::OK, &Logout { style: STYLE, form_token, kept })
}

/// What is shown after a log-out that leads nowhere else.
pub(crate) fn logged_out() -> Response {
    let (title, text) = ("You are logged out", "You can close this page.");
    page(StatusCode::OK, &Message { style: STYLE, title, text, request_id: None })
}

/// An error for people. The id of the request, which finds it in the log, is added by [`name_request`].
pub(crate) fn error(status: StatusCode, text: &str) -> Response {
    let mut response = failure(status, text, None);
    response.extensions_mut().insert(Unnamed(text.to_owned()));
    response
}

fn failure(status: StatusCode, text: &str, request_id: Option<&str>) -> Response {
    page(status, &Message { style: STYLE, title: "This did not work", text, request_id })
}

/// Writes the id of the request on error pages.
pub(crate) async fn name_request(request: Request, next: Next) -> Response {
    let id = request.extensions().get::<RequestId>().copied();
    let mut response = next.run(request).await;
    if let (Some(Unnamed(text)), Some(id)) = (response.extensions_mut().remove(), id) {
        let named = failure(response.status(), &text, Some(&id.to_string()));
        *response.body_mut() = named.into_body();
        response.headers_mut().remove(header::CONTENT_LENGTH);
    }
    response
}

fn page(status: StatusCode, template: &impl Template) -> Response {
    let Ok(html) = template.render() else {
        tracing::error!("a page cannot be rendered");
        return StatusCode::INTERNAL_SERVER_ERROR.into_response();
    };
    let mut response = (status, Html(html)).into_response();
    // form-action is left open: after the form the browser is redirected to the client, and browsers check the whole
    // chain against it.
    let policy = format!(
        "default-src 'none'; style-src 'sha256-{}'; base-uri 'none'; frame-ancestors 'none'",
        STANDARD.encode(sha256(STYLE.as_bytes()))
    );
    if let Ok(policy) = HeaderValue::from_str(&policy) {
        response.headers_mut().insert(header::CONTENT_SECURITY_POLICY, policy);
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What comes from outside is escaped.
    #[test]
    fn markup_in_names_is_shown_and_not_run() {
        let evil = "<script>alert(1)</script>\"'";
        let html = Login {
            style: STYLE,
            client: evil,
            tenant: evil,
            username: evil,
            request_id: evil,
            form_token: evil,
            problem: Some(evil),
        }
        .render()
        .unwrap();
        assert!(!html.contains("<script>") && html.contains("&#60;script&#62;"), "{html}");
        assert!(html.contains("<style>:root{"), "the style is as its hash says");
    }
}
