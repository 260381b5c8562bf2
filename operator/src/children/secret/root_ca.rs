//! `<realm>-root-ca`: the realm's CAs. No pod mounts it.

use super::opaque;
use crate::child::Child;
use crate::children::Home;

/// What the name ends in.
pub const SUFFIX: &str = "root-ca";
/// The CA certificates, root first.
pub const CERTIFICATES: &str = "tls.crt";
/// The key of the CA that issues leaves.
pub const ISSUING_KEY: &str = "tls.key";
/// The key of the root.
pub const ROOT_KEY: &str = "root.key";

/// The Secret of these CAs.
#[must_use]
pub fn of(home: &Home<'_>, certificates_pem: &str, issuing_key_pem: &str, root_key_pem: &str) -> Child {
    let body = opaque(&[
        (CERTIFICATES, certificates_pem.as_bytes()),
        (ISSUING_KEY, issuing_key_pem.as_bytes()),
        (ROOT_KEY, root_key_pem.as_bytes()),
    ]);
    home.keepsake(SUFFIX, None, body)
}
