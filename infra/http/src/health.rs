//! Probes on the admin listener. Without a client certificate they answer a bare status; everything else there asks for
//! one.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use axum::extract::{Request, State};
use axum::middleware::{Next, from_fn};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use http::StatusCode;
use keyrealm_base::ProblemCode;
use serde_json::json;

use crate::standard::{outermost_layer, with_fallbacks};
use crate::{Peer, Problem, Standard};

/// The state of one part that the product needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Check {
    /// It works.
    Ok,
    /// It does not, and the product serves on without it.
    Degraded(String),
    /// It does not, and the product cannot serve.
    Failed(String),
}

/// The checks of a product, by name. A product without any is not ready.
#[derive(Clone, Default)]
pub struct Health(Arc<Mutex<BTreeMap<&'static str, Check>>>);

impl Health {
    /// Sets a check; a change is logged.
    pub fn set(&self, name: &'static str, check: Check) {
        let Ok(mut checks) = self.0.lock() else { return };
        if checks.get(name) != Some(&check) {
            tracing::info!(check = name, state = ?check, "health");
            checks.insert(name, check);
        }
    }

    /// Whether every part that is needed works.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        let Ok(checks) = self.0.lock() else { return false };
        !checks.is_empty() && !checks.values().any(|check| matches!(check, Check::Failed(_)))
    }

    fn answer(&self, detailed: bool) -> Response {
        let ready = self.is_ready();
        let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
        if !detailed {
            return status.into_response();
        }
        let checks = self.0.lock().map(|checks| checks.clone()).unwrap_or_default();
        let checks: serde_json::Map<_, _> = checks
            .into_iter()
            .map(|(name, check)| {
                let (state, reason) = match check {
                    Check::Ok => ("ok", None),
                    Check::Degraded(reason) => ("degraded", Some(reason)),
                    Check::Failed(reason) => ("failed", Some(reason)),
                };
                (name.to_owned(), json!({"state": state, "reason": reason}))
            })
            .collect();
        (status, Json(json!({"ready": ready, "checks": checks}))).into_response()
    }
}

/// The routes of the admin listener.
pub fn health_router(health: Health, standard: Standard) -> Router {
    let ready =
        get(|State(health): State<Health>, request: Request| async move { health.answer(has_certificate(&request)) });
    let live = get(async || StatusCode::OK);
    let routes = Router::new()
        .route("/livez", live.clone())
        .route("/admin/v1/livez", live)
        .route("/readyz", ready.clone())
        .route("/startupz", ready.clone())
        .route("/admin/v1/readyz", ready)
        .with_state(health);
    outermost_layer(with_fallbacks(routes).layer(from_fn(certificate_or_probe)), standard)
}

const PROBES: [&str; 5] = ["/livez", "/readyz", "/startupz", "/admin/v1/livez", "/admin/v1/readyz"];

async fn certificate_or_probe(request: Request, next: Next) -> Response {
    if has_certificate(&request) || PROBES.contains(&request.uri().path()) {
        return next.run(request).await;
    }
    Problem::new(ProblemCode::Unauthenticated, "the admin listener asks for a client certificate")
        .help("Show a client certificate of the realm's CA in the TLS handshake; tokens are not looked at here.")
        .into_response()
}

fn has_certificate(request: &Request) -> bool {
    request.extensions().get::<Peer>().is_some_and(|peer| peer.certificates.is_some())
}
