//! The end of a tenant: kept for later, moved aside, or destroyed.
//!
//! Destroying is disable, then the keys, then all else: whoever calls waits in between until every process has seen that the
//! tenant is disabled. Each step can be repeated, and goes on where it was ended.

use keyrealm_base::{TenantId, Timestamp};
use keyrealm_store::{ControlTx, Product, Space, Sql, StoreError};

use super::tenant::owned;
use super::{Registrar, RegistryError, change};
use crate::Tenant;
use crate::tables::{archives, desired, meta, overlaps, tenants};

impl Registrar {
    /// From now on nobody serves the tenant; the answer is the generation that every process must have seen for that.
    ///
    /// # Errors
    /// When the tenant is not this owner's or the database fails.
    pub async fn disable_tenant(&self, id: TenantId, owner: &str) -> Result<i64, RegistryError> {
        let mut tx = self.database.registry().await?;
        let tenant = owned(&mut tx, id, owner).await?;
        self.disable(tx, tenant, None).await
    }

    /// Keeps a tenant whose resource goes: it is disabled, nobody's, and can be adopted; its home stays. The answer is the generation that
    /// every process must have seen until it is not served any more.
    ///
    /// # Errors
    /// When the tenant is not this owner's or the database fails.
    pub async fn retain_tenant(&self, id: TenantId, owner: &str) -> Result<i64, RegistryError> {
        let mut tx = self.database.registry().await?;
        let tenant = tenants::by_id(&mut tx, id).await?.ok_or(RegistryError::NoTenant(id))?;
        if tenant.is_retained() {
            return Ok(tenant.changed);
        }
        if tenant.owner != owner {
            return Err(RegistryError::NotOwner { id, owner: owner.to_owned() });
        }
        self.disable(tx, tenant, Some(String::new())).await
    }

    async fn disable(
        &self,
        mut tx: ControlTx,
        mut tenant: Tenant,
        owner: Option<String>,
    ) -> Result<i64, RegistryError> {
        let owner = owner.unwrap_or_else(|| tenant.owner.clone());
        if !tenant.enabled && tenant.owner == owner {
            return Ok(tenant.changed);
        }
        if tenant.enabled {
            tenant.changed = change(&mut tx, &Product::ALL).await?;
        }
        (tenant.enabled, tenant.owner) = (false, owner);
        tenants::update(&mut tx, &tenant).await?;
        tx.commit().await?;
        Ok(tenant.changed)
    }

    /// Gives a tenant that is nobody's to a resource, whose home (`namespace/name`) becomes the tenant's; it is served again.
    /// Whether that resource may have it, the caller has asked the former home.
    ///
    /// # Errors
    /// When it is another owner's, or the owner has another tenant, or the database fails.
    pub async fn adopt_tenant(&self, id: TenantId, owner: &str, home: &str) -> Result<Tenant, RegistryError> {
        let mut tx = self.database.registry().await?;
        let mut tenant = tenants::by_id(&mut tx, id).await?.ok_or(RegistryError::NoTenant(id))?;
        if owner.is_empty() {
            return Err(RegistryError::NoOwner(tenant.slug));
        }
        if tenant.owner == owner {
            return Ok(tenant);
        }
        if !tenant.owner.is_empty() {
            return Err(RegistryError::NotOwner { id, owner: owner.to_owned() });
        }
        if let Some(other) = tenants::by_owner(&mut tx, owner).await? {
            return Err(RegistryError::OwnerHasTenant { slug: other.slug, id: other.id });
        }
        (tenant.enabled, tenant.owner, tenant.home) = (true, owner.to_owned(), home.to_owned());
        tenant.changed = change(&mut tx, &Product::ALL).await?;
        tenants::update(&mut tx, &tenant).await?;
        tx.commit().await?;
        Ok(tenant)
    }

    /// Moves the tenant's schemas aside, out of the products' reach, and forgets the tenant: its slug is free again. The
    /// answer is the schemas' new names; empty when there is no such tenant any more.
    ///
    /// # Errors
    /// When the tenant is not this owner's, a schema is not ours, or the database fails.
    pub async fn archive_tenant(
        &self,
        id: TenantId,
        owner: &str,
        now: Timestamp,
    ) -> Result<Vec<String>, RegistryError> {
        let mut tx = self.database.registry().await?;
        let tenant = match owned(&mut tx, id, owner).await {
            Err(RegistryError::NoTenant(_)) => return Ok(Vec::new()),
            tenant => tenant?,
        };
        // 2026-01-31T12:00:00Z without its marks.
        let moment: String = now.to_string().chars().filter(char::is_ascii_digit).take(14).collect();
        let mut names = Vec::new();
        for product in Product::ALL {
            if let Some(name) = self.database.archive(&mut tx, product, id, &moment).await? {
                archives::insert(&mut tx, &name, product, (id, &tenant.slug), now).await?;
                names.push(name);
            }
        }
        forget(&mut tx, id).await?;
        tx.commit().await?;
        Ok(names)
    }

    /// Drops the schemas that were moved aside before `older_than`; the answer is their names.
    ///
    /// # Errors
    /// When the database fails, or a schema is not ours.
    pub async fn purge_archives(&self, older_than: Timestamp) -> Result<Vec<String>, RegistryError> {
        let all = archives::list(&mut self.database.control_read().await?).await?;
        let mut dropped = Vec::new();
        for archive in all.into_iter().filter(|archive| archive.archived_at < older_than) {
            let product = Product::from_name(&archive.product).ok_or(StoreError::Column("product"))?;
            let mut tx = self.database.registry().await?;
            self.database.drop_archive(&mut tx, &archive.name).await?;
            archives::delete(&mut tx, &archive.name).await?;
            let anew = tenants::by_id(&mut tx, archive.tenant).await?.is_some();
            tx.commit().await?;
            if !anew {
                self.destroy_head(product, archive.tenant).await?;
            }
            dropped.push(archive.name);
        }
        Ok(dropped)
    }

    /// Destroys a disabled tenant: first its keys, then all else that carries our mark. A tenant that is gone already is no
    /// error.
    ///
    /// # Errors
    /// When the tenant is enabled or not this owner's, a schema is not ours, or the database fails; the row stays until all
    /// else is gone, so that it can be tried again.
    pub async fn destroy_and_drop(&self, id: TenantId, owner: &str) -> Result<(), RegistryError> {
        let found = match owned(&mut self.database.control_read().await?, id, owner).await {
            Err(RegistryError::NoTenant(_)) => return Ok(()),
            found => found?,
        };
        if found.enabled {
            return Err(RegistryError::StillEnabled(id));
        }
        for product in Product::ALL {
            let keys = Sql::new("DELETE FROM {s}barrier_keys");
            self.database.erase(Space::Tenant(product, id), "barrier_keys", keys).await?;
            self.destroy_head(product, id).await?;
        }
        for product in Product::ALL {
            self.database.drop_tenant(product, id).await?;
        }
        let mut tx = self.database.registry().await?;
        forget(&mut tx, id).await?;
        tx.commit().await?;
        Ok(())
    }

    /// Deletes a tenant that no resource declares, by its slug, all steps at once: the products must not serve it any more.
    ///
    /// # Errors
    /// As [`Registrar::destroy_and_drop`].
    pub async fn delete_tenant(&self, slug: &str) -> Result<Option<TenantId>, RegistryError> {
        let mut tx = self.database.registry().await?;
        let Some(tenant) = tenants::by_slug(&mut tx, slug).await? else { return Ok(None) };
        drop(tx);
        self.disable_tenant(tenant.id, &tenant.owner).await?;
        self.destroy_and_drop(tenant.id, &tenant.owner).await?;
        Ok(Some(tenant.id))
    }

    /// With the tenant root key go all below it, and with its head the last trace of its seals: from then on nobody opens the
    /// tenant's records, wherever there are copies of them. The tables are the barrier's; a product that seals nothing of a
    /// tenant has none.
    async fn destroy_head(&self, product: Product, tenant: TenantId) -> Result<(), StoreError> {
        let head = Sql::new("DELETE FROM {s}heads WHERE tenant = $1").bind(tenant);
        self.database.erase(Space::Realm(product), "heads", head).await
    }

    /// The registry's generation.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn generation(&self) -> Result<i64, RegistryError> {
        Ok(meta::generation(&mut self.database.control_read().await?).await?)
    }
}

async fn forget(tx: &mut ControlTx, id: TenantId) -> Result<(), StoreError> {
    desired::forget(tx, id).await?;
    overlaps::forget(tx, id).await?;
    tenants::delete(tx, id).await?;
    change(tx, &Product::ALL).await.map(drop)
}
