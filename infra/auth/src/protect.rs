//! Routes that cannot be added without the scope that they need.
//!
//! ```compile_fail
//! # use keyrealm_auth::ProtectedRouter;
//! # fn f(router: ProtectedRouter<()>, handler: utoipa_axum::router::UtoipaMethodRouter<()>) {
//! router.route(handler); // no scope: does not compile
//! # }
//! ```
//!
//! With one it does:
//!
//! ```
//! # use keyrealm_auth::{ProtectedRouter, Scope};
//! # fn f(router: ProtectedRouter<()>, handler: utoipa_axum::router::UtoipaMethodRouter<()>) {
//! router.route(Scope::Sign, handler);
//! # }
//! ```
//!
//! What comes out is ready to be served, and takes no further handlers:
//!
//! ```compile_fail
//! # use keyrealm_auth::ProtectedRouter;
//! # fn f(router: ProtectedRouter<()>) {
//! router.finish(()).route("/open", axum::routing::get(async || "open")); // does not compile
//! # }
//! ```
//!
//! ```
//! # use keyrealm_auth::ProtectedRouter;
//! # fn f(router: ProtectedRouter<()>) -> keyrealm_http::Api {
//! router.finish(())
//! # }
//! ```

use std::sync::Arc;

use axum::extract::{FromRequestParts, Request, State};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use http::header::{AUTHORIZATION, RETRY_AFTER, WWW_AUTHENTICATE};
use http::request::Parts;
use keyrealm_base::{ProblemCode, TenantId};
use keyrealm_http::{Api, Problem};
use utoipa::openapi::OpenApi;
use utoipa_axum::router::{OpenApiRouter, UtoipaMethodRouter};

use crate::document;
use crate::{AuthError, BearerVerifier, Principal, Scope};

/// A router whose routes all name a scope.
pub struct ProtectedRouter<S> {
    inner: OpenApiRouter<S>,
    verifier: Arc<BearerVerifier>,
}

#[derive(Clone)]
struct Rule {
    verifier: Arc<BearerVerifier>,
    scope: Scope,
}

impl<S: Clone + Send + Sync + 'static> ProtectedRouter<S> {
    /// No routes yet.
    #[must_use]
    pub fn new(verifier: Arc<BearerVerifier>) -> Self {
        Self { inner: OpenApiRouter::new(), verifier }
    }

    /// Adds a route that callers with this scope may use. The scope goes into the OpenAPI document, too.
    #[must_use]
    pub fn route(mut self, scope: Scope, (schemas, mut paths, methods): UtoipaMethodRouter<S>) -> Self {
        let rule = Rule { verifier: Arc::clone(&self.verifier), scope };
        document::complete(&mut paths, scope);
        let methods = methods.route_layer(from_fn_with_state(rule, admit));
        self.inner = self.inner.routes((schemas, paths, methods));
        self
    }

    /// The handlers, for serving.
    #[allow(clippy::disallowed_methods, reason = "every handler in here is behind its scope")]
    pub fn finish(self, state: S) -> Api {
        let (handlers, _) = self.inner.split_for_parts();
        Api::open(handlers.with_state(state))
    }

    /// Their OpenAPI document.
    #[must_use]
    pub fn document(self) -> OpenApi {
        document::with_problem(self.inner.into_openapi())
    }
}

/// Before anything of the request is parsed: who is it, and may they?
async fn admit(State(rule): State<Rule>, mut request: Request, next: Next) -> Response {
    let token = match bearer(&request) {
        Ok(token) => token,
        Err(error) => return refusal(&error).into_response(),
    };
    let principal = match rule.verifier.verify(token).await {
        Ok(principal) => principal,
        Err(error) => return refusal(&error).into_response(),
    };
    if !principal.scopes.allows(rule.scope) {
        let challenge = format!("Bearer error=\"insufficient_scope\", scope=\"{}\"", rule.scope);
        return Problem::new(ProblemCode::InsufficientScope, format!("this operation needs the scope {}", rule.scope))
            .with("error", "insufficient_scope")
            .with("scope", rule.scope.name())
            .header(WWW_AUTHENTICATE, &challenge)
            .into_response();
    }
    let Some(tenant) = principal.tenant else {
        return Problem::new(ProblemCode::NoTenant, "the token has no `tenant_id`").into_response();
    };
    request.extensions_mut().insert(Caller { tenant, principal });
    next.run(request).await
}

fn bearer(request: &Request) -> Result<&str, AuthError> {
    let mut given = request.headers().get_all(AUTHORIZATION).iter();
    let value = given.next().and_then(|value| value.to_str().ok()).ok_or(AuthError::Missing)?;
    if given.next().is_some() {
        return Err(AuthError::Missing);
    }
    let (scheme, token) = value.split_once(' ').ok_or(AuthError::Missing)?;
    if scheme.eq_ignore_ascii_case("bearer") { Ok(token.trim()) } else { Err(AuthError::Missing) }
}

fn refusal(error: &AuthError) -> Problem {
    match error {
        // RFC 6750, section 3.1: without a token there is no error code either.
        AuthError::Missing => {
            Problem::new(ProblemCode::Unauthenticated, error.to_string()).header(WWW_AUTHENTICATE, "Bearer")
        }
        AuthError::Invalid(_) | AuthError::TooLong | AuthError::UnknownIssuer | AuthError::Revoked => {
            Problem::new(ProblemCode::InvalidToken, error.to_string()).with("error", "invalid_token").header(
                WWW_AUTHENTICATE,
                &format!("Bearer error=\"invalid_token\", error_description=\"{}\"", quoted(error)),
            )
        }
        AuthError::Issuer(cause) => {
            tracing::warn!(%cause, "the issuer's keys cannot be read");
            Problem::from(ProblemCode::IssuerUnavailable).header(RETRY_AFTER, "2")
        }
        AuthError::Revocations(cause) => {
            tracing::warn!(%cause, "revocations are not known");
            Problem::from(ProblemCode::IssuerUnavailable).header(RETRY_AFTER, "2")
        }
    }
}

/// RFC 6750, section 3: no quotes and no backslashes inside.
fn quoted(error: &AuthError) -> String {
    error.to_string().replace(['"', '\\'], "'")
}

/// The caller of a protected route: the only source of the tenant.
#[derive(Debug, Clone)]
pub struct Caller {
    /// The tenant of the credential.
    pub tenant: TenantId,
    /// Everything else that the credential says.
    pub principal: Arc<Principal>,
}

impl<S: Send + Sync> FromRequestParts<S> for Caller {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        // Only a route outside a ProtectedRouter lacks it.
        parts.extensions.get::<Self>().cloned().ok_or_else(|| ProblemCode::Unauthenticated.into())
    }
}
