//! Bodies as the OpenAPI document describes them. Answers that have one form everywhere are made from these types; of
//! forms and of what tokens say, they are the description alone.

use serde::Serialize;
use utoipa::ToSchema;

/// Why a request was refused (RFC 6749, section 5.2; RFC 6750, section 3.1).
#[derive(ToSchema)]
#[allow(dead_code, reason = "the description of what others make")]
pub(crate) struct ErrorBody {
    /// A registered code.
    error: String,
    /// A sentence for developers.
    error_description: String,
}

/// An authorization request.
#[derive(ToSchema)]
#[allow(dead_code, reason = "read by name")]
pub(crate) struct AuthorizeForm {
    client_id: String,
    /// As registered.
    redirect_uri: String,
    /// `code`.
    response_type: String,
    scope: Option<String>,
    state: Option<String>,
    nonce: Option<String>,
    /// S256 (RFC 7636).
    code_challenge: Option<String>,
    /// `S256`.
    code_challenge_method: Option<String>,
    /// `none`, `login`, `consent`, `select_account`.
    prompt: Option<String>,
    max_age: Option<u32>,
    login_hint: Option<String>,
    id_token_hint: Option<String>,
}

/// A token request.
#[derive(ToSchema)]
#[allow(dead_code, reason = "read by name")]
pub(crate) struct TokenForm {
    /// `authorization_code`, `refresh_token` or `client_credentials`.
    grant_type: String,
    /// Of `authorization_code`.
    code: Option<String>,
    /// Of `authorization_code`: that of the request.
    redirect_uri: Option<String>,
    /// Of `authorization_code`: RFC 7636, section 4.5.
    code_verifier: Option<String>,
    /// Of `refresh_token`.
    refresh_token: Option<String>,
    /// Of `refresh_token` and `client_credentials`: no more than was granted.
    scope: Option<String>,
    /// Without HTTP Basic.
    client_id: Option<String>,
    /// Without HTTP Basic, of a confidential client.
    client_secret: Option<String>,
}

/// A token to look at or to revoke.
#[derive(ToSchema)]
#[allow(dead_code, reason = "read by name")]
pub(crate) struct TokenQuestion {
    token: String,
    /// `access_token` or `refresh_token`; a hint only.
    token_type_hint: Option<String>,
    /// Without HTTP Basic.
    client_id: Option<String>,
    /// Without HTTP Basic, of a confidential client.
    client_secret: Option<String>,
}

/// What is said of a token (RFC 7662, section 2.2); of one that is not active, `active` alone.
#[derive(ToSchema)]
#[allow(dead_code, reason = "made from the token's claims")]
pub(crate) struct Introspection {
    active: bool,
    /// `Bearer` or `refresh_token`.
    token_type: Option<String>,
    iss: Option<String>,
    /// A text or a list of texts.
    #[schema(value_type = Option<serde_json::Value>)]
    aud: Option<serde_json::Value>,
    sub: Option<String>,
    client_id: Option<String>,
    tenant_id: Option<String>,
    scope: Option<String>,
    jti: Option<String>,
    iat: Option<i64>,
    nbf: Option<i64>,
    exp: Option<i64>,
    auth_time: Option<i64>,
    sid: Option<String>,
    family: Option<String>,
}

/// Claims of a user (OpenID Connect Core, section 5.3.2).
#[derive(Serialize, ToSchema)]
pub(crate) struct UserInfo {
    pub(crate) sub: String,
    pub(crate) tenant_id: String,
    /// With scope `profile`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) preferred_username: Option<String>,
    /// With scope `profile`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) name: Option<String>,
    /// With scope `email`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) email: Option<String>,
    /// With scope `email`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) email_verified: Option<bool>,
}

/// The metadata (OpenID Connect Discovery, section 3; RFC 8414, section 2).
#[derive(Serialize, ToSchema)]
pub(crate) struct Metadata {
    pub(crate) issuer: String,
    pub(crate) authorization_endpoint: String,
    pub(crate) token_endpoint: String,
    pub(crate) introspection_endpoint: String,
    pub(crate) revocation_endpoint: String,
    pub(crate) userinfo_endpoint: String,
    pub(crate) end_session_endpoint: String,
    pub(crate) jwks_uri: String,
    pub(crate) scopes_supported: Vec<&'static str>,
    pub(crate) response_types_supported: Vec<&'static str>,
    pub(crate) response_modes_supported: Vec<&'static str>,
    pub(crate) grant_types_supported: Vec<&'static str>,
    pub(crate) subject_types_supported: Vec<&'static str>,
    pub(crate) id_token_signing_alg_values_supported: Vec<&'static str>,
    pub(crate) token_endpoint_auth_methods_supported: Vec<&'static str>,
    pub(crate) introspection_endpoint_auth_methods_supported: Vec<&'static str>,
    pub(crate) revocation_endpoint_auth_methods_supported: Vec<&'static str>,
    pub(crate) code_challenge_methods_supported: Vec<&'static str>,
    pub(crate) claims_supported: Vec<&'static str>,
    pub(crate) prompt_values_supported: Vec<&'static str>,
    pub(crate) authorization_response_iss_parameter_supported: bool,
    pub(crate) request_parameter_supported: bool,
    pub(crate) request_uri_parameter_supported: bool,
    pub(crate) claims_parameter_supported: bool,
}

/// A key set (RFC 7517, section 5).
#[derive(ToSchema)]
#[allow(dead_code, reason = "made when the keys are read")]
pub(crate) struct KeySet {
    keys: Vec<serde_json::Map<String, serde_json::Value>>,
}

/// The log-in form.
#[derive(ToSchema)]
#[allow(dead_code, reason = "read by name")]
pub(crate) struct LoginForm {
    request_id: String,
    form_token: String,
    username: String,
    #[schema(format = Password)]
    password: String,
}

/// The consent form.
#[derive(ToSchema)]
#[allow(dead_code, reason = "read by name")]
pub(crate) struct ConsentForm {
    request_id: String,
    form_token: String,
    /// `approve` or `deny`.
    action: String,
}

/// A log-out request (OpenID Connect RP-Initiated Logout, section 2), or the answer to the question whether to log out.
#[derive(ToSchema)]
#[allow(dead_code, reason = "read by name")]
pub(crate) struct LogoutForm {
    id_token_hint: Option<String>,
    client_id: Option<String>,
    post_logout_redirect_uri: Option<String>,
    state: Option<String>,
    /// Of the answer.
    form_token: Option<String>,
}
