//! Reading keys. Every row is looked up among those of the tenant's state.

use keyrealm_base::{KeyId, TenantId};

use super::KeyService;
use crate::domain::key::Key;
use crate::error::KmsError;
use crate::storage::keys::{self, Filter, StoredKey};
use crate::storage::versions::{self, StoredVersion};

impl KeyService {
    /// One key.
    pub(crate) async fn key(&self, tenant: TenantId, id: KeyId) -> Result<Key, KmsError> {
        let (sealer, mut tx, inventory) = self.reader(tenant).await?;
        let Some(stored) = keys::by_id(&mut tx, id).await? else {
            inventory.check_absent(id.as_bytes())?;
            return Err(KmsError::NotFound);
        };
        inventory.open_key(&sealer, &stored)?;
        Ok(stored.key)
    }

    /// The key of this name.
    pub(crate) async fn key_by_name(&self, tenant: TenantId, name: &str) -> Result<Option<Key>, KmsError> {
        let (sealer, mut tx, inventory) = self.reader(tenant).await?;
        let Some(stored) = keys::by_name(&mut tx, name).await? else { return Ok(None) };
        inventory.open_key(&sealer, &stored)?;
        Ok(Some(stored.key))
    }

    /// A page of keys, and how many there are in all.
    pub(crate) async fn keys(&self, tenant: TenantId, filter: &Filter) -> Result<(Vec<Key>, i64), KmsError> {
        let (sealer, mut tx, inventory) = self.reader(tenant).await?;
        let (stored, total) = keys::list(&mut tx, filter).await?;
        stored.iter().try_for_each(|stored| inventory.open_key(&sealer, stored))?;
        Ok((stored.into_iter().map(|stored| stored.key).collect(), total))
    }

    /// A key with its versions, the newest first, and the epoch at which they were read.
    pub(crate) async fn versions(
        &self,
        tenant: TenantId,
        id: KeyId,
    ) -> Result<(StoredKey, Vec<StoredVersion>, i64), KmsError> {
        let (sealer, mut tx, inventory) = self.reader(tenant).await?;
        let epoch = tx.epoch().await?;
        let Some(stored) = keys::by_id(&mut tx, id).await? else {
            inventory.check_absent(id.as_bytes())?;
            return Err(KmsError::NotFound);
        };
        inventory.open_key(&sealer, &stored)?;
        let versions = versions::of_key(&mut tx, id).await?;
        versions.iter().try_for_each(|version| inventory.check_version(version))?;
        // Each rotation adds one, and none is ever taken out.
        if u32::try_from(versions.len()) != Ok(stored.key.latest_version) {
            return Err(KmsError::Integrity(format!("a version of key {id} is missing")));
        }
        Ok((stored, versions, epoch))
    }
}
