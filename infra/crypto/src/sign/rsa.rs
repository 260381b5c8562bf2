//! RSASSA-PKCS1-v1_5 (RFC 7518, section 3.3).

use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::{KeyPair, KeySize, PublicKeyComponents};
use aws_lc_rs::signature::{KeyPair as _, ParsedPublicKey, RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_SHA256};

use super::{PublicKey, SignatureScheme, Signer, Verifier};
use crate::{CryptoError, SecretBytes};

const NAME: &str = "RS256";

pub(super) const RS256: SignatureScheme =
    SignatureScheme { name: NAME, slow: true, generate, parse_private, parse_public };

struct Private {
    pair: KeyPair,
    public: PublicKey,
}

struct Public(ParsedPublicKey);

fn generate() -> Result<SecretBytes, CryptoError> {
    let failed = |_| CryptoError::Failed("RS256 key generation");
    let pair = KeyPair::generate(KeySize::Rsa2048).map_err(failed)?;
    let der = AsDer::<Pkcs8V1Der>::as_der(&pair).map_err(failed)?;
    Ok(SecretBytes::copy_of(der.as_ref()))
}

fn parse_private(pkcs8: &SecretBytes) -> Result<Box<dyn Signer>, CryptoError> {
    let pair = KeyPair::from_pkcs8(pkcs8.expose()).map_err(|_| CryptoError::InvalidKey(NAME))?;
    let key = pair.public_key();
    let public = PublicKey::Rsa {
        n: key.modulus().big_endian_without_leading_zero().to_vec(),
        e: key.exponent().big_endian_without_leading_zero().to_vec(),
    };
    Ok(Box::new(Private { pair, public }))
}

fn parse_public(key: &PublicKey) -> Result<Box<dyn Verifier>, CryptoError> {
    let invalid = |_| CryptoError::InvalidKey(NAME);
    let PublicKey::Rsa { n, e } = key else { return Err(CryptoError::InvalidKey(NAME)) };
    // The verifier would refuse a short modulus only at the first signature.
    if n.len() < 256 || n.len() > 1024 {
        return Err(CryptoError::InvalidKey(NAME));
    }
    let parsed = PublicKeyComponents { n, e }.to_parsed_public_key(&RSA_PKCS1_2048_8192_SHA256).map_err(invalid)?;
    Ok(Box::new(Public(parsed)))
}

impl Signer for Private {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, CryptoError> {
        let mut signature = vec![0; self.pair.public_modulus_len()];
        self.pair
            .sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), message, &mut signature)
            .map_err(|_| CryptoError::Failed("RS256 signing"))?;
        Ok(signature)
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
