//! The HTTP surface: a file an endpoint.

mod authorize;
mod consent;
mod cookies;
mod discovery;
mod flow;
mod form;
mod introspect;
mod login;
mod logout;
mod revocation;
mod schemas;
mod token;
mod userinfo;

use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::app::Shared;
use crate::pages;

/// All routes; those of the documents' older paths are served, too.
pub(crate) fn router() -> OpenApiRouter<Shared> {
    let canonical = OpenApiRouter::new()
        .routes(routes!(discovery::openid_configuration))
        .routes(routes!(discovery::authorization_server))
        .routes(routes!(discovery::jwks))
        .routes(routes!(authorize::get, authorize::post))
        .routes(routes!(token::token))
        .routes(routes!(introspect::introspect))
        .routes(routes!(revocation::revoke))
        .routes(routes!(userinfo::get, userinfo::post))
        .routes(routes!(login::page, login::submit))
        .routes(routes!(consent::page, consent::submit))
        .routes(routes!(logout::get, logout::post));
    let aliases = axum::Router::new()
        .route("/oauth2/authorize", axum::routing::get(authorize::get).post(authorize::post))
        .route("/oauth2/token", axum::routing::post(token::token))
        .route("/oauth2/introspect", axum::routing::post(introspect::introspect))
        .route("/oauth2/revoke", axum::routing::post(revocation::revoke))
        .route("/.well-known/jwks.json", axum::routing::get(discovery::jwks));
    canonical.merge(OpenApiRouter::from(aliases)).layer(axum::middleware::from_fn(pages::name_request))
}
