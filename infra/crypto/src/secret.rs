//! Secret bytes: zeroized when dropped, without Debug, Display, Serialize or Clone.

use keyrealm_base::Random;
use zeroize::{Zeroize, Zeroizing};

/// Bytes that must not be printed, copied or left in memory. The capacity is fixed when made, so no copy is left behind
/// by growth.
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

impl Zeroize for SecretBytes {
    fn zeroize(&mut self) {
        self.0.zeroize();
    }
}
