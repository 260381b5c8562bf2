//! AES key wrap with a 256-bit key-encryption key (RFC 3394).

use aws_lc_rs::key_wrap::{AES_256, KeyEncryptionKey, KeyWrap};

use crate::{CryptoError, SecretBytes};

/// Bytes that a wrapped key is longer than the key itself.
pub const WRAP_LEN: usize = 8;

/// A key-encryption key for A256KW.
pub struct Aes256Kw(SecretBytes);

impl Aes256Kw {
    /// Takes a 32-byte key.
    ///
    /// # Errors
    /// On any other length.
    pub fn new(key: SecretBytes) -> Result<Self, CryptoError> {
        if key.expose().len() == 32 { Ok(Self(key)) } else { Err(CryptoError::InvalidKey("A256KW")) }
    }

    fn kek(&self) -> Result<KeyEncryptionKey<aws_lc_rs::key_wrap::AesBlockCipher>, CryptoError> {
        // The library's handle is used up by each call; making it copies 32 bytes and expands nothing.
        KeyEncryptionKey::new(&AES_256, self.0.expose()).map_err(|_| CryptoError::InvalidKey("A256KW"))
    }

    /// Wraps a key of at least 16 bytes, in whole 8-byte blocks.
    ///
    /// # Errors
    /// On any other length.
    pub fn wrap(&self, key: &SecretBytes) -> Result<Vec<u8>, CryptoError> {
        let mut out = vec![0; key.expose().len() + WRAP_LEN];
        let length = self.kek()?.wrap(key.expose(), &mut out).map_err(|_| CryptoError::Failed("A256KW"))?.len();
        out.truncate(length);
        Ok(out)
    }

    /// Unwraps.
    ///
    /// # Errors
    /// When the integrity check value is not that of RFC 3394, section 2.2.3.
    pub fn unwrap(&self, wrapped: &[u8]) -> Result<SecretBytes, CryptoError> {
        let mut out = zeroize::Zeroizing::new(vec![0; wrapped.len()]);
        let key = self.kek()?.unwrap(wrapped, &mut out).map_err(|_| CryptoError::Rejected("wrapped key"))?;
        Ok(SecretBytes::copy_of(key))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::hex;

    /// RFC 3394, section 4.6: 256 bits of key data with a 256-bit KEK.
    #[test]
    fn rfc3394_section_4_6() {
        let kek = Aes256Kw::new(SecretBytes::new((0..32).collect())).unwrap();
        let key = SecretBytes::new(hex("00112233445566778899aabbccddeeff000102030405060708090a0b0c0d0e0f"));
        let wrapped = kek.wrap(&key).unwrap();
        assert_eq!(wrapped, hex("28c9f404c4b810f4cbccb35cfb87f8263f5786e2d80ed326cbc7f0e71a99f43bfb988b9b7a02dd21"));
        assert_eq!(kek.unwrap(&wrapped).unwrap().expose(), key.expose());
        for byte in 0..wrapped.len() {
            let mut bad = wrapped.clone();
            bad[byte] ^= 1;
            assert!(kek.unwrap(&bad).is_err());
        }
        assert!(kek.unwrap(&[]).is_err() && Aes256Kw::new(SecretBytes::new(vec![0; 31])).is_err());
    }
}
