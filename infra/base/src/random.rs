//! The randomness source that every generator is given; the system's own lives in `crypto`.

use std::sync::Arc;

/// A cryptographically secure source of random bytes. Tests may pass a seeded one.
pub trait Random: Send + Sync + 'static {
    /// Fills the whole buffer with random bytes.
    fn fill(&self, buffer: &mut [u8]);
}

/// A source shared by the parts of one server.
pub type SharedRandom = Arc<dyn Random>;

impl dyn Random + '_ {
    /// `N` random bytes.
    #[must_use]
    pub fn bytes<const N: usize>(&self) -> [u8; N] {
        let mut buffer = [0; N];
        self.fill(&mut buffer);
        buffer
    }
}
