//! Private CA chains: made, issued from, read back and verified. No I/O; clock and randomness are given.

mod chain;
mod info;
mod names;
mod pem;
mod spec;
mod verify;

pub use chain::{CaChain, Leaf};
pub use info::{CertificateInfo, chain_sha256};
pub use names::NameStyle;
pub use pem::{certificates, private_key, to_pem};
pub use spec::{ChainSpec, CurveAlgorithm, LeafSpec, LeafUsage, NameConstraints};
pub use verify::{VerifyFor, verify_chain};

/// Why a chain or a certificate cannot be made or used.
#[derive(Debug, thiserror::Error)]
pub enum PkiError {
    /// A value of the specification is out of its range.
    #[error("{field}: {reason}")]
    Spec {
        /// The field.
        field: &'static str,
        /// What is wrong and what is allowed.
        reason: String,
    },
    /// Issuing failed in the library.
    #[error("cannot issue `{subject}`: {reason}")]
    Issue {
        /// The subject.
        subject: String,
        /// The library's reason.
        reason: String,
    },
    /// A PEM text holds not what it should.
    #[error("{what}: {reason}")]
    Pem {
        /// What was read.
        what: &'static str,
        /// What is wrong with it.
        reason: String,
    },
    /// A certificate does not verify.
    #[error("the certificate does not verify: {0}")]
    Verify(String),
}
