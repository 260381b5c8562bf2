//! The grants of the token endpoint, one file each.

pub(crate) mod authorization_code;
pub(crate) mod client_credentials;
pub(crate) mod refresh_token;

use keyrealm_crypto::CryptoError;
use keyrealm_http::{OAuthError, OAuthErrorCode};
use keyrealm_store::StoreError;
use serde::Serialize;
use utoipa::ToSchema;

/// A successful answer (RFC 6749, section 5.1).
#[derive(Serialize, ToSchema)]
pub(crate) struct TokenAnswer {
    pub(crate) access_token: String,
    pub(crate) token_type: &'static str,
    pub(crate) expires_in: u32,
    pub(crate) scope: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) refresh_token: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) id_token: Option<String>,
}

/// Why a grant gives nothing.
pub(crate) struct GrantError(pub(crate) OAuthError);

impl GrantError {
    pub(crate) fn new(code: OAuthErrorCode, text: &str) -> Self {
        Self(OAuthError::new(code, text))
    }

    pub(crate) fn invalid_grant(text: &str) -> Self {
        Self::new(OAuthErrorCode::InvalidGrant, text)
    }
}

impl From<StoreError> for GrantError {
    fn from(error: StoreError) -> Self {
        tracing::error!(%error, "the grant failed");
        let busy = error.is_passing();
        let code = if busy { OAuthErrorCode::TemporarilyUnavailable } else { OAuthErrorCode::ServerError };
        Self::new(code, "the server failed")
    }
}

impl From<CryptoError> for GrantError {
    fn from(error: CryptoError) -> Self {
        tracing::error!(%error, "the grant failed");
        Self::new(OAuthErrorCode::ServerError, "the server failed")
    }
}
