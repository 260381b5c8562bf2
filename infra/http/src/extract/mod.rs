//! Extractors that say what is wrong and where, and never repeat a value back.

mod empty;
mod form;
mod json;
mod path;
mod query;

pub use empty::Empty;
pub use form::Form;
pub use json::Json;
pub use path::PathId;
pub use query::Query;

use axum::body::to_bytes;
use axum::extract::Request;
use bytes::Bytes;
use http::header;
use keyrealm_base::ProblemCode;

use crate::{MAX_BODY, Problem};

/// The body, up to the limit.
async fn body(request: Request) -> Result<Bytes, Problem> {
    let declared =
        request.headers().get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse::<usize>().ok());
    if declared.is_some_and(|length| length > MAX_BODY) {
        return Err(too_large());
    }
    to_bytes(request.into_body(), MAX_BODY).await.map_err(|error| {
        let source = std::error::Error::source(&error);
        if source.is_some_and(<dyn std::error::Error>::is::<http_body_util::LengthLimitError>) {
            too_large()
        } else {
            Problem::new(ProblemCode::BadRequest, "the body ended early")
        }
    })
}

fn too_large() -> Problem {
    Problem::new(ProblemCode::PayloadTooLarge, "the body has more than 2 MiB")
        .help("Send at most 2 MiB; encrypt a large text with a key of its own, and that key here.")
}

/// Whether the content type is this one, whatever its parameters.
fn has_type(request: &Request, wanted: &str) -> bool {
    let given = request.headers().get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    given.split(';').next().unwrap_or_default().trim().eq_ignore_ascii_case(wanted)
}
