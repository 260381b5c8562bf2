//! Signature keys, parsed once. An algorithm is a row of [`SCHEMES`] and a file of this folder.

mod ecdsa;
mod eddsa;
mod rsa;

use crate::{CryptoError, SecretBytes};

/// The public half of a signature key, as JWK members hold it (big-endian, unpadded integers).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PublicKey {
    /// An elliptic-curve point (RFC 7518, section 6.2).
    Ec {
        /// The curve's JOSE name.
        curve: &'static str,
        /// The x coordinate, at full width.
        x: Vec<u8>,
        /// The y coordinate, at full width.
        y: Vec<u8>,
    },
    /// An RSA modulus and exponent (RFC 7518, section 6.3).
    Rsa {
        /// The modulus.
        n: Vec<u8>,
        /// The exponent.
        e: Vec<u8>,
    },
    /// An octet key pair's public key (RFC 8037, section 2).
    Okp {
        /// The curve's JOSE name.
        curve: &'static str,
        /// The public key.
        x: Vec<u8>,
    },
}

/// A parsed private key.
pub trait Signer: Send + Sync {
    /// Signs the message; the answer has the JOSE form (ECDSA: fixed-width `r || s`).
    ///
    /// # Errors
    /// When the library fails.
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, CryptoError>;

    /// The public half.
    fn public_key(&self) -> &PublicKey;
}

/// A parsed public key.
pub trait Verifier: Send + Sync {
    /// Checks the signature of the message.
    ///
    /// # Errors
    /// When it does not verify.
    fn verify(&self, message: &[u8], signature: &[u8]) -> Result<(), CryptoError>;
}

/// One signature algorithm: how its keys are made and parsed.
pub struct SignatureScheme {
    /// The JOSE name (RFC 7518, section 3.1; RFC 8037, section 3.1).
    pub name: &'static str,
    /// Whether signing takes so long (over 100 us) that it belongs on a blocking thread.
    pub slow: bool,
    generate: fn() -> Result<SecretBytes, CryptoError>,
    parse_private: fn(&SecretBytes) -> Result<Box<dyn Signer>, CryptoError>,
    parse_public: fn(&PublicKey) -> Result<Box<dyn Verifier>, CryptoError>,
}

impl SignatureScheme {
    /// A new private key as PKCS#8 DER (RFC 5208).
    ///
    /// # Errors
    /// When the library fails.
    pub fn generate(&self) -> Result<SecretBytes, CryptoError> {
        (self.generate)()
    }

    /// Parses a PKCS#8 private key.
    ///
    /// # Errors
    /// When it is not one of this algorithm.
    pub fn signer(&self, pkcs8: &SecretBytes) -> Result<Box<dyn Signer>, CryptoError> {
        (self.parse_private)(pkcs8)
    }

    /// Parses a public key.
    ///
    /// # Errors
    /// When it is not one of this algorithm: wrong type or curve, a point off the curve, a modulus below 2048 bits.
    pub fn verifier(&self, key: &PublicKey) -> Result<Box<dyn Verifier>, CryptoError> {
        (self.parse_public)(key)
    }
}

/// ECDSA on P-256 with SHA-256.
pub static ES256: SignatureScheme = ecdsa::ES256;
/// RSASSA-PKCS1-v1_5 with SHA-256, 2048-bit keys when generated here, 2048 to 8192 when verified.
pub static RS256: SignatureScheme = rsa::RS256;
/// Ed25519.
pub static EDDSA: SignatureScheme = eddsa::EDDSA;

/// All algorithms.
pub static SCHEMES: &[&SignatureScheme] = &[&ES256, &RS256, &EDDSA];

/// The algorithm of this JOSE name.
#[must_use]
pub fn scheme(name: &str) -> Option<&'static SignatureScheme> {
    SCHEMES.iter().copied().find(|scheme| scheme.name == name)
}

#[cfg(test)]
mod tests;
