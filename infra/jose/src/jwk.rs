//! JSON Web Keys (RFC 7517): public ones only. There is no type here that could print a private member.

use std::collections::HashMap;

use keyrealm_crypto::sha256;
use keyrealm_crypto::sign::{PublicKey, SCHEMES, SignatureScheme, Verifier, scheme};
use serde::Serialize;
use serde_json::{Map, Value};

use crate::{b64, json};

/// Most keys that are read from one set.
const MAX_KEYS: usize = 64;

/// A public key as it is published.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PublicJwk {
    /// Names the key among those of its set.
    pub kid: String,
    /// The one algorithm of the key.
    pub alg: &'static str,
    /// Always `sig`.
    #[serde(rename = "use")]
    pub usage: &'static str,
    /// The members of the key type.
    #[serde(flatten)]
    pub key: KeyMembers,
}

/// The members that make up the key (RFC 7518, section 6; RFC 8037, section 2).
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "kty")]
pub enum KeyMembers {
    /// An elliptic-curve key.
    #[serde(rename = "EC")]
    Ec {
        /// The curve.
        crv: &'static str,
        /// x, base64url.
        x: String,
        /// y, base64url.
        y: String,
    },
    /// An RSA key.
    #[serde(rename = "RSA")]
    Rsa {
        /// The modulus, base64url.
        n: String,
        /// The exponent, base64url.
        e: String,
    },
    /// An octet key pair.
    #[serde(rename = "OKP")]
    Okp {
        /// The curve.
        crv: &'static str,
        /// The public key, base64url.
        x: String,
    },
}

impl From<&PublicKey> for KeyMembers {
    fn from(key: &PublicKey) -> Self {
        match key {
            PublicKey::Ec { curve, x, y } => Self::Ec { crv: curve, x: b64::encode(x), y: b64::encode(y) },
            PublicKey::Rsa { n, e } => Self::Rsa { n: b64::encode(n), e: b64::encode(e) },
            PublicKey::Okp { curve, x } => Self::Okp { crv: curve, x: b64::encode(x) },
        }
    }
}

impl PublicJwk {
    /// The key under a given name.
    #[must_use]
    pub fn new(kid: impl Into<String>, scheme: &SignatureScheme, key: &PublicKey) -> Self {
        Self { kid: kid.into(), alg: scheme.name, usage: "sig", key: key.into() }
    }

    /// The key under its thumbprint as name.
    #[must_use]
    pub fn named_by_thumbprint(scheme: &SignatureScheme, key: &PublicKey) -> Self {
        Self::new(thumbprint(key), scheme, key)
    }
}

/// The SHA-256 thumbprint of a key, base64url (RFC 7638, section 3): the required members in the order of their names.
#[must_use]
pub fn thumbprint(key: &PublicKey) -> String {
    let text = match KeyMembers::from(key) {
        KeyMembers::Ec { crv, x, y } => format!(r#"{{"crv":"{crv}","kty":"EC","x":"{x}","y":"{y}"}}"#),
        KeyMembers::Rsa { n, e } => format!(r#"{{"e":"{e}","kty":"RSA","n":"{n}"}}"#),
        KeyMembers::Okp { crv, x } => format!(r#"{{"crv":"{crv}","kty":"OKP","x":"{x}"}}"#),
    };
    b64::encode(sha256(text.as_bytes()))
}

/// A key set as it is published (RFC 7517, section 5).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct JwkSet {
    /// The keys.
    pub keys: Vec<PublicJwk>,
}

/// Why a key set cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum JwkSetError {
    /// Not JSON, or not an object with a list `keys`.
    #[error("not a JSON Web Key Set: {0}")]
    Format(String),
    /// More keys than are read.
    #[error("the key set has more than {MAX_KEYS} keys")]
    TooMany,
    /// Two keys under one name.
    #[error("the key set has two keys with the same `kid`")]
    DuplicateKid,
}

struct VerifyingKey {
    scheme: &'static SignatureScheme,
    verifier: Box<dyn Verifier>,
}

/// A key set parsed for verifying: each key once, under its `kid`, with the one algorithm that it is for.
pub struct VerifyingKeys(HashMap<String, VerifyingKey>);

impl VerifyingKeys {
    /// Parses a published set. Keys that cannot be used here (other types, no `kid`, for encryption, private members)
    /// are passed over (RFC 7517, section 5).
    ///
    /// # Errors
    /// When it is no key set, has too many keys or one name twice.
    pub fn parse(bytes: &[u8]) -> Result<Self, JwkSetError> {
        let set = json::object(bytes).map_err(|error| JwkSetError::Format(error.to_string()))?;
        let Some(Value::Array(keys)) = set.get("keys") else {
            return Err(JwkSetError::Format("there is no list `keys`".to_owned()));
        };
        if keys.len() > MAX_KEYS {
            return Err(JwkSetError::TooMany);
        }
        let mut parsed = HashMap::new();
        for (kid, key) in keys.iter().filter_map(Value::as_object).filter_map(usable) {
            if parsed.insert(kid, key).is_some() {
                return Err(JwkSetError::DuplicateKid);
            }
        }
        Ok(Self(parsed))
    }

    /// The verifier of a key, if the key is for this algorithm.
    ///
    /// # Errors
    /// When there is no such key, or the key is for another algorithm.
    pub fn get(&self, kid: &str, algorithm: &str) -> Result<&dyn Verifier, KeyChoiceError> {
        let key = self.0.get(kid).ok_or(KeyChoiceError::UnknownKey)?;
        if key.scheme.name == algorithm { Ok(key.verifier.as_ref()) } else { Err(KeyChoiceError::AlgorithmMismatch) }
    }

    /// Whether there is a key of this name.
    #[must_use]
    pub fn contains(&self, kid: &str) -> bool {
        self.0.contains_key(kid)
    }

    /// How many usable keys there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is no usable key.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// Why no key fits a header.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum KeyChoiceError {
    /// No key has this `kid`.
    #[error("no key has this `kid`")]
    UnknownKey,
    /// The key is for another algorithm than the header says.
    #[error("the key is for another algorithm")]
    AlgorithmMismatch,
}

fn usable(jwk: &Map<String, Value>) -> Option<(String, VerifyingKey)> {
    let text = |name: &str| jwk.get(name).and_then(Value::as_str);
    let bytes = |name: &str| text(name).and_then(b64::decode);
    // A private key in a public set is a leak: its tokens are not to be trusted.
    if ["d", "k", "p"].iter().any(|member| jwk.contains_key(*member)) || !for_verifying(jwk) {
        return None;
    }
    let key = match text("kty")? {
        "EC" if text("crv")? == "P-256" => PublicKey::Ec { curve: "P-256", x: bytes("x")?, y: bytes("y")? },
        "RSA" => PublicKey::Rsa { n: bytes("n")?, e: bytes("e")? },
        "OKP" if text("crv")? == "Ed25519" => PublicKey::Okp { curve: "Ed25519", x: bytes("x")? },
        _ => return None,
    };
    // Without `alg` the type decides: the first algorithm of the table that takes the key.
    let (scheme, verifier) = match text("alg") {
        Some(name) => scheme(name).and_then(|scheme| Some((scheme, scheme.verifier(&key).ok()?)))?,
        None => SCHEMES.iter().find_map(|scheme| Some((*scheme, scheme.verifier(&key).ok()?)))?,
    };
    Some((text("kid")?.to_owned(), VerifyingKey { scheme, verifier }))
}

/// What `use` and `key_ops` say, where they say something (RFC 7517, sections 4.2 and 4.3).
fn for_verifying(jwk: &Map<String, Value>) -> bool {
    let usage = jwk.get("use").is_none_or(|usage| usage.as_str() == Some("sig"));
    let operations = jwk.get("key_ops").is_none_or(|operations| {
        operations.as_array().is_some_and(|list| list.iter().any(|operation| operation.as_str() == Some("verify")))
    });
    usage && operations
}
