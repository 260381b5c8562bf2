//! The unseal key: 32 random bytes in a file, as base64 or as they are.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use keyrealm_base::Random;
use keyrealm_crypto::{CryptoError, SecretBytes, hkdf_sha256};

const LENGTH: usize = 32;

/// The key that opens the root.
pub struct UnsealKey(pub(crate) SecretBytes);

/// A file that holds no unseal key.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("an unseal key file holds 32 random bytes, raw or as base64; make one with: openssl rand -base64 32")]
pub struct UnsealKeyError;

impl UnsealKey {
    /// Reads the content of the file.
    ///
    /// # Errors
    /// When it is not 32 bytes, raw or as base64, or all bytes are the same.
    pub fn parse(content: &SecretBytes) -> Result<Self, UnsealKeyError> {
        let raw = content.expose();
        let key = if raw.len() == LENGTH {
            SecretBytes::copy_of(raw)
        } else {
            SecretBytes::new(STANDARD.decode(raw.trim_ascii()).map_err(|_| UnsealKeyError)?)
        };
        let bytes = key.expose();
        // A file of zeros is a mistake and not a key.
        let constant = bytes.first().is_none_or(|first| bytes.iter().all(|byte| byte == first));
        if bytes.len() == LENGTH && !constant { Ok(Self(key)) } else { Err(UnsealKeyError) }
    }

    /// Tells this key from others without revealing it: it is kept where everybody may read it, so that a key that was
    /// exchanged is found before anything is opened with it. 32 lower-case hex digits.
    ///
    /// # Errors
    /// When the derivation fails.
    pub fn check_value(&self) -> Result<String, CryptoError> {
        use std::fmt::Write;
        let value = hkdf_sha256(&self.0, &[], &[b"keyrealm unseal key check 1"], 16)?;
        Ok(value.expose().iter().fold(String::with_capacity(32), |mut hex, byte| {
            let _ = write!(hex, "{byte:02x}");
            hex
        }))
    }

    /// The content of a new file, base64.
    #[must_use]
    pub fn generate(random: &dyn Random) -> SecretBytes {
        SecretBytes::new(STANDARD.encode(SecretBytes::random(LENGTH, random).expose()).into_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use keyrealm_crypto::SystemRandom;

    #[test]
    fn a_check_value_is_of_the_key_and_not_of_its_form() {
        let key = SecretBytes::random(32, &SystemRandom);
        let of = |content: &SecretBytes| UnsealKey::parse(content).unwrap().check_value().unwrap();
        let text = SecretBytes::new(STANDARD.encode(key.expose()).into_bytes());
        assert_eq!((of(&key), of(&key).len()), (of(&text), 32));
        assert_ne!(of(&key), of(&UnsealKey::generate(&SystemRandom)));
    }

    #[test]
    fn files() {
        assert!(UnsealKey::parse(&UnsealKey::generate(&SystemRandom)).is_ok());
        assert!(UnsealKey::parse(&SecretBytes::random(32, &SystemRandom)).is_ok());
        let mut line = UnsealKey::generate(&SystemRandom).expose().to_vec();
        line.push(b'\n');
        assert!(UnsealKey::parse(&SecretBytes::new(line)).is_ok());
        for bad in [&b""[..], b"short", &[0; 32], &[7; 31], &[b'A'; 44]] {
            assert!(UnsealKey::parse(&SecretBytes::copy_of(bad)).is_err());
        }
    }
}
