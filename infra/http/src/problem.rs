//! Problem details (RFC 9457).

use std::borrow::Cow;

use axum::response::{IntoResponse, Response};
use http::{HeaderName, HeaderValue, StatusCode, header};
use keyrealm_base::{ProblemCode, RequestId};
use serde_json::{Map, Value, json};

/// An error as a client sees it: `type`, `title`, `status`, `detail`, `help` (how to mend it), `instance`, `request_id` and
/// extension members.
#[derive(Debug, Clone)]
pub struct Problem {
    code: ProblemCode,
    detail: Option<Cow<'static, str>>,
    help: Option<&'static str>,
    extra: Map<String, Value>,
    headers: Vec<(HeaderName, HeaderValue)>,
}

impl From<ProblemCode> for Problem {
    fn from(code: ProblemCode) -> Self {
        Self { code, detail: None, help: None, extra: Map::new(), headers: Vec::new() }
    }
}

impl Problem {
    /// With a sentence on this occurrence. It must hold nothing that the caller may not know.
    pub fn new(code: ProblemCode, detail: impl Into<Cow<'static, str>>) -> Self {
        Self { detail: Some(detail.into()), ..code.into() }
    }

    /// With another mend than the code's own.
    #[must_use]
    pub fn help(mut self, help: &'static str) -> Self {
        self.help = Some(help);
        self
    }

    /// With an extension member.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.extra.insert(name.to_owned(), value.into());
        self
    }

    /// With a header of the answer; a value that is no header value is left out.
    #[must_use]
    pub fn header(mut self, name: HeaderName, value: &str) -> Self {
        if let Ok(value) = HeaderValue::from_str(value) {
            self.headers.push((name, value));
        }
        self
    }

    /// What it is.
    #[must_use]
    pub fn code(&self) -> ProblemCode {
        self.code
    }

    /// The whole answer; the request's path and id are known to the outermost layer only, which calls this again.
    pub(crate) fn render(&self, request: Option<(&str, RequestId)>) -> Response {
        let mut body = Map::new();
        body.insert("type".to_owned(), format!("/problems/{}", self.code).into());
        body.insert("title".to_owned(), self.code.title().into());
        body.insert("status".to_owned(), json!(self.code.status()));
        if let Some(detail) = &self.detail {
            body.insert("detail".to_owned(), detail.as_ref().into());
        }
        body.insert("help".to_owned(), self.help.unwrap_or(self.code.help()).into());
        if let Some((path, id)) = request {
            body.insert("instance".to_owned(), path.into());
            body.insert("request_id".to_owned(), id.to_string().into());
        }
        body.extend(self.extra.clone());
        let status = StatusCode::from_u16(self.code.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut response = (status, Value::Object(body).to_string()).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        headers.extend(self.headers.iter().cloned());
        response
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut response = self.render(None);
        response.extensions_mut().insert(self);
        response
    }
}
