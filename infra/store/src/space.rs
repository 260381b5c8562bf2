//! Where tables lie: the control schema, one realm-level schema a product, one schema a tenant and product.

use std::fmt;

use keyrealm_base::TenantId;

/// A product with tables of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Product {
    /// The key management service.
    Kms,
    /// The identity server.
    Identity,
}

impl Product {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Kms, Self::Identity];

    /// The name used in schemas, files and rows.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Kms => "kms",
            Self::Identity => "identity",
        }
    }

    /// The product of this name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|product| product.name() == name)
    }
}

impl fmt::Display for Product {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// One schema (PostgreSQL) or one file (SQLite).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Space {
    /// The tenant registry, shared by the products.
    Control,
    /// A product's tables above its tenants.
    Realm(Product),
    /// A product's tables of one tenant.
    Tenant(Product, TenantId),
}

impl Space {
    /// Whose tables lie there.
    #[must_use]
    pub const fn product(self) -> Option<Product> {
        match self {
            Self::Control => None,
            Self::Realm(product) | Self::Tenant(product, _) => Some(product),
        }
    }
}

impl fmt::Display for Space {
    /// The schema's or file's name: made of fixed words and hex digits only, so it may stand in SQL.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Control => f.write_str("keyrealm"),
            Self::Realm(product) => write!(f, "{product}_realm"),
            Self::Tenant(product, tenant) => write!(f, "{product}_{}", tenant.simple()),
        }
    }
}
