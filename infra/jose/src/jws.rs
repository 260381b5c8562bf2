//! Compact JWS (RFC 7515, section 7.1) with one signature and the payload inside.

use keyrealm_crypto::CryptoError;
use keyrealm_crypto::sign::{SignatureScheme, Signer, Verifier};
use serde_json::{Map, Value};

use crate::{FormatError, b64, read_header, text_member};

/// Signs `payload`. `members` are added to the protected header; `alg` is set from the scheme.
///
/// # Errors
/// When the library fails to sign.
pub fn sign(
    members: Map<String, Value>,
    payload: &[u8],
    scheme: &SignatureScheme,
    signer: &dyn Signer,
) -> Result<String, CryptoError> {
    Header::new(members, scheme).sign(payload, signer)
}

/// A protected header, written once for any number of signatures.
pub struct Header(String);

impl Header {
    /// The members, with `alg` from the scheme.
    #[must_use]
    pub fn new(mut members: Map<String, Value>, scheme: &SignatureScheme) -> Self {
        members.insert("alg".to_owned(), scheme.name.into());
        Self(b64::encode(Value::Object(members).to_string()))
    }

    /// Signs `payload` under this header; the signer is of the header's scheme.
    ///
    /// # Errors
    /// When the library fails to sign.
    pub fn sign(&self, payload: &[u8], signer: &dyn Signer) -> Result<String, CryptoError> {
        let mut token = format!("{}.{}", self.0, b64::encode(payload));
        let signature = signer.sign(token.as_bytes())?;
        token.push('.');
        token.push_str(&b64::encode(signature));
        Ok(token)
    }
}

/// A compact JWS, read but not verified: only its header may be looked at, to find the key.
pub struct Unverified<'a> {
    header: Map<String, Value>,
    algorithm: String,
    signing_input: &'a str,
    payload: Vec<u8>,
    signature: Vec<u8>,
}

/// A JWS whose signature was verified.
pub struct Verified {
    /// The protected header.
    pub header: Map<String, Value>,
    /// The payload.
    pub payload: Vec<u8>,
}

/// Why a JWS does not verify.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum VerifyError {
    /// The header names another algorithm than the key has.
    #[error("the header names another algorithm than the key has")]
    AlgorithmMismatch,
    /// The signature is not one of this key over this text.
    #[error("the signature does not verify")]
    Signature,
}

impl<'a> Unverified<'a> {
    /// Reads a compact JWS.
    ///
    /// # Errors
    /// When it is none in canonical form.
    pub fn parse(text: &'a str) -> Result<Self, FormatError> {
        let refuse = || FormatError::Parts { expected: 3 };
        let (signing_input, signature) = text.rsplit_once('.').ok_or_else(refuse)?;
        let (header, payload) = signing_input.split_once('.').ok_or_else(refuse)?;
        if payload.contains('.') {
            return Err(refuse());
        }
        let header = read_header(header)?;
        Ok(Self {
            algorithm: text_member(&header, "alg")?,
            header,
            signing_input,
            payload: b64::decode(payload).ok_or(FormatError::Base64("payload"))?,
            signature: b64::decode(signature).ok_or(FormatError::Base64("signature"))?,
        })
    }

    /// The algorithm that the header names. The key must confirm it.
    #[must_use]
    pub fn algorithm(&self) -> &str {
        &self.algorithm
    }

    /// A text member of the header.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.header.get(name).and_then(Value::as_str)
    }

    /// The payload before verification: only for finding out whom to ask for the key.
    #[must_use]
    pub fn peek_payload(&self) -> &[u8] {
        &self.payload
    }

    /// Verifies with a key whose algorithm is `algorithm`.
    ///
    /// # Errors
    /// When the header names another algorithm or the signature does not verify.
    pub fn verify(self, algorithm: &str, verifier: &dyn Verifier) -> Result<Verified, VerifyError> {
        if self.algorithm != algorithm {
            return Err(VerifyError::AlgorithmMismatch);
        }
        verifier.verify(self.signing_input.as_bytes(), &self.signature).map_err(|_| VerifyError::Signature)?;
        Ok(Verified { header: self.header, payload: self.payload })
    }
}
