//! `<realm>-kms-unseal`, `<realm>-identity-unseal`: what opens a server's keys. Without it nothing can be decrypted.

use keyrealm_crypto::SecretBytes;

use super::opaque;
use crate::child::Child;
use crate::children::{Home, Part};

/// The entry.
pub const KEY: &str = "key";

/// What the name ends in.
#[must_use]
pub fn suffix(part: Part) -> String {
    format!("{}-unseal", part.name())
}

/// The Secret with this content of an unseal key file.
#[must_use]
pub fn of(home: &Home<'_>, part: Part, key: &SecretBytes) -> Child {
    home.keepsake(&suffix(part), Some(part), opaque(&[(KEY, key.expose())]))
}
