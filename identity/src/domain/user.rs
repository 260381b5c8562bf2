//! Users as they are declared, and what their roles allow.

use keyrealm_auth::{Scope, ScopeSet};
use keyrealm_crypto::password::PasswordHash;
use serde::{Deserialize, Serialize};

/// A user as declared.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct UserSpec {
    #[serde(default)]
    pub(crate) email: String,
    #[serde(default)]
    pub(crate) display_name: String,
    pub(crate) password_hash: String,
    #[serde(default)]
    pub(crate) roles: Vec<String>,
    #[serde(default = "yes")]
    pub(crate) enabled: bool,
}

fn yes() -> bool {
    true
}

/// The roles, and the scopes of the KMS that each gives.
const ROLES: [(&str, &[Scope]); 4] = [
    ("admin", &[Scope::KmsAdmin]),
    ("tenant-admin", &[Scope::KmsRead, Scope::KmsWrite]),
    ("user", &[Scope::Encrypt, Scope::Decrypt, Scope::Sign, Scope::Verify, Scope::KeyRead]),
    ("service", &[Scope::Encrypt, Scope::Decrypt, Scope::Sign, Scope::Verify]),
];

/// What every user may ask for.
const EVERYBODY: [Scope; 4] = [Scope::OpenId, Scope::Profile, Scope::Email, Scope::OfflineAccess];

impl UserSpec {
    /// Checks what the type cannot say.
    pub(crate) fn check(&self, name: &str) -> Result<(), String> {
        if name.is_empty() || name.len() > 100 || name.chars().any(|c| c.is_control() || c.is_whitespace()) {
            return Err("user name: 1 to 100 characters without white space".to_owned());
        }
        self.password_hash.parse::<PasswordHash>().map_err(|error| format!("password_hash: {error}"))?;
        match self.roles.iter().find(|role| !ROLES.iter().any(|(known, _)| known == *role)) {
            Some(role) => {
                Err(format!("roles: `{role}` is unknown; allowed: {}", ROLES.map(|(name, _)| name).join(", ")))
            }
            None => Ok(()),
        }
    }
}

/// What a user with these roles may be given.
pub(crate) fn allowed_scopes(roles: &[String]) -> ScopeSet {
    let of_roles =
        ROLES.iter().filter(|(name, _)| roles.iter().any(|role| role == name)).flat_map(|(_, scopes)| *scopes);
    EVERYBODY.iter().chain(of_roles).copied().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn roles_give_scopes() {
        let allowed = |role: &str| allowed_scopes(&[role.to_owned()]);
        assert!(allowed("admin").allows(Scope::KeyCreate) && allowed("tenant-admin").allows(Scope::KeyRead));
        assert!(allowed("user").allows(Scope::Decrypt) && !allowed("user").allows(Scope::KeyCreate));
        assert!(allowed("none").allows(Scope::OpenId) && !allowed("none").allows(Scope::Encrypt));
    }
}
