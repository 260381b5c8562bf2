//! Verifying a caller: bearer tokens against the issuers' key sets, revocations in memory, scopes as one table.

mod bearer;
mod document;
mod jwks;
mod principal;
mod protect;
mod revocation;
mod revocation_feed;
mod scope;

pub use bearer::{AuthError, BearerVerifier, IssuersState, TrustedIssuer};
pub use jwks::{JwksCache, JwksError, JwksState, JwksTimes};
pub use principal::Principal;
pub use protect::{Caller, ProtectedRouter};
pub use revocation::{Reading, RevocationList, RevocationsUnknown};
pub use revocation_feed::{REVOCATIONS_POLL, follow_revocations, follow_revocations_every};
pub use scope::{ParsedScope, Scope, ScopeSet, ScopeSyntaxError};
