//! Secret bytes: zeroized when dropped, without Debug, Display, Serialize or Clone.

use keyrealm_base::Random;
use zeroize::Zeroizing;

/// Bytes that must not be printed, copied or left in memory. The capacity is fixed when made, so no copy is left behind
/// by growth.
///
/// ```
/// let secret = keyrealm_crypto::SecretBytes::copy_of(b"secret");
/// assert_eq!(secret.expose(), b"secret");
/// ```
///
/// It has no `Debug` and no `Display`, so that no log can show it:
///
/// ```compile_fail,E0277
/// let secret = keyrealm_crypto::SecretBytes::copy_of(b"secret");
/// println!("{secret:?}");
/// ```
///
/// ```compile_fail,E0277
/// let secret = keyrealm_crypto::SecretBytes::copy_of(b"secret");
/// println!("{secret}");
/// ```
///
/// No `Serialize`, so that no answer and no file can hold it by mistake:
///
/// ```
/// fn written<T: serde::Serialize>(_: T) {}
/// written(keyrealm_crypto::SecretBytes::copy_of(b"no secret").expose());
/// ```
///
/// ```compile_fail,E0277
/// fn written<T: serde::Serialize>(_: T) {}
/// written(keyrealm_crypto::SecretBytes::copy_of(b"secret"));
/// ```
///
/// And no `Clone`, so that each copy is one that somebody asked for by name:
///
/// ```compile_fail,E0599
/// let secret = keyrealm_crypto::SecretBytes::copy_of(b"secret");
/// let copy = secret.clone();
/// ```
pub struct SecretBytes(Zeroizing<Vec<u8>>);

impl SecretBytes {
    /// Takes the bytes over.
    #[must_use]
    pub fn new(bytes: Vec<u8>) -> Self {
        Self(Zeroizing::new(bytes))
    }

    /// Copies the bytes.
    #[must_use]
    pub fn copy_of(bytes: &[u8]) -> Self {
        Self::new(bytes.to_vec())
    }

    /// `length` random bytes.
    #[must_use]
    pub fn random(length: usize, random: &dyn Random) -> Self {
        let mut bytes = vec![0; length];
        random.fill(&mut bytes);
        Self::new(bytes)
    }

    /// The bytes, for the one call that needs them.
    #[must_use]
    pub fn expose(&self) -> &[u8] {
        &self.0
    }
}
