//! Compact JWE (RFC 7516, section 7.1): key management by `dir` or `A256KW`, content by `A256GCM`.
//!
//! A context given by the caller is bound as the protected header member `ctx`: the base64url SHA-256 of its bytes. It
//! must be given again to decrypt; a wrong, missing or superfluous one fails like a changed tag.

use keyrealm_base::Random;
use keyrealm_crypto::aead::{AeadKey, AesGcm, NONCE_LEN, TAG_LEN};
use keyrealm_crypto::key_wrap::{Aes256Kw, WRAP_LEN};
use keyrealm_crypto::{CryptoError, SecretBytes, ct_eq, sha256};
use serde_json::{Map, Value};

use crate::{FormatError, b64, read_header, text_member};

const CONTENT: AesGcm = AesGcm::A256;
const ENC: &str = "A256GCM";

/// How the content key comes about: one row an algorithm of `alg` (RFC 7518, section 4.1).
pub struct KeyManagement {
    /// The JOSE name.
    pub name: &'static str,
    /// Whether each message uses the key itself with a random nonce, so that its uses must be counted
    /// (NIST SP 800-38D, section 8.3).
    pub counted: bool,
    parse: fn(SecretBytes) -> Result<Box<dyn ContentKeys>, CryptoError>,
}

/// Direct encryption with the shared key (RFC 7518, section 4.5).
pub static DIR: KeyManagement = KeyManagement { name: "dir", counted: true, parse: Direct::parse };
/// AES key wrap with a 256-bit key (RFC 7518, section 4.4).
pub static A256KW: KeyManagement = KeyManagement { name: "A256KW", counted: false, parse: Wrapped::parse };

/// All key management algorithms.
pub static KEY_MANAGEMENT: &[&KeyManagement] = &[&DIR, &A256KW];

/// Gives a content key for a new message and finds the one of a received message.
trait ContentKeys: Send + Sync {
    /// The content key and the encrypted key of a new message.
    fn fresh(&self, random: &dyn Random) -> Result<(ContentKey<'_>, Vec<u8>), CryptoError>;
    /// The content key of a received message.
    fn find(&self, encrypted_key: &[u8]) -> Result<ContentKey<'_>, CryptoError>;
}

enum ContentKey<'a> {
    Shared(&'a AeadKey),
    Own(AeadKey),
}

impl ContentKey<'_> {
    fn aead(&self) -> &AeadKey {
        match self {
            Self::Shared(key) => key,
            Self::Own(key) => key,
        }
    }
}

struct Direct(AeadKey);

impl Direct {
    fn parse(key: SecretBytes) -> Result<Box<dyn ContentKeys>, CryptoError> {
        Ok(Box::new(Self(AeadKey::new(CONTENT, &key)?)))
    }
}

impl ContentKeys for Direct {
    fn fresh(&self, _: &dyn Random) -> Result<(ContentKey<'_>, Vec<u8>), CryptoError> {
        Ok((ContentKey::Shared(&self.0), Vec::new()))
    }

    fn find(&self, encrypted_key: &[u8]) -> Result<ContentKey<'_>, CryptoError> {
        // RFC 7516, section 5.2, step 10: with direct encryption the encrypted key is empty.
        if encrypted_key.is_empty() { Ok(ContentKey::Shared(&self.0)) } else { Err(CryptoError::Rejected("key")) }
    }
}

struct Wrapped(Aes256Kw);

impl Wrapped {
    fn parse(key: SecretBytes) -> Result<Box<dyn ContentKeys>, CryptoError> {
        Ok(Box::new(Self(Aes256Kw::new(key)?)))
    }
}

impl ContentKeys for Wrapped {
    fn fresh(&self, random: &dyn Random) -> Result<(ContentKey<'_>, Vec<u8>), CryptoError> {
        let key = SecretBytes::random(CONTENT.key_len(), random);
        Ok((ContentKey::Own(AeadKey::new(CONTENT, &key)?), self.0.wrap(&key)?))
    }

    fn find(&self, encrypted_key: &[u8]) -> Result<ContentKey<'_>, CryptoError> {
        // `enc` fixes the length: nothing else is worth the work of unwrapping it.
        if encrypted_key.len() != CONTENT.key_len() + WRAP_LEN {
            return Err(CryptoError::Rejected("key"));
        }
        Ok(ContentKey::Own(AeadKey::new(CONTENT, &self.0.unwrap(encrypted_key)?)?))
    }
}

/// A parsed key for JWE with its one algorithm.
pub struct JweKey {
    kind: &'static KeyManagement,
    keys: Box<dyn ContentKeys>,
}

impl JweKey {
    /// Parses a 32-byte key for the given algorithm.
    ///
    /// # Errors
    /// On any other length.
    pub fn new(kind: &'static KeyManagement, key: SecretBytes) -> Result<Self, CryptoError> {
        Ok(Self { kind, keys: (kind.parse)(key)? })
    }

    /// A fresh random key for any of the algorithms.
    #[must_use]
    pub fn generate(random: &dyn Random) -> SecretBytes {
        SecretBytes::random(CONTENT.key_len(), random)
    }

    /// Encrypts. The protected header holds `alg`, `enc`, `kid` and, with a context, `ctx`.
    ///
    /// # Errors
    /// When the library fails.
    pub fn encrypt(
        &self,
        kid: &str,
        context: Option<&[u8]>,
        plaintext: &[u8],
        random: &dyn Random,
    ) -> Result<String, CryptoError> {
        let mut header = Map::new();
        header.insert("alg".to_owned(), self.kind.name.into());
        header.insert("enc".to_owned(), ENC.into());
        header.insert("kid".to_owned(), kid.into());
        if let Some(context) = context {
            header.insert(CONTEXT.to_owned(), context_member(context).into());
        }
        let (key, encrypted_key) = self.keys.fresh(random)?;
        let header = b64::encode(Value::Object(header).to_string());
        let nonce: [u8; NONCE_LEN] = random.bytes();
        let mut sealed = key.aead().seal(nonce, header.as_bytes(), plaintext)?;
        let tag = sealed.split_off(sealed.len().saturating_sub(TAG_LEN));
        Ok([header, b64::encode(encrypted_key), b64::encode(nonce), b64::encode(sealed), b64::encode(tag)].join("."))
    }

    /// Decrypts a message whose header names this key's algorithm, with the context given on encrypt.
    ///
    /// # Errors
    /// [`DecryptError`], the same for every cause.
    pub fn decrypt(&self, message: &Encrypted<'_>, context: Option<&[u8]>) -> Result<SecretBytes, DecryptError> {
        let bound = match (message.context.as_deref(), context) {
            (None, None) => true,
            (Some(member), Some(context)) => ct_eq(member.as_bytes(), context_member(context).as_bytes()),
            _ => false,
        };
        if !bound || message.algorithm != self.kind.name {
            return Err(DecryptError);
        }
        let key = self.keys.find(&message.encrypted_key).map_err(|_| DecryptError)?;
        key.aead().open(message.nonce, message.protected.as_bytes(), &message.sealed).map_err(|_| DecryptError)
    }
}

const CONTEXT: &str = "ctx";

fn context_member(context: &[u8]) -> String {
    b64::encode(sha256(context))
}

/// The message does not open with this key and context. Nothing more is said, or it would help whoever forges.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the ciphertext does not open with this key and context")]
pub struct DecryptError;

/// A compact JWE, read but not opened.
pub struct Encrypted<'a> {
    kid: String,
    algorithm: String,
    context: Option<String>,
    protected: &'a str,
    encrypted_key: Vec<u8>,
    nonce: [u8; NONCE_LEN],
    sealed: Vec<u8>,
}

impl<'a> Encrypted<'a> {
    /// Reads a compact JWE with `enc` A256GCM.
    ///
    /// # Errors
    /// When it is none in canonical form, or has another `enc`.
    pub fn parse(text: &'a str) -> Result<Self, FormatError> {
        let parts: Vec<&str> = text.splitn(6, '.').collect();
        let [protected, encrypted_key, nonce, ciphertext, tag] = parts.as_slice() else {
            return Err(FormatError::Parts { expected: 5 });
        };
        let header = read_header(protected)?;
        if text_member(&header, "enc")? != ENC {
            return Err(FormatError::Unsupported("enc"));
        }
        let decode = |part: &str, name| b64::decode(part).ok_or(FormatError::Base64(name));
        let mut sealed = decode(ciphertext, "ciphertext")?;
        let tag = decode(tag, "tag")?;
        if tag.len() != TAG_LEN {
            return Err(FormatError::Base64("tag"));
        }
        sealed.extend_from_slice(&tag);
        let context = match header.get(CONTEXT) {
            None => None,
            Some(_) => Some(text_member(&header, CONTEXT)?),
        };
        Ok(Self {
            kid: text_member(&header, "kid")?,
            algorithm: text_member(&header, "alg")?,
            context,
            protected,
            encrypted_key: decode(encrypted_key, "encrypted key")?,
            nonce: decode(nonce, "nonce")?.try_into().map_err(|_| FormatError::Base64("nonce"))?,
            sealed,
        })
    }

    /// The name of the key that it was encrypted for.
    #[must_use]
    pub fn kid(&self) -> &str {
        &self.kid
    }
}

#[cfg(test)]
mod tests {
    use keyrealm_crypto::SystemRandom;

    use super::*;

    /// A key that was wrapped well, but is none of A256GCM, is not even unwrapped.
    #[test]
    fn wrapped_keys_of_other_lengths_are_refused_unopened() {
        let (key, again) = (JweKey::generate(&SystemRandom), |key: &SecretBytes| SecretBytes::copy_of(key.expose()));
        let (wrap, kek) = (Wrapped::parse(again(&key)).unwrap(), Aes256Kw::new(key).unwrap());
        for length in [16, 24, 40, 64] {
            let wrapped = kek.wrap(&SecretBytes::new(vec![7; length])).unwrap();
            assert_eq!(wrap.find(&wrapped).err(), Some(CryptoError::Rejected("key")), "{length}");
        }
        assert_eq!(wrap.find(&[]).err(), Some(CryptoError::Rejected("key")));
        assert_eq!(wrap.find(&[0; 40]).err(), Some(CryptoError::Rejected("wrapped key")));
        assert!(wrap.find(&kek.wrap(&SecretBytes::new(vec![7; 32])).unwrap()).is_ok());
    }
}
