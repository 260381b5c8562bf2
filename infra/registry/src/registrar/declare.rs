//! Declaring what shall exist in a tenant.

use std::collections::HashMap;

use keyrealm_base::TenantId;
use keyrealm_crypto::sha256_hex;
use keyrealm_store::{ControlTx, Product};
use serde_json::Value;

use super::{Registrar, RegistryError, change};
use crate::tables::{desired, overlaps, tenants};
use crate::{DesiredEntry, OnRemove, Overlap, spec_hash};

/// An object that shall exist.
#[derive(Debug, Clone, PartialEq)]
pub struct Declared {
    /// Whose object.
    pub product: Product,
    /// `key`, `client`, `user`.
    pub kind: String,
    /// Unique for product and kind.
    pub name: String,
    /// One of [`crate::specs`].
    pub spec: Value,
    /// What becomes of the object when it is not declared any more.
    pub on_remove: OnRemove,
}

impl Declared {
    fn entry(self, tenant: TenantId) -> DesiredEntry {
        DesiredEntry {
            tenant,
            product: self.product.name().to_owned(),
            kind: self.kind,
            name: self.name,
            spec_hash: spec_hash(&self.spec, sha256_hex),
            spec: self.spec,
            generation: 1,
            deleted_at: None,
            on_remove: self.on_remove,
        }
    }
}

impl Registrar {
    /// Declares objects of a tenant beside those that are declared already; the products make them. Unchanged ones keep their
    /// generation.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn declare<Kind: Into<String>>(
        &self,
        tenant: TenantId,
        product: Product,
        entries: impl IntoIterator<Item = (Kind, String, Value)>,
    ) -> Result<(), RegistryError> {
        let declared = entries.into_iter().map(|(kind, name, spec)| {
            let on_remove = OnRemove::default();
            Declared { product, kind: kind.into(), name, spec, on_remove }.entry(tenant)
        });
        let entries: Vec<_> = declared.collect();
        let mut tx = self.database.registry().await?;
        for entry in &entries {
            desired::upsert(&mut tx, entry).await?;
        }
        change(&mut tx, &[product]).await?;
        Ok(tx.commit().await?)
    }

    /// Declares all objects of a tenant: what is not among them is taken away. The answer is the generation that the products
    /// must have seen for it, or `None` when all is as it was: then nothing is written and nobody told. Ends that are noted stay.
    ///
    /// # Errors
    /// When there is no such tenant, a key shall be deleted with its entry, or the database fails.
    pub async fn declare_all(&self, tenant: TenantId, entries: Vec<Declared>) -> Result<Option<i64>, RegistryError> {
        self.declare_with(tenant, entries, None).await
    }

    /// As [`Registrar::declare_all`], and notes in the same transaction when former secrets among the entries end: these, by
    /// the client's name, and no others. An end alone tells nobody.
    ///
    /// # Errors
    /// As [`Registrar::declare_all`].
    pub async fn declare_until(
        &self,
        tenant: TenantId,
        entries: Vec<Declared>,
        ends: &[Overlap],
    ) -> Result<Option<i64>, RegistryError> {
        self.declare_with(tenant, entries, Some(ends)).await
    }

    async fn declare_with(
        &self,
        tenant: TenantId,
        entries: Vec<Declared>,
        ends: Option<&[Overlap]>,
    ) -> Result<Option<i64>, RegistryError> {
        if let Some(key) = entries.iter().find(|e| e.product == Product::Kms && e.on_remove == OnRemove::Delete) {
            return Err(RegistryError::KeyDelete(key.name.clone()));
        }
        let wanted: Vec<DesiredEntry> = entries.into_iter().map(|entry| entry.entry(tenant)).collect();
        if Plan::read(&mut self.database.control_read().await?, tenant, &wanted, ends).await?.is_empty() {
            return Ok(None);
        }
        let mut tx = self.database.registry().await?;
        let plan = Plan::read(&mut tx, tenant, &wanted, ends).await?;
        if plan.is_empty() {
            return Ok(None);
        }
        for entry in &plan.put {
            desired::upsert(&mut tx, entry).await?;
        }
        for entry in &plan.withdraw {
            desired::withdraw(&mut tx, entry, self.clock.now()).await?;
        }
        if let Some(ends) = ends.filter(|_| plan.ends) {
            overlaps::replace(&mut tx, tenant, ends).await?;
        }
        let products = plan.products();
        let generation = if products.is_empty() { None } else { Some(change(&mut tx, &products).await?) };
        tx.commit().await?;
        Ok(generation)
    }
}

/// What is to be written.
struct Plan {
    put: Vec<DesiredEntry>,
    withdraw: Vec<DesiredEntry>,
    /// Whether other ends are noted.
    ends: bool,
}

impl Plan {
    async fn read(
        tx: &mut ControlTx,
        tenant: TenantId,
        wanted: &[DesiredEntry],
        ends: Option<&[Overlap]>,
    ) -> Result<Self, RegistryError> {
        if tenants::by_id(tx, tenant).await?.is_none() {
            return Err(RegistryError::NoTenant(tenant));
        }
        let ends = match ends {
            Some(ends) => overlaps::of_tenant(tx, tenant).await? != ends,
            None => false,
        };
        Ok(Self::of(desired::of_tenant(tx, tenant).await?, wanted, ends))
    }

    fn of(found: Vec<DesiredEntry>, wanted: &[DesiredEntry], ends: bool) -> Self {
        let mut found: HashMap<_, _> = found.into_iter().map(|entry| (place(&entry), entry)).collect();
        let mut put = Vec::new();
        for entry in wanted {
            let same = found.remove(&place(entry)).is_some_and(|before| {
                before.deleted_at.is_none()
                    && before.spec_hash == entry.spec_hash
                    && before.on_remove == entry.on_remove
            });
            if !same {
                put.push(entry.clone());
            }
        }
        let withdraw = found.into_values().filter(|entry| entry.deleted_at.is_none()).collect();
        Self { put, withdraw, ends }
    }

    fn is_empty(&self) -> bool {
        self.put.is_empty() && self.withdraw.is_empty() && !self.ends
    }

    fn products(&self) -> Vec<Product> {
        let changed =
            |product: &Product| self.put.iter().chain(&self.withdraw).any(|entry| entry.product == product.name());
        Product::ALL.into_iter().filter(changed).collect()
    }
}

fn place(entry: &DesiredEntry) -> (String, String, String) {
    (entry.product.clone(), entry.kind.clone(), entry.name.clone())
}
