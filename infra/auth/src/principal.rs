//! Who calls: what a verified credential says, as types.

use keyrealm_base::{TenantId, Timestamp};

use crate::ScopeSet;

/// A verified caller. Handlers get it from the request; the tenant comes from here and from nowhere else.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Principal {
    /// The issuer that vouched for the caller.
    pub issuer: String,
    /// The subject (a user id, or the client id for a client of its own).
    pub subject: String,
    /// The client that obtained the token (RFC 9068, section 2.2).
    pub client_id: String,
    /// The tenant, if the caller belongs to one.
    pub tenant: Option<TenantId>,
    /// What the caller may do.
    pub scopes: ScopeSet,
    /// The token's id.
    pub token_id: String,
    /// The log-in session behind the token.
    pub session: Option<String>,
    /// The refresh-token family behind the token.
    pub family: Option<String>,
    /// When the credential ends.
    pub expires: Timestamp,
}
