//! The unseal key: 32 random bytes in a file, as base64 or as they are.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use keyrealm_base::Random;
use keyrealm_crypto::SecretBytes;

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
