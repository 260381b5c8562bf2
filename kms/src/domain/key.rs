//! Keys, their states, and what each state allows.

use keyrealm_base::{KeyId, Timestamp};
use keyrealm_registry::ManagedBy;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// The state of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum KeyState {
    /// Does everything.
    Active,
    /// Does nothing until it is enabled again.
    Disabled,
}

impl KeyState {
    pub(crate) const ALL: [Self; 2] = [Self::Active, Self::Disabled];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Disabled => "disabled",
        }
    }

    pub(crate) fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.name() == name)
    }

    /// Whether a key in this state may do the operation.
    pub(crate) const fn allows(self, operation: Operation) -> bool {
        match (self, operation) {
            (Self::Active, Operation::Use | Operation::Rotate | Operation::Disable | Operation::Update)
            | (Self::Disabled, Operation::Enable | Operation::Update) => true,
            (Self::Active, Operation::Enable)
            | (Self::Disabled, Operation::Use | Operation::Rotate | Operation::Disable) => false,
        }
    }
}

/// What is asked of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Operation {
    /// Encrypt, decrypt, sign or verify.
    Use,
    /// Make a new version.
    Rotate,
    Disable,
    Enable,
    /// Change name or description.
    Update,
}

/// A key without its material.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Key {
    pub(crate) id: KeyId,
    pub(crate) name: String,
    pub(crate) description: String,
    pub(crate) algorithm: String,
    pub(crate) state: KeyState,
    pub(crate) managed_by: ManagedBy,
    pub(crate) latest_version: u32,
    pub(crate) created_at: Timestamp,
    pub(crate) updated_at: Timestamp,
}

impl Key {
    /// What the key's seal binds: everything that a writer of the database must not change.
    pub(crate) fn metadata(&self) -> Vec<u8> {
        serde_json::json!([
            self.name,
            self.description,
            self.algorithm,
            self.state.name(),
            self.managed_by.name(),
            self.latest_version,
            self.created_at.millis(),
            self.updated_at.millis(),
        ])
        .to_string()
        .into_bytes()
    }
}

/// Checks a name: 1 to 63 letters, digits, `-`, `_` and `.`, a letter or digit first.
pub(crate) fn check_name(name: &str) -> Result<(), &'static str> {
    let legal = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    let first = name.bytes().next().is_some_and(|byte| byte.is_ascii_alphanumeric());
    if first && name.len() <= 63 && name.bytes().all(legal) {
        Ok(())
    } else {
        Err("must be 1 to 63 letters, digits, `-`, `_` or `.`, a letter or digit first")
    }
}

/// Checks a description: at most 255 characters, no control characters.
pub(crate) fn check_description(text: &str) -> Result<(), &'static str> {
    if text.chars().count() <= 255 && !text.chars().any(char::is_control) {
        Ok(())
    } else {
        Err("must have at most 255 characters and no control characters")
    }
}

/// Checks an encryption or signing context: 1 to 2048 bytes.
pub(crate) fn check_context(context: Option<&str>) -> Result<(), &'static str> {
    match context {
        Some(context) if context.is_empty() || context.len() > 2048 => Err("must have 1 to 2048 bytes"),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_state_table() {
        use Operation::{Disable, Enable, Rotate, Update, Use};
        let allowed = |state: KeyState| [Use, Rotate, Disable, Enable, Update].map(|operation| state.allows(operation));
        assert_eq!(allowed(KeyState::Active), [true, true, true, false, true]);
        assert_eq!(allowed(KeyState::Disabled), [false, false, false, true, true]);
    }

    #[test]
    fn names() {
        for good in ["a", "demo-signing_ec256.v1", "0", &"x".repeat(63)] {
            assert_eq!(check_name(good), Ok(()), "{good}");
        }
        for bad in ["", "-a", ".a", "a b", "a/b", "ä", &"x".repeat(64)] {
            assert!(check_name(bad).is_err(), "{bad}");
        }
        assert!(check_context(Some("")).is_err() && check_context(Some(&"x".repeat(2049))).is_err());
        assert!(check_description("a\nb").is_err() && check_description(&"x".repeat(256)).is_err());
    }
}
