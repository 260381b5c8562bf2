//! Form bodies, each refused in the language of its endpoint: RFC 6749 for programs, a page for people.

use axum::body::to_bytes;
use axum::extract::{FromRequest, Request};
use axum::response::{IntoResponse, Response};
use http::{StatusCode, header};
use keyrealm_http::extract::Form;
use keyrealm_http::{OAuthError, OAuthErrorCode};

use crate::pages;

/// The largest form, in bytes: tokens and a `state` of 2 KiB fit several times.
const MAX_FORM: usize = 64 * 1024;

/// A form that programs send; refusals are errors of RFC 6749, section 5.2.
pub(crate) struct OAuthForm(pub(crate) Form);

/// A form that browsers send; refusals are pages.
pub(crate) struct PageForm(pub(crate) Form);

struct Refusal {
    status: StatusCode,
    text: String,
}

async fn read(request: Request) -> Result<Form, Refusal> {
    let refuse = |status, text: &str| Refusal { status, text: text.to_owned() };
    let given = request.headers().get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let given = given.split(';').next().unwrap_or_default().trim();
    if !given.eq_ignore_ascii_case("application/x-www-form-urlencoded") {
        let text = "the body must be application/x-www-form-urlencoded";
        return Err(refuse(StatusCode::UNSUPPORTED_MEDIA_TYPE, text));
    }
    // Longer, or cut off: there is nothing to be read either way.
    let bytes = to_bytes(request.into_body(), MAX_FORM)
        .await
        .map_err(|_| refuse(StatusCode::PAYLOAD_TOO_LARGE, "the form is longer than 65536 bytes or was cut off"))?;
    Form::parse(&bytes).map_err(|name| refuse(StatusCode::BAD_REQUEST, &format!("the parameter {name} is given twice")))
}

impl<S: Send + Sync> FromRequest<S> for OAuthForm {
    type Rejection = Response;

    async fn from_request(request: Request, _: &S) -> Result<Self, Response> {
        read(request).await.map(Self).map_err(|refusal| {
            let mut response = OAuthError::new(OAuthErrorCode::InvalidRequest, &refusal.text).into_response();
            // RFC 6749 knows 400 alone for a wrong content type; a body that was not read is said so.
            if refusal.status == StatusCode::PAYLOAD_TOO_LARGE {
                *response.status_mut() = refusal.status;
            }
            response
        })
    }
}

impl<S: Send + Sync> FromRequest<S> for PageForm {
    type Rejection = Response;

    async fn from_request(request: Request, _: &S) -> Result<Self, Response> {
        let refused = |refusal: Refusal| pages::error(refusal.status, &format!("Invalid request: {}.", refusal.text));
        read(request).await.map(Self).map_err(refused)
    }
}
