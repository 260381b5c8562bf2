//! ECDSA with fixed-width `r || s` signatures (RFC 7518, section 3.4).

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair, ParsedPublicKey,
};

use super::{PublicKey, SignatureScheme, Signer, Verifier};
use crate::{CryptoError, SecretBytes};

const NAME: &str = "ES256";
const CURVE: &str = "P-256";
const COORDINATE_LEN: usize = 32;

pub(super) const ES256: SignatureScheme =
    SignatureScheme { name: NAME, slow: false, generate, parse_private, parse_public };

struct Private {
    pair: EcdsaKeyPair,
    public: PublicKey,
}

struct Public(ParsedPublicKey);

fn generate() -> Result<SecretBytes, CryptoError> {
    let failed = |_| CryptoError::Failed("ES256 key generation");
    let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).map_err(failed)?;
    Ok(SecretBytes::copy_of(pair.to_pkcs8v1().map_err(failed)?.as_ref()))
}

fn parse_private(pkcs8: &SecretBytes) -> Result<Box<dyn Signer>, CryptoError> {
    let invalid = || CryptoError::InvalidKey(NAME);
    let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, pkcs8.expose()).map_err(|_| invalid())?;
    // SEC 1, section 2.3.3: an uncompressed point is 04 || x || y.
    let point = pair.public_key().as_ref().strip_prefix(&[4]).ok_or_else(invalid)?;
    let (x, y) = point.split_at_checked(COORDINATE_LEN).ok_or_else(invalid)?;
    let public = PublicKey::Ec { curve: CURVE, x: x.to_vec(), y: y.to_vec() };
    Ok(Box::new(Private { pair, public }))
}

fn parse_public(key: &PublicKey) -> Result<Box<dyn Verifier>, CryptoError> {
    let invalid = || CryptoError::InvalidKey(NAME);
    let PublicKey::Ec { curve: CURVE, x, y } = key else { return Err(invalid()) };
    if x.len() != COORDINATE_LEN || y.len() != COORDINATE_LEN {
        return Err(invalid());
    }
    let point = [&[4], x.as_slice(), y.as_slice()].concat();
    // Parsing checks that the point lies on the curve.
    ParsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point).map_err(|_| invalid()).map(|key| Box::new(Public(key)) as _)
}

impl Signer for Private {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, CryptoError> {
        self.pair
            .sign(&SystemRandom::new(), message)
            .map(|signature| signature.as_ref().to_vec())
            .map_err(|_| CryptoError::Failed("ES256 signing"))
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
