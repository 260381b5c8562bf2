//! The OpenAPI document, made from the routes.

use std::sync::Arc;
use std::time::Duration;

use keyrealm_auth::{BearerVerifier, RevocationList};
use keyrealm_base::SystemClock;
use utoipa::OpenApi;
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};

use crate::routes;

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Keyrealm KMS",
        description = "Versioned keys for every tenant. The tenant comes from the access token and from nowhere else. Errors are problem details (RFC 9457); /problems lists them.",
        license(name = "Apache-2.0", identifier = "Apache-2.0")
    ),
    tags(
        (name = "keys", description = "Make, read and change keys"),
        (name = "operations", description = "Use keys")
    )
)]
struct Base;

/// The document as pretty JSON.
#[must_use]
pub fn openapi() -> String {
    let revocations = Arc::new(RevocationList::new(Duration::ZERO));
    let verifier = BearerVerifier::new(Vec::new(), String::new(), revocations, Arc::new(SystemClock));
    let mut document = Base::openapi();
    document.merge(routes::router(Arc::new(verifier)).document());
    let bearer = HttpBuilder::new()
        .scheme(HttpAuthScheme::Bearer)
        .bearer_format("JWT")
        .description(Some("An access token of a trusted issuer (RFC 9068)"))
        .build();
    document.components.get_or_insert_default().add_security_scheme("bearer", SecurityScheme::Http(bearer));
    let mut text = document.to_pretty_json().unwrap_or_default();
    text.push('\n');
    text
}
