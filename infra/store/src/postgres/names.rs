//! The names of roles. With those of spaces they are the only identifiers that are put into statements: all of them are
//! made of fixed words and hex digits, or are quoted here.

use keyrealm_base::{DeploymentId, TenantId};

use crate::{Product, Space};

/// The roles of one deployment. Roles are server-wide, schemas are not: hence the suffix.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Roles {
    suffix: String,
    /// The comment by which our own roles and schemas are known.
    pub(crate) marker: String,
}

impl Roles {
    pub(crate) fn of(deployment: DeploymentId) -> Self {
        let text = deployment.to_string();
        // The last digits: the first ones of a UUIDv7 are the time.
        let at = text.len().saturating_sub(8);
        Self { suffix: text.get(at..).unwrap_or_default().to_owned(), marker: format!("keyrealm {deployment}") }
    }

    /// Owns the schema; used for migrations only.
    pub(crate) fn owner(&self, space: Space) -> String {
        format!("{space}_own_{}", self.suffix)
    }

    /// Reads and writes the tables of a tenant.
    pub(crate) fn user(&self, space: Space) -> String {
        format!("{space}_{}", self.suffix)
    }

    /// What a product logs in with.
    pub(crate) fn login(&self, product: Product) -> String {
        format!("{product}_login_{}", self.suffix)
    }

    /// Owns a schema that was moved aside at `moment`, 14 digits.
    pub(crate) fn archive_owner(&self, product: Product, tenant: TenantId, moment: &str) -> String {
        let letter = match product {
            Product::Kms => 'k',
            Product::Identity => 'i',
        };
        format!("zz_{letter}{}_{moment}_{}", tenant.simple(), self.suffix)
    }
}

/// A login's name, which comes from the configuration, as an identifier.
pub(crate) fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_fit_and_end_in_the_deployments_last_digits() {
        let deployment: DeploymentId = "01890a5d-ac96-774b-bcce-b302099a8057".parse().unwrap();
        let tenant: TenantId = "3f2b8c1a-9d4e-4f6a-8b7c-1d2e3f4a5b6c".parse().unwrap();
        let space = Space::Tenant(Product::Identity, tenant);
        let roles = Roles::of(deployment);
        assert_eq!(roles.user(space), "identity_3f2b8c1a9d4e4f6a8b7c1d2e3f4a5b6c_099a8057");
        // PostgreSQL cuts names after 63 bytes without a word.
        assert!(roles.owner(space).len() <= 63);
        assert!(roles.archive_owner(Product::Identity, tenant, "20260101120000").len() <= 63);
        assert_eq!(roles.login(Product::Kms), "kms_login_099a8057");
    }

    #[test]
    fn a_quote_cannot_end_the_identifier() {
        assert_eq!(quoted("a\"; DROP ROLE b; --"), "\"a\"\"; DROP ROLE b; --\"");
    }
}
