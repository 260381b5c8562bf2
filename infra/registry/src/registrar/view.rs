//! What the operator reads: how the database and the products stand.

use std::collections::HashMap;

use keyrealm_base::TenantId;
use keyrealm_store::{Drift, Product, Space, StoreError};

use super::tenant::spaces;
use super::{Registrar, RegistryError};
use crate::Instance;
use crate::tables::tenants;

/// The versions of a tenant's tables; 0 where there are none.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Versions {
    /// Of the KMS.
    pub kms: i64,
    /// Of Identity.
    pub identity: i64,
}

impl Versions {
    /// Whether both products made their tables, and every one of these processes finds those that it knows.
    #[must_use]
    pub fn is_migrated(self, fresh: &[Instance]) -> bool {
        let known = |product: Product| fresh.iter().filter(move |instance| instance.product == product.name());
        let newest = |product| known(product).map(|instance| instance.schema_version).max().unwrap_or(1).max(1);
        self.kms >= newest(Product::Kms) && self.identity >= newest(Product::Identity)
    }
}

/// Whether every one of these processes has taken in all that the registry held at this generation.
#[must_use]
pub fn all_seen(fresh: &[Instance], generation: i64) -> bool {
    fresh.iter().all(|instance| instance.seen >= generation)
}

impl Registrar {
    /// Whether the products' logins are there: no tenant can be made before. A role of such a name that is somebody else's is
    /// none of them. Reads only.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn has_logins(&self) -> Result<bool, RegistryError> {
        let mut tx = self.database.control_read().await?;
        for product in Product::ALL {
            match self.database.has_login(&mut tx, product).await {
                Ok(true) => {}
                Ok(false) | Err(StoreError::Foreign { .. }) => return Ok(false),
                Err(error) => return Err(error.into()),
            }
        }
        Ok(true)
    }

    /// What somebody changed of a tenant's schemas, roles and rights. Reads only.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn tenant_drift(&self, tenant: TenantId) -> Result<Vec<Drift>, RegistryError> {
        Ok(self.database.drift(&mut self.database.control_read().await?, &spaces(tenant)).await?)
    }

    /// The same of the realm-level schemas and of all tenants, in one query.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn drift(&self) -> Result<Vec<Drift>, RegistryError> {
        let mut tx = self.database.control_read().await?;
        let mut all: Vec<Space> = Product::ALL.map(Space::Realm).to_vec();
        all.extend(tenants::list(&mut tx).await?.iter().flat_map(|tenant| spaces(tenant.id)));
        Ok(self.database.drift(&mut tx, &all).await?)
    }

    /// The versions of all tenants' tables.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn versions(&self) -> Result<HashMap<TenantId, Versions>, RegistryError> {
        let mut tx = self.database.control_read().await?;
        let ids: Vec<TenantId> = tenants::list(&mut tx).await?.iter().map(|tenant| tenant.id).collect();
        let all: Vec<Space> = ids.iter().flat_map(|id| spaces(*id)).collect();
        let found = self.database.schema_versions(&mut tx, &all).await?;
        let of = |product, id| found.get(&Space::Tenant(product, id)).copied().unwrap_or_default();
        let versions = |id: TenantId| Versions { kms: of(Product::Kms, id), identity: of(Product::Identity, id) };
        Ok(ids.into_iter().map(|id| (id, versions(id))).collect())
    }
}

#[cfg(test)]
mod tests {
    use keyrealm_base::{InstanceId, SystemClock, Timestamp};
    use keyrealm_crypto::SystemRandom;

    use super::*;

    fn instance(product: &str, schema_version: i64, seen: i64) -> Instance {
        Instance {
            id: InstanceId::new(&SystemClock, &SystemRandom),
            product: product.to_owned(),
            ready: true,
            chain_sha256: String::new(),
            bundle_sha256: String::new(),
            schema_version,
            heartbeat: Timestamp::from_millis(0),
            seen,
        }
    }

    #[test]
    fn a_tenant_is_migrated_when_both_products_find_their_tables() {
        let fresh = [instance("kms", 2, 7), instance("kms", 3, 9), instance("identity", 4, 8)];
        let migrated = |kms, identity| Versions { kms, identity }.is_migrated(&fresh);
        assert!(migrated(3, 4) && migrated(3, 5));
        assert!(!migrated(2, 4) && !migrated(3, 3) && !migrated(3, 0));
        assert!(!Versions::default().is_migrated(&[]), "without tables nobody is");
        assert!(all_seen(&fresh, 7) && !all_seen(&fresh, 8));
    }
}
