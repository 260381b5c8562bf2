//! Reading keys.

use keyrealm_base::{KeyId, TenantId};
use keyrealm_store::{Product, TenantAccess, TenantTx};

use super::KeyService;
use crate::domain::key::Key;
use crate::error::KmsError;
use crate::seal;
use crate::storage::keys::{self, Filter, StoredKey};
use crate::storage::versions::{self, StoredVersion};

impl KeyService {
    /// One key.
    pub(crate) async fn key(&self, tenant: TenantId, id: KeyId) -> Result<Key, KmsError> {
        let sealer = self.sealer(tenant).await?;
        let stored = keys::by_id(&mut self.reader(tenant).await?, id).await?.ok_or(KmsError::NotFound)?;
        seal::open_key(&sealer, &stored)?;
        Ok(stored.key)
    }

    /// The key of this name.
    pub(crate) async fn key_by_name(&self, tenant: TenantId, name: &str) -> Result<Option<Key>, KmsError> {
        self.sealer(tenant).await?;
        Ok(keys::by_name(&mut self.reader(tenant).await?, name).await?.map(|stored| stored.key))
    }

    /// A page of keys, and how many there are in all.
    pub(crate) async fn keys(&self, tenant: TenantId, filter: &Filter) -> Result<(Vec<Key>, i64), KmsError> {
        let sealer = self.sealer(tenant).await?;
        let (stored, total) = keys::list(&mut self.reader(tenant).await?, filter).await?;
        stored.iter().try_for_each(|stored| seal::open_key(&sealer, stored))?;
        Ok((stored.into_iter().map(|stored| stored.key).collect(), total))
    }

    /// A key with its versions, the newest first, and the epoch at which they were read.
    pub(crate) async fn versions(
        &self,
        tenant: TenantId,
        id: KeyId,
    ) -> Result<(StoredKey, Vec<StoredVersion>, i64), KmsError> {
        let sealer = self.sealer(tenant).await?;
        let mut tx = self.reader(tenant).await?;
        let epoch = tx.epoch().await?;
        let stored = keys::by_id(&mut tx, id).await?.ok_or(KmsError::NotFound)?;
        seal::open_key(&sealer, &stored)?;
        Ok((stored, versions::of_key(&mut tx, id).await?, epoch))
    }

    async fn reader(&self, tenant: TenantId) -> Result<TenantTx, KmsError> {
        Ok(self.database.tenant(Product::Kms, tenant, TenantAccess::Read).await?)
    }
}
