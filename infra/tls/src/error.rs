//! Why TLS material is refused: what, where, and how to mend it.

use std::io;
use std::path::PathBuf;

use keyrealm_pki::PkiError;

/// A file or a text that cannot be used for TLS.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read or written.
    #[error("{path}: {source}", path = .path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// A private key lies open.
    #[error("{path}: {reason}; mend with: {mend} {path}", path = .path.display())]
    Permissions {
        /// The file.
        path: PathBuf,
        /// Who can get at it.
        reason: String,
        /// The command that closes it, without the file.
        mend: String,
    },
    /// The content of a file is no usable certificate or key.
    #[error("{path}: {source}", path = .path.display())]
    Content {
        /// The file, or a name for a text.
        path: PathBuf,
        /// What is wrong.
        source: PkiError,
    },
    /// Certificate and key do not belong together.
    #[error("{certificate}: the key in {key} does not belong to this certificate", certificate = .certificate.display(), key = .key.display())]
    Mismatch {
        /// The certificate's file.
        certificate: PathBuf,
        /// The key's file.
        key: PathBuf,
    },
    /// rustls refuses the material.
    #[error("TLS configuration: {0}")]
    Config(String),
    /// The files cannot be watched.
    #[error("cannot watch the certificate files: {0}")]
    Watch(String),
}
