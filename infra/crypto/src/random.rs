//! The system's randomness through aws-lc-rs.

use keyrealm_base::Random;

/// Randomness of the process' cryptographic module.
#[derive(Debug, Default, Clone, Copy)]
pub struct SystemRandom;

impl Random for SystemRandom {
    fn fill(&self, buffer: &mut [u8]) {
        if aws_lc_rs::rand::fill(buffer).is_err() {
            // No key, nonce or id may ever be made without randomness, and no caller could do better.
            std::process::abort();
        }
    }
}
