//! The registrar: the only code that creates tenants and writes what shall exist in them.

use std::sync::Arc;

use keyrealm_base::{DeploymentId, SharedClock, SharedRandom, TenantId};
use keyrealm_crypto::sha256_hex;
use keyrealm_store::{ControlTx, Database, Notice, Passing, Product, Space, Sql, StoreError};
use serde_json::Value;

use crate::tables::{MIGRATIONS, desired, meta, tenants, writable};
use crate::{DesiredEntry, Meta, SlugError, Tenant, check_slug, spec_hash};

/// Why the registrar did nothing.
#[derive(Debug, thiserror::Error)]
pub enum RegistryError {
    /// The slug is none.
    #[error(transparent)]
    Slug(#[from] SlugError),
    /// The database belongs to another realm.
    #[error("this database belongs to the realm with UID `{found}`, not to `{own}`: one realm has one database")]
    OtherRealm {
        /// The UID in `meta`.
        found: String,
        /// The UID of this realm.
        own: String,
    },
    /// The database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Passing for RegistryError {
    fn is_passing(&self) -> bool {
        matches!(self, Self::Store(error) if error.is_passing())
    }
}

/// Writes `meta`, `tenants` and `desired`.
pub struct Registrar {
    database: Arc<Database>,
    clock: SharedClock,
    random: SharedRandom,
}

impl Registrar {
    /// A registrar of this database.
    #[must_use]
    pub fn new(database: Arc<Database>, clock: SharedClock, random: SharedRandom) -> Self {
        Self { database, clock, random }
    }

    /// Makes the control schema and mints the deployment's id, unless both are there. A process that is no registrar reads
    /// them.
    ///
    /// # Errors
    /// When the database fails or belongs to another realm, or the registrar was not here yet.
    pub async fn ensure_deployment(&self, realm_uid: &str) -> Result<Meta, RegistryError> {
        let meta = if self.database.is_registrar() { self.mint(realm_uid).await? } else { self.read().await? };
        self.database.bind(meta.deployment_id)?;
        Ok(meta)
    }

    async fn read(&self) -> Result<Meta, RegistryError> {
        let found = match meta::read(&mut self.database.control_read().await?).await {
            // Somebody has to make the table first.
            Err(StoreError::NotPrepared { .. }) => return Err(StoreError::NoRegistrar.into()),
            found => found?,
        };
        found.ok_or(RegistryError::Store(StoreError::NoRegistrar))
    }

    async fn mint(&self, realm_uid: &str) -> Result<Meta, RegistryError> {
        self.database.migrate(Space::Control, MIGRATIONS).await?;
        self.database.grant_control(writable).await?;
        let mut tx = self.database.registry().await?;
        let deployment_id = DeploymentId::new(self.clock.as_ref(), self.random.as_ref());
        let own = Meta { deployment_id, realm_uid: realm_uid.to_owned() };
        meta::insert(&mut tx, &own).await?;
        let found = meta::read(&mut tx).await?.unwrap_or_else(|| own.clone());
        if found.realm_uid != own.realm_uid {
            return Err(RegistryError::OtherRealm { found: found.realm_uid, own: own.realm_uid });
        }
        tx.commit().await?;
        Ok(found)
    }

    /// The tenant of this slug. Who inserts first draws the id, everybody else reads it.
    ///
    /// # Errors
    /// When the slug is none or the database fails.
    pub async fn ensure_tenant(&self, slug: &str, display_name: &str) -> Result<Tenant, RegistryError> {
        check_slug(slug)?;
        let mut tx = self.database.registry().await?;
        let id = TenantId::new(self.random.as_ref());
        let own = Tenant { id, slug: slug.to_owned(), display_name: display_name.to_owned(), enabled: true };
        tenants::insert(&mut tx, &own, self.clock.now()).await?;
        let found = tenants::by_slug(&mut tx, slug).await?.unwrap_or(own);
        announce(&mut tx);
        tx.commit().await?;
        Ok(found)
    }

    /// Declares objects of a tenant; the products make them. Unchanged ones keep their generation.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn declare(
        &self,
        tenant: TenantId,
        product: Product,
        entries: impl IntoIterator<Item = (&'static str, String, Value)>,
    ) -> Result<(), RegistryError> {
        let mut tx = self.database.registry().await?;
        for (kind, name, spec) in entries {
            let spec_hash = spec_hash(&spec, sha256_hex);
            let entry = DesiredEntry {
                tenant,
                product: product.name().to_owned(),
                kind: kind.to_owned(),
                name,
                spec,
                spec_hash,
                generation: 1,
                deleted_at: None,
            };
            desired::upsert(&mut tx, &entry).await?;
        }
        tx.notify(Notice::Desired(product));
        tx.commit().await?;
        Ok(())
    }

    /// Deletes a tenant with everything that it has: disabled first, so that nobody serves it any more, then its keys, then
    /// all else.
    ///
    /// # Errors
    /// When the database fails; the row stays until all else is gone, so that it can be tried again.
    pub async fn delete_tenant(&self, slug: &str) -> Result<Option<TenantId>, RegistryError> {
        let mut tx = self.database.registry().await?;
        let Some(tenant) = tenants::by_slug(&mut tx, slug).await? else { return Ok(None) };
        tenants::disable(&mut tx, tenant.id).await?;
        announce(&mut tx);
        tx.commit().await?;
        for product in [Product::Kms, Product::Identity] {
            self.destroy_keys(product, tenant.id).await?;
        }
        for product in [Product::Kms, Product::Identity] {
            self.database.drop_tenant(product, tenant.id).await?;
        }
        let mut tx = self.database.registry().await?;
        desired::forget(&mut tx, tenant.id).await?;
        tenants::delete(&mut tx, tenant.id).await?;
        announce(&mut tx);
        tx.commit().await?;
        Ok(Some(tenant.id))
    }

    /// Destroys the tenant root key with all below it, and the head: from then on nobody opens the tenant's records, wherever
    /// there are copies of them. The tables are the barrier's; a product that seals nothing of a tenant has none.
    async fn destroy_keys(&self, product: Product, tenant: TenantId) -> Result<(), StoreError> {
        let keys = Sql::new("DELETE FROM {s}barrier_keys");
        self.database.erase(Space::Tenant(product, tenant), "barrier_keys", keys).await?;
        let head = Sql::new("DELETE FROM {s}heads WHERE tenant = $1").bind(tenant);
        self.database.erase(Space::Realm(product), "heads", head).await
    }
}

fn announce(tx: &mut ControlTx) {
    tx.notify(Notice::Desired(Product::Kms));
    tx.notify(Notice::Desired(Product::Identity));
}
