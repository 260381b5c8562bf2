//! SHA-256, HMAC-SHA-256 (RFC 2104) and HKDF-SHA-256 (RFC 5869).

use aws_lc_rs::{digest, hkdf, hmac};

use crate::{CryptoError, SecretBytes};

/// SHA-256 of the bytes.
#[must_use]
pub fn sha256(bytes: &[u8]) -> [u8; 32] {
    let mut out = [0; 32];
    out.copy_from_slice(digest::digest(&digest::SHA256, bytes).as_ref());
    out
}

/// SHA-256 of the bytes as 64 lower-case hex digits.
#[must_use]
pub fn sha256_hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    sha256(bytes).iter().fold(String::with_capacity(64), |mut hex, byte| {
        let _ = write!(hex, "{byte:02x}");
        hex
    })
}

/// HMAC-SHA-256 of the concatenated parts.
#[must_use]
pub fn hmac_sha256(key: &SecretBytes, parts: &[&[u8]]) -> [u8; 32] {
    let mut context = hmac::Context::with_key(&hmac::Key::new(hmac::HMAC_SHA256, key.expose()));
    for part in parts {
        context.update(part);
    }
    let mut out = [0; 32];
    out.copy_from_slice(context.sign().as_ref());
    out
}

struct Length(usize);

impl hkdf::KeyType for Length {
    fn len(&self) -> usize {
        self.0
    }
}

/// `length` bytes from HKDF-SHA-256 with the given salt and info (RFC 5869, section 2).
///
/// # Errors
/// When more than 255 blocks (8160 bytes) are asked for.
pub fn hkdf_sha256(
    secret: &SecretBytes,
    salt: &[u8],
    info: &[&[u8]],
    length: usize,
) -> Result<SecretBytes, CryptoError> {
    let failed = |_| CryptoError::Failed("HKDF");
    let prk = hkdf::Salt::new(hkdf::HKDF_SHA256, salt).extract(secret.expose());
    let mut out = vec![0; length];
    prk.expand(info, Length(length)).map_err(failed)?.fill(&mut out).map_err(failed)?;
    Ok(SecretBytes::new(out))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::hex;

    /// RFC 5869, appendix A.1 and A.3.
    #[test]
    fn rfc5869_vectors() {
        let ikm = SecretBytes::new(vec![0x0b; 22]);
        let salt = hex("000102030405060708090a0b0c");
        let okm = hkdf_sha256(&ikm, &salt, &[&hex("f0f1f2f3f4"), &hex("f5f6f7f8f9")], 42).unwrap();
        assert_eq!(
            okm.expose(),
            hex("3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf34007208d5b887185865")
        );
        let okm = hkdf_sha256(&ikm, &[], &[], 42).unwrap();
        assert_eq!(
            okm.expose(),
            hex("8da4e775a563c18f715f802a063c5a31b8a11f5c5ee1879ec3454e5f3c738d2d9d201395faa4b61a96c8")
        );
        assert!(hkdf_sha256(&ikm, &[], &[], 8161).is_err());
    }

    /// RFC 4231, test case 2; FIPS 180-4 "abc".
    #[test]
    fn hmac_and_sha_vectors() {
        let mac = hmac_sha256(&SecretBytes::copy_of(b"Jefe"), &[b"what do ya want ", b"for nothing?"]);
        assert_eq!(mac.to_vec(), hex("5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"));
        assert_eq!(sha256_hex(b"abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    }
}
