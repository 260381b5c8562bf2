//! aws-lc-rs behind typed keys: every key is parsed once and then only used. Nothing here does I/O.

pub mod aead;
mod compare;
mod digest;
pub mod key_wrap;
pub mod password;
mod random;
mod secret;
pub mod sign;

pub use compare::ct_eq;
pub use digest::{hkdf_sha256, hmac_sha256, sha256, sha256_hex};
pub use random::SystemRandom;
pub use secret::SecretBytes;

/// Why a cryptographic step was refused. Says nothing about the secret or the data involved.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum CryptoError {
    /// The bytes are no key of this algorithm.
    #[error("the bytes are not a {0} key")]
    InvalidKey(&'static str),
    /// A tag, a signature or a wrapped key does not verify.
    #[error("the {0} does not verify")]
    Rejected(&'static str),
    /// The library could not do the operation (out of memory, a length over its limit).
    #[error("{0} failed")]
    Failed(&'static str),
}

#[cfg(test)]
mod tests {
    /// Bytes from hex digits, as test vectors are printed.
    pub(crate) fn hex(text: &str) -> Vec<u8> {
        (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap()).collect()
    }
}
