//! What PostgreSQL stores of a password (SCRAM-SHA-256: RFC 5802, section 3; RFC 7677): made here, so that the password
//! itself never goes to the server, nor into its log.

use std::fmt;
use std::num::NonZeroU32;

use aws_lc_rs::pbkdf2::{PBKDF2_HMAC_SHA256, derive};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use keyrealm_base::Random;

use crate::{SecretBytes, hmac_sha256, sha256};

/// PostgreSQL's own number. The passwords are random, so that more would only make each connection slower.
const ITERATIONS: NonZeroU32 = NonZeroU32::new(4096).unwrap();
const SALT: usize = 16;

/// The text that `ALTER ROLE ... PASSWORD` takes in the place of a password. It holds letters, digits and `$:+/=-` only.
/// Who has it can guess passwords against it: it has no Debug.
#[derive(Clone, PartialEq, Eq)]
pub struct ScramVerifier {
    salt: [u8; SALT],
    stored_key: [u8; 32],
    server_key: [u8; 32],
}

/// A password that SASLprep (RFC 4013) might change.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("a database password has 1 to 256 printable ASCII characters")]
pub struct ScramPasswordError;

impl ScramVerifier {
    /// Of a password, with a fresh salt.
    ///
    /// # Errors
    /// When the password has other than printable ASCII characters, or none, or more than 256.
    pub fn create(password: &SecretBytes, random: &dyn Random) -> Result<Self, ScramPasswordError> {
        Self::salted(random.bytes(), password)
    }

    fn salted(salt: [u8; SALT], password: &SecretBytes) -> Result<Self, ScramPasswordError> {
        let bytes = password.expose();
        if bytes.is_empty() || bytes.len() > 256 || !bytes.iter().all(|byte| (b' '..=b'~').contains(byte)) {
            return Err(ScramPasswordError);
        }
        let mut salted = vec![0; 32];
        derive(PBKDF2_HMAC_SHA256, ITERATIONS, &salt, bytes, &mut salted);
        let salted = SecretBytes::new(salted);
        let client_key = SecretBytes::copy_of(&hmac_sha256(&salted, &[b"Client Key"]));
        let server_key = hmac_sha256(&salted, &[b"Server Key"]);
        Ok(Self { salt, stored_key: sha256(client_key.expose()), server_key })
    }
}

impl fmt::Display for ScramVerifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [salt, stored, server] =
            [&self.salt[..], &self.stored_key[..], &self.server_key[..]].map(|bytes| STANDARD.encode(bytes));
        write!(f, "SCRAM-SHA-256${ITERATIONS}:{salt}${stored}:{server}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::SystemRandom;

    /// RFC 7677, section 3: the proof of its example is one for this verifier.
    #[test]
    fn the_rfc_7677_example() {
        let salt = STANDARD.decode("W22ZaJ0SNY7soEsUEjb6gQ==").unwrap().try_into().unwrap();
        let verifier = ScramVerifier::salted(salt, &SecretBytes::copy_of(b"pencil")).unwrap();
        let message = b"n=user,r=rOprNGfwEbeRWgbNEkqO,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,\
                        s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096,c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0";
        let signature = hmac_sha256(&SecretBytes::copy_of(&verifier.server_key), &[message]);
        assert_eq!(STANDARD.encode(signature), "6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=");
        let proof = STANDARD.decode("dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=").unwrap();
        let client = hmac_sha256(&SecretBytes::copy_of(&verifier.stored_key), &[message]);
        let key: Vec<u8> = proof.iter().zip(client).map(|(proof, signature)| proof ^ signature).collect();
        assert_eq!(sha256(&key), verifier.stored_key);
        assert!(verifier.to_string().starts_with("SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==$"));
    }

    #[test]
    fn what_saslprep_could_change_is_refused() {
        for bad in ["", "ä", "a\tb", &"x".repeat(257)] {
            assert!(ScramVerifier::create(&SecretBytes::copy_of(bad.as_bytes()), &SystemRandom).is_err(), "{bad}");
        }
    }
}
