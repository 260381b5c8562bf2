//! AES-GCM with associated data (NIST SP 800-38D): 96-bit nonce, 128-bit tag.

use aws_lc_rs::aead::{AES_128_GCM, AES_192_GCM, AES_256_GCM, Aad, Algorithm, LessSafeKey, Nonce, UnboundKey};

use crate::{CryptoError, SecretBytes};

/// Bytes of a nonce.
pub const NONCE_LEN: usize = 12;
/// Bytes of a tag.
pub const TAG_LEN: usize = 16;

/// The key length of AES-GCM.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AesGcm {
    /// 16-byte key.
    A128,
    /// 24-byte key.
    A192,
    /// 32-byte key.
    A256,
}

impl AesGcm {
    /// Bytes of a key.
    #[must_use]
    pub const fn key_len(self) -> usize {
        match self {
            Self::A128 => 16,
            Self::A192 => 24,
            Self::A256 => 32,
        }
    }

    fn algorithm(self) -> &'static Algorithm {
        match self {
            Self::A128 => &AES_128_GCM,
            Self::A192 => &AES_192_GCM,
            Self::A256 => &AES_256_GCM,
        }
    }
}

/// An expanded AES-GCM key. The caller answers for never using one nonce twice.
pub struct AeadKey(LessSafeKey);

impl AeadKey {
    /// Expands the key.
    ///
    /// # Errors
    /// When the length is not that of the algorithm.
    pub fn new(kind: AesGcm, key: &SecretBytes) -> Result<Self, CryptoError> {
        UnboundKey::new(kind.algorithm(), key.expose())
            .map(|key| Self(LessSafeKey::new(key)))
            .map_err(|_| CryptoError::InvalidKey("AES-GCM"))
    }

    /// Encrypts; the answer is the ciphertext followed by the tag.
    ///
    /// # Errors
    /// When the plaintext is longer than AES-GCM allows.
    pub fn seal(&self, nonce: [u8; NONCE_LEN], aad: &[u8], plaintext: &[u8]) -> Result<Vec<u8>, CryptoError> {
        let mut out = Vec::with_capacity(plaintext.len() + TAG_LEN);
        out.extend_from_slice(plaintext);
        self.0
            .seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), Aad::from(aad), &mut out)
            .map_err(|_| CryptoError::Failed("AES-GCM encryption"))?;
        Ok(out)
    }

    /// Decrypts ciphertext followed by tag.
    ///
    /// # Errors
    /// When the tag does not verify for this key, nonce and associated data.
    pub fn open(&self, nonce: [u8; NONCE_LEN], aad: &[u8], sealed: &[u8]) -> Result<SecretBytes, CryptoError> {
        let mut buffer = zeroize::Zeroizing::new(sealed.to_vec());
        let plain = self
            .0
            .open_in_place(Nonce::assume_unique_for_key(nonce), Aad::from(aad), &mut buffer)
            .map_err(|_| CryptoError::Rejected("AES-GCM tag"))?;
        Ok(SecretBytes::copy_of(plain))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::hex;

    /// McGrew and Viega, "The Galois/Counter Mode of Operation", test case 16 (AES-256 with associated data).
    #[test]
    fn gcm_test_case_16() {
        let key = SecretBytes::new(hex("feffe9928665731c6d6a8f9467308308feffe9928665731c6d6a8f9467308308"));
        let key = AeadKey::new(AesGcm::A256, &key).unwrap();
        let nonce: [u8; 12] = hex("cafebabefacedbaddecaf888").try_into().unwrap();
        let aad = hex("feedfacedeadbeeffeedfacedeadbeefabaddad2");
        let plain = hex(
            "d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a721c3c0c95956809532fcf0e2449a6b525b16aedf5aa0de657ba637b39",
        );
        let sealed = key.seal(nonce, &aad, &plain).unwrap();
        assert_eq!(
            sealed,
            hex(
                "522dc1f099567d07f47f37a32a84427d643a8cdcbfe5c0c97598a2bd2555d1aa8cb08e48590dbb3da7b08b1056828838c5f61e6393ba7a0abcc9f66276fc6ece0f4e1768cddf8853bb2d551b"
            )
        );
        assert_eq!(key.open(nonce, &aad, &sealed).unwrap().expose(), plain);
    }

    /// One bit changed anywhere, in ciphertext, tag, nonce or associated data, is refused.
    #[test]
    fn every_bit_counts() {
        for kind in [AesGcm::A128, AesGcm::A192, AesGcm::A256] {
            let key = AeadKey::new(kind, &SecretBytes::new(vec![7; kind.key_len()])).unwrap();
            let sealed = key.seal([1; 12], b"aad", b"text").unwrap();
            for bit in 0..sealed.len() * 8 {
                let mut bad = sealed.clone();
                bad[bit / 8] ^= 1 << (bit % 8);
                assert!(key.open([1; 12], b"aad", &bad).is_err());
            }
            assert!(key.open([2; 12], b"aad", &sealed).is_err());
            assert!(key.open([1; 12], b"aae", &sealed).is_err());
            assert!(key.open([1; 12], b"aad", &sealed[..15]).is_err());
            assert!(AeadKey::new(kind, &SecretBytes::new(vec![7; 17])).is_err());
        }
    }
}
