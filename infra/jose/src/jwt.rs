//! JWT validation (RFC 7519, RFC 8725): every check is written down and none has a default that lets a token pass.

use keyrealm_base::Timestamp;
use serde_json::{Map, Value};

use crate::jwk::{KeyChoiceError, VerifyingKeys};
use crate::jws::{Unverified, VerifyError};
use crate::{FormatError, json};

/// What a token must be.
#[derive(Debug, Clone, Copy)]
pub struct Expected<'a> {
    /// The header's `typ`, compared without case and with or without `application/` (RFC 8725, section 3.11).
    pub typ: &'a str,
    /// The algorithms that are allowed, whatever keys there are.
    pub algorithms: &'a [&'a str],
    /// `iss`, compared byte by byte.
    pub issuer: &'a str,
    /// What `aud` must contain.
    pub audience: &'a str,
    /// The present instant. `exp` and `nbf` are compared without leeway; `iat` is not compared.
    pub now: Timestamp,
}

/// Why a token is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// It is no compact JWS of a JSON object.
    #[error("the token is malformed: {0}")]
    Malformed(#[from] FormatError),
    /// It is a token of another kind.
    #[error("the token has another `typ` than {0}")]
    WrongType(String),
    /// Its algorithm is not allowed here.
    #[error("the token's algorithm is not allowed")]
    AlgorithmNotAllowed,
    /// No key fits.
    #[error("the token's key cannot be used: {0}")]
    Key(#[from] KeyChoiceError),
    /// The signature does not verify.
    #[error(transparent)]
    Signature(#[from] VerifyError),
    /// A claim is missing or has another type.
    #[error("the claim `{0}` is missing or has a wrong type")]
    Claim(&'static str),
    /// Another issuer.
    #[error("the token is from another issuer")]
    WrongIssuer,
    /// For somebody else.
    #[error("the token is for another audience")]
    WrongAudience,
    /// Over.
    #[error("the token has expired")]
    Expired,
    /// Not begun.
    #[error("the token is not valid yet")]
    NotYetValid,
}

/// The claims of a validated token.
#[derive(Debug, Clone, PartialEq)]
pub struct Claims(Map<String, Value>);

impl Claims {
    /// A text claim.
    #[must_use]
    pub fn text(&self, name: &str) -> Option<&str> {
        self.0.get(name).and_then(Value::as_str)
    }

    /// A text claim that must be there.
    ///
    /// # Errors
    /// When it is missing or no text.
    pub fn required(&self, name: &'static str) -> Result<&str, TokenError> {
        self.text(name).ok_or(TokenError::Claim(name))
    }

    /// A NumericDate claim (RFC 7519, section 2); fractions are cut off.
    #[must_use]
    pub fn instant(&self, name: &str) -> Option<Timestamp> {
        let value = self.0.get(name)?;
        #[allow(clippy::cast_possible_truncation, reason = "a float cast saturates, and a NumericDate is far below")]
        let seconds = value.as_i64().or_else(|| value.as_f64().map(|seconds| seconds as i64))?;
        Some(Timestamp::from_seconds(seconds))
    }

    /// All claims.
    #[must_use]
    pub fn all(&self) -> &Map<String, Value> {
        &self.0
    }
}

/// The `iss` of a token that nobody has verified yet: only good for choosing the issuer whose keys must verify it.
#[must_use]
pub fn peek_issuer(token: &Unverified<'_>) -> Option<String> {
    json::object(token.peek_payload()).ok()?.get("iss")?.as_str().map(str::to_owned)
}

/// Validates a token: its kind, its algorithm and key, its signature, then its claims.
///
/// # Errors
/// The first check that fails.
pub fn validate(token: Unverified<'_>, keys: &VerifyingKeys, expected: &Expected<'_>) -> Result<Claims, TokenError> {
    let typ = token.header("typ").unwrap_or_default().to_ascii_lowercase();
    if typ.strip_prefix("application/").unwrap_or(&typ) != expected.typ.to_ascii_lowercase() {
        return Err(TokenError::WrongType(expected.typ.to_owned()));
    }
    let algorithm = token.algorithm().to_owned();
    if !expected.algorithms.contains(&algorithm.as_str()) {
        return Err(TokenError::AlgorithmNotAllowed);
    }
    let verifier = keys.get(token.header("kid").ok_or(FormatError::Header("kid"))?, &algorithm)?;
    let verified = token.verify(&algorithm, verifier)?;
    let claims = json::object(&verified.payload).map_err(|error| FormatError::Json("payload", error.to_string()))?;
    let claims = Claims(claims);
    check(&claims, expected)?;
    Ok(claims)
}

fn check(claims: &Claims, expected: &Expected<'_>) -> Result<(), TokenError> {
    if claims.required("iss")? != expected.issuer {
        return Err(TokenError::WrongIssuer);
    }
    let audience = match claims.0.get("aud") {
        Some(Value::String(one)) => one == expected.audience,
        Some(Value::Array(many)) => many.iter().any(|one| one.as_str() == Some(expected.audience)),
        _ => return Err(TokenError::Claim("aud")),
    };
    if !audience {
        return Err(TokenError::WrongAudience);
    }
    if claims.instant("exp").ok_or(TokenError::Claim("exp"))? <= expected.now {
        return Err(TokenError::Expired);
    }
    match (claims.0.contains_key("nbf"), claims.instant("nbf")) {
        (false, _) => Ok(()),
        (true, None) => Err(TokenError::Claim("nbf")),
        (true, Some(begin)) if begin > expected.now => Err(TokenError::NotYetValid),
        (true, Some(_)) => Ok(()),
    }
}
