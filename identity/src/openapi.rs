//! The OpenAPI document, made from the endpoints.

use utoipa::OpenApi;
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};

use crate::endpoints;

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Keyrealm Identity",
        description = "OAuth 2.1 and OpenID Connect for every tenant of a realm. OAuth endpoints answer errors as RFC 6749, section 5.2 says.",
        license(name = "Apache-2.0", identifier = "Apache-2.0")
    ),
    tags(
        (name = "metadata", description = "What a client reads first"),
        (name = "oauth2", description = "Authorization and tokens"),
        (name = "oidc", description = "About the user"),
        (name = "pages", description = "What the user sees")
    )
)]
struct Base;

/// The document as pretty JSON.
#[must_use]
pub fn openapi() -> String {
    let mut document = Base::openapi();
    document.merge(endpoints::router().into_openapi());
    let bearer = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).bearer_format("JWT").build();
    let basic = HttpBuilder::new()
        .scheme(HttpAuthScheme::Basic)
        .description(Some("client_id and secret, each form-encoded (RFC 6749, section 2.3.1); or both in the form"))
        .build();
    let components = document.components.get_or_insert_default();
    components.add_security_scheme("bearer", SecurityScheme::Http(bearer));
    components.add_security_scheme("basic", SecurityScheme::Http(basic));
    let mut text = document.to_pretty_json().unwrap_or_default();
    text.push('\n');
    text
}
