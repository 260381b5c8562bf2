//! Users as they are declared, and what their roles allow.

use keyrealm_auth::{Scope, ScopeSet};
use keyrealm_crypto::password::PasswordHash;
use keyrealm_registry::specs::UserSpec;

/// The roles, and the scopes of the KMS that each gives.
const ROLES: [(&str, &[Scope]); 4] = [
    ("admin", &[Scope::KmsAdmin]),
    ("tenant-admin", &[Scope::KmsRead, Scope::KmsWrite]),
    ("user", &[Scope::Encrypt, Scope::Decrypt, Scope::Sign, Scope::Verify, Scope::KeyRead]),
    ("service", &[Scope::Encrypt, Scope::Decrypt, Scope::Sign, Scope::Verify]),
];

/// What every user may ask for.
const EVERYBODY: [Scope; 4] = [Scope::OpenId, Scope::Profile, Scope::Email, Scope::OfflineAccess];

/// Characters of a user name.
pub(crate) const LONGEST_NAME: usize = 100;

/// What a type cannot say of a user.
pub(crate) trait UserRules {
    /// Checks what the type cannot say.
    fn check(&self, name: &str) -> Result<(), String>;
}

impl UserRules for UserSpec {
    fn check(&self, name: &str) -> Result<(), String> {
        let legal = |c: char| !c.is_control() && !c.is_whitespace();
        if name.is_empty() || name.chars().count() > LONGEST_NAME || !name.chars().all(legal) {
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
    fn names_are_counted_in_characters() {
        let hash = PasswordHash::dummy(&keyrealm_crypto::SystemRandom).to_string();
        let user = UserSpec {
            email: String::new(),
            display_name: String::new(),
            password_hash: hash,
            roles: Vec::new(),
            enabled: true,
        };
        for good in ["a", "\u{e9}", &"\u{e9}".repeat(100)] {
            assert_eq!(user.check(good), Ok(()), "{good}");
        }
        for bad in ["", "a b", "a\u{a0}b", "a\u{85}", &"\u{e9}".repeat(101)] {
            assert!(user.check(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn roles_give_scopes() {
        let allowed = |role: &str| allowed_scopes(&[role.to_owned()]);
        assert!(allowed("admin").allows(Scope::KeyCreate) && allowed("tenant-admin").allows(Scope::KeyRead));
        assert!(allowed("user").allows(Scope::Decrypt) && !allowed("user").allows(Scope::KeyCreate));
        assert!(allowed("none").allows(Scope::OpenId) && !allowed("none").allows(Scope::Encrypt));
    }
}
