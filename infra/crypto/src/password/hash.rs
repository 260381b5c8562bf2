//! The stored form `$pbkdf2-sha256$<iterations>$<salt>$<hash>` (standard base64 with padding).

use std::fmt;
use std::num::NonZeroU32;
use std::str::FromStr;

use aws_lc_rs::pbkdf2::{PBKDF2_HMAC_SHA256, derive, verify};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use keyrealm_base::Random;

use crate::SecretBytes;

const PREFIX: &str = "pbkdf2-sha256";
const LENGTH: usize = 32;
const ITERATIONS: NonZeroU32 = NonZeroU32::new(600_000).unwrap();
/// A stored hash that asks for less was not made here, and whoever gets hold of it guesses that much faster.
const MIN_ITERATIONS: u32 = ITERATIONS.get();
/// A stored hash may ask for more work than ours, but not for so much that one log-in stops a thread.
const MAX_ITERATIONS: u32 = 10_000_000;

/// A stored password hash. It is no secret of the running process, but it never goes to a log either: no Debug.
#[derive(Clone, PartialEq, Eq)]
pub struct PasswordHash {
    iterations: NonZeroU32,
    salt: [u8; LENGTH],
    hash: [u8; LENGTH],
}

/// Why a text is no password hash.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error(
    "not a password hash: expected $pbkdf2-sha256$<iterations, 600000 to 10000000>$<32 bytes base64>$<32 bytes base64>"
)]
pub struct PasswordHashError;

impl PasswordHash {
    /// Hashes a password with a fresh salt. Takes tens of milliseconds of CPU: where requests are served, call
    /// [`super::PasswordPool::create`] instead.
    #[must_use]
    pub fn create(password: &SecretBytes, random: &dyn Random) -> Self {
        Self::salted(random.bytes(), password)
    }

    pub(super) fn salted(salt: [u8; LENGTH], password: &SecretBytes) -> Self {
        let mut hash = [0; LENGTH];
        derive(PBKDF2_HMAC_SHA256, ITERATIONS, &salt, password.expose(), &mut hash);
        Self { iterations: ITERATIONS, salt, hash }
    }

    /// A hash that no password has, of the usual cost: what an unknown user is checked against, so that the time of the
    /// answer does not tell who exists.
    #[must_use]
    pub fn dummy(random: &dyn Random) -> Self {
        Self { iterations: ITERATIONS, salt: random.bytes(), hash: random.bytes() }
    }

    /// Whether the password is the one; constant time in the comparison.
    #[must_use]
    pub fn matches(&self, password: &SecretBytes) -> bool {
        verify(PBKDF2_HMAC_SHA256, self.iterations, &self.salt, password.expose(), &self.hash).is_ok()
    }
}

impl fmt::Display for PasswordHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "${PREFIX}${}${}${}", self.iterations, STANDARD.encode(self.salt), STANDARD.encode(self.hash))
    }
}

impl FromStr for PasswordHash {
    type Err = PasswordHashError;

    fn from_str(text: &str) -> Result<Self, PasswordHashError> {
        let mut parts = text.split('$');
        let (Some(""), Some(PREFIX), Some(iterations), Some(salt), Some(hash), None) =
            (parts.next(), parts.next(), parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(PasswordHashError);
        };
        let iterations =
            iterations.parse().ok().filter(|n: &NonZeroU32| (MIN_ITERATIONS..=MAX_ITERATIONS).contains(&n.get()));
        let iterations = iterations.ok_or(PasswordHashError)?;
        let decode = |part: &str| {
            STANDARD.decode(part).ok().and_then(|bytes| <[u8; LENGTH]>::try_from(bytes).ok()).ok_or(PasswordHashError)
        };
        Ok(Self { iterations, salt: decode(salt)?, hash: decode(hash)? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::SystemRandom;

    #[test]
    fn stored_form_round_trips_and_verifies() {
        let hash = PasswordHash::create(&SecretBytes::copy_of(b"correct horse"), &SystemRandom);
        let text = hash.to_string();
        assert!(text.starts_with("$pbkdf2-sha256$600000$"), "{text}");
        let read: PasswordHash = text.parse().ok().unwrap();
        assert!(read.matches(&SecretBytes::copy_of(b"correct horse")));
        assert!(!read.matches(&SecretBytes::copy_of(b"correct hors")));
        assert!(!PasswordHash::dummy(&SystemRandom).matches(&SecretBytes::copy_of(b"")));
    }

    /// The PBKDF2-HMAC-SHA-256 vector of RFC 7914, section 11 (first 32 of 64 bytes: one HMAC block).
    #[test]
    fn rfc7914_vector() {
        let mut out = [0; 32];
        derive(PBKDF2_HMAC_SHA256, NonZeroU32::MIN, b"salt", b"passwd", &mut out);
        assert_eq!(out.to_vec(), crate::tests::hex("55ac046e56e3089fec1691c22544b605f94185216dde0465e68b9d57c20dacbc"));
    }

    #[test]
    fn other_forms_are_refused() {
        let good = PasswordHash::dummy(&SystemRandom).to_string();
        for bad in [
            String::new(),
            "$2b$12$abcdefghijklmnopqrstuu".to_owned(),
            good.replace("600000", "0"),
            good.replace("600000", "599999"),
            good.replace("600000", "10000001"),
            good.replace("600000", "4000000000"),
            good.replace("sha256", "sha1"),
            format!("{good}$"),
            good.trim_end_matches('=').to_owned(),
        ] {
            assert!(bad.parse::<PasswordHash>().is_err(), "{bad}");
        }
        assert!(good.replace("600000", "10000000").parse::<PasswordHash>().is_ok());
    }
}
