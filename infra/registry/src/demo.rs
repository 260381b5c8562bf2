//! The demo's tenants: the same for every product.

use crate::seed::TENANTS;
use crate::{Registrar, RegistryError, Tenant};

impl Registrar {
    /// The slugs of the demo's tenants.
    pub fn demo_slugs() -> impl Iterator<Item = &'static str> {
        TENANTS.iter().map(|(slug, _)| *slug)
    }

    /// The demo's tenants, made where they are missing.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn ensure_demo(&self) -> Result<Vec<Tenant>, RegistryError> {
        let mut tenants = Vec::new();
        for (slug, name) in TENANTS {
            tenants.push(self.ensure_tenant(slug, name).await?);
        }
        Ok(tenants)
    }

    /// Deletes the demo's tenants with all that they have. The products must not serve them any more.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn delete_demo(&self) -> Result<(), RegistryError> {
        for slug in Self::demo_slugs() {
            self.delete_tenant(slug).await?;
        }
        Ok(())
    }
}
