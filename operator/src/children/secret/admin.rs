//! `<realm>-postgres-admin`: the operator's login of the managed database.

use keyrealm_crypto::SecretBytes;

use super::opaque;
use crate::child::Child;
use crate::children::stateful_set::USER;
use crate::children::{Home, Part};

/// What the name ends in.
pub const SUFFIX: &str = "postgres-admin";

/// The Secret with this password.
#[must_use]
pub fn of(home: &Home<'_>, password: &SecretBytes) -> Child {
    let body = opaque(&[("user", USER.as_bytes()), ("password", password.expose())]);
    home.keepsake(SUFFIX, Some(Part::Postgres), body)
}
