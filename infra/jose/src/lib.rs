//! JWK, compact JWS, compact JWE and JWT over typed keys: strict, without I/O, without a clock of its own.
//!
//! An algorithm is a row of a table; the key decides it and a header only confirms it.

pub mod b64;
pub mod json;
pub mod jwe;
pub mod jwk;
pub mod jws;
pub mod jwt;

/// Longest protected header, in base64url characters.
const MAX_HEADER: usize = 8 * 1024;

/// Why a JOSE object was refused before any key was used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FormatError {
    /// The compact serialization has another number of parts.
    #[error("expected {expected} parts divided by dots")]
    Parts {
        /// The number for this kind of object.
        expected: usize,
    },
    /// A part is no canonical, unpadded base64url.
    #[error("the {0} is not canonical base64url without padding")]
    Base64(&'static str),
    /// A part is no JSON object, or one with a member twice or nested too deep.
    #[error("the {0} is not a plain JSON object: {1}")]
    Json(&'static str, String),
    /// The header is longer than 8 KiB.
    #[error("the header is longer than 8 KiB")]
    HeaderTooLong,
    /// The header lacks a member or has it in another type.
    #[error("the header member `{0}` is missing or no string")]
    Header(&'static str),
    /// The header has a member that changes the meaning of the object and is not supported (RFC 7515, section 4.1.11).
    #[error("the header member `{0}` is not supported")]
    Unsupported(&'static str),
}

/// Header members that would change how an object must be read. None of them is supported, so none may be ignored.
const CHANGING_MEMBERS: [&str; 4] = ["crit", "b64", "zip", "p2c"];

/// Reads a protected header: base64url of a strict JSON object without members that change the meaning.
fn read_header(part: &str) -> Result<serde_json::Map<String, serde_json::Value>, FormatError> {
    if part.len() > MAX_HEADER {
        return Err(FormatError::HeaderTooLong);
    }
    let bytes = b64::decode(part).ok_or(FormatError::Base64("header"))?;
    let header = json::object(&bytes).map_err(|error| FormatError::Json("header", error.to_string()))?;
    match CHANGING_MEMBERS.iter().find(|member| header.contains_key(**member)) {
        Some(member) => Err(FormatError::Unsupported(member)),
        None => Ok(header),
    }
}

fn text_member(header: &serde_json::Map<String, serde_json::Value>, name: &'static str) -> Result<String, FormatError> {
    header.get(name).and_then(serde_json::Value::as_str).map(str::to_owned).ok_or(FormatError::Header(name))
}
