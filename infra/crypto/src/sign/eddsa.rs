//! Ed25519 (RFC 8032, RFC 8037).

use aws_lc_rs::signature::{ED25519, Ed25519KeyPair, KeyPair, ParsedPublicKey};

use super::{PublicKey, SignatureScheme, Signer, Verifier};
use crate::{CryptoError, SecretBytes};

const NAME: &str = "EdDSA";
const CURVE: &str = "Ed25519";
const PUBLIC_KEY_LEN: usize = 32;

pub(super) const EDDSA: SignatureScheme =
    SignatureScheme { name: NAME, slow: false, generate, parse_private, parse_public };

struct Private {
    pair: Ed25519KeyPair,
    public: PublicKey,
}

struct Public(ParsedPublicKey);

fn generate() -> Result<SecretBytes, CryptoError> {
    let failed = |_| CryptoError::Failed("EdDSA key generation");
    let pair = Ed25519KeyPair::generate().map_err(failed)?;
    Ok(SecretBytes::copy_of(pair.to_pkcs8().map_err(failed)?.as_ref()))
}

fn parse_private(pkcs8: &SecretBytes) -> Result<Box<dyn Signer>, CryptoError> {
    let pair = Ed25519KeyPair::from_pkcs8(pkcs8.expose()).map_err(|_| CryptoError::InvalidKey(NAME))?;
    let public = PublicKey::Okp { curve: CURVE, x: pair.public_key().as_ref().to_vec() };
    Ok(Box::new(Private { pair, public }))
}

fn parse_public(key: &PublicKey) -> Result<Box<dyn Verifier>, CryptoError> {
    let PublicKey::Okp { curve: CURVE, x } = key else { return Err(CryptoError::InvalidKey(NAME)) };
    // The library would take a SubjectPublicKeyInfo too; RFC 8037, section 2, knows the bare key only.
    if x.len() != PUBLIC_KEY_LEN {
        return Err(CryptoError::InvalidKey(NAME));
    }
    let parsed = ParsedPublicKey::new(&ED25519, x).map_err(|_| CryptoError::InvalidKey(NAME))?;
    Ok(Box::new(Public(parsed)))
}

impl Signer for Private {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, CryptoError> {
        self.pair
            .try_sign(message)
            .map(|signature| signature.as_ref().to_vec())
            .map_err(|_| CryptoError::Failed("EdDSA signing"))
    }

    fn public_key(&self) -> &PublicKey {
        &self.public
    }
}

impl Verifier for Public {
    fn verify(&self, message: &[u8], signature: &[u8]) -> Result<(), CryptoError> {
        self.0.verify_sig(message, signature).map_err(|_| CryptoError::Rejected("signature"))
    }
}
