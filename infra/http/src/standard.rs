//! What every request goes through, once, on the outside: an id, a span, a time limit, a net for panics, safe headers.

use std::panic::AssertUnwindSafe;
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::{Request, State};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use futures_util::FutureExt;
use http::{HeaderName, HeaderValue, header};
use keyrealm_base::{ProblemCode, RequestId, SharedClock, SharedRandom};
use tracing::Instrument;

use crate::Problem;
use crate::linger::Lingering;

/// What the outermost layer needs.
#[derive(Clone)]
pub struct Standard {
    /// For request ids.
    pub clock: SharedClock,
    /// For request ids.
    pub randomness: SharedRandom,
    /// The longest that a request may take.
    pub timeout: Duration,
}

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Wraps a product's routes; unknown paths and methods become problems.
pub fn standard(router: Router, standard: Standard) -> Router {
    outermost_layer(with_fallbacks(router), standard)
}

/// Unknown paths and methods become problems. What is layered over it is asked first.
pub(crate) fn with_fallbacks(router: Router) -> Router {
    router
        .fallback(async || Problem::new(ProblemCode::NotFound, "there is nothing at this path"))
        .method_not_allowed_fallback(async || Problem::from(ProblemCode::MethodNotAllowed))
}

pub(crate) fn outermost_layer(router: Router, standard: Standard) -> Router {
    router.layer(from_fn_with_state(standard, outermost))
}

async fn outermost(State(standard): State<Standard>, request: Request, next: Next) -> Response {
    // The id is ours: one that the caller sent could be anybody's.
    let id = RequestId::new(standard.clock.as_ref(), standard.randomness.as_ref());
    let mut request = request.map(Lingering::wrap);
    request.extensions_mut().insert(id);
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    let loopback = is_loopback(&request);
    let span = tracing::info_span!("request", request_id = %id, %method, path);
    let began = Instant::now();
    let work = AssertUnwindSafe(next.run(request)).catch_unwind();
    let mut response = async {
        match tokio::time::timeout(standard.timeout, work).await {
            Ok(Ok(response)) => response,
            Ok(Err(_)) => {
                tracing::error!("a handler panicked");
                Problem::from(ProblemCode::Internal).into_response()
            }
            Err(_) => Problem::from(ProblemCode::Timeout).into_response(),
        }
    }
    .instrument(span.clone())
    .await;
    if let Some(problem) = response.extensions_mut().remove::<Problem>() {
        let mut whole = problem.render(Some((&path, id)));
        // What layers in between added stays (Allow of a 405).
        for (name, value) in response.headers() {
            if !whole.headers().contains_key(name) && *name != header::CONTENT_LENGTH {
                whole.headers_mut().append(name, value.clone());
            }
        }
        response = whole;
    }
    finish(response.headers_mut(), id, loopback);
    let status_code = response.status().as_u16();
    let micros = u64::try_from(began.elapsed().as_micros()).unwrap_or(u64::MAX);
    span.in_scope(|| tracing::debug!(status_code, micros, "answered"));
    response
}

/// Whether the caller names this machine. A browser holds what it is told for every port: with HSTS on `localhost` it
/// would not speak http to anything else there, such as the application under development that logs in here.
fn is_loopback(request: &Request) -> bool {
    let host = request.headers().get(header::HOST).and_then(|host| host.to_str().ok());
    let authority = request.uri().authority().map(http::uri::Authority::as_str).or(host).unwrap_or_default();
    // Without the port; an IPv6 literal has colons of its own. For literals browsers do not keep it anyway.
    let name = authority.rsplit_once(':').map_or(authority, |(name, _)| name);
    name == "localhost" || name.ends_with(".localhost") || name == "127.0.0.1" || name == "[::1]"
}

fn finish(headers: &mut http::HeaderMap, id: RequestId, loopback: bool) {
    // Once for all that follow: the map grows in steps.
    headers.reserve(8);
    if let Ok(id) = HeaderValue::from_str(&id.to_string()) {
        headers.insert(REQUEST_ID, id);
    }
    for (name, value) in [
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::X_FRAME_OPTIONS, "DENY"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::CACHE_CONTROL, "no-store"),
        (header::CONTENT_SECURITY_POLICY, "default-src 'none'; frame-ancestors 'none'"),
    ] {
        headers.entry(name).or_insert(HeaderValue::from_static(value));
    }
    if !loopback {
        let value = HeaderValue::from_static("max-age=31536000; includeSubDomains");
        headers.entry(header::STRICT_TRANSPORT_SECURITY).or_insert(value);
    }
}
