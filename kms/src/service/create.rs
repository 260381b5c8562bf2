//! Making keys and versions.

use keyrealm_base::{KeyId, TenantId, VersionId};
use keyrealm_registry::ManagedBy;
use keyrealm_store::StoreError;

use super::KeyService;
use crate::domain::algorithm::Algorithm;
use crate::domain::key::{Key, KeyState, Operation, check_description, check_name};
use crate::error::KmsError;
use crate::storage::versions::StoredVersion;

/// A key to be made.
pub(crate) struct NewKey {
    pub(crate) name: String,
    pub(crate) description: String,
    pub(crate) algorithm: String,
    pub(crate) managed_by: ManagedBy,
}

impl KeyService {
    /// Makes a key with its first version, both or none.
    pub(crate) async fn create(&self, tenant: TenantId, new: NewKey) -> Result<Key, KmsError> {
        let field = |field| move |reason| KmsError::Field { field, reason };
        check_name(&new.name).map_err(field("name"))?;
        check_description(&new.description).map_err(field("description"))?;
        let algorithm = Algorithm::from_name(&new.algorithm).ok_or(KmsError::UnknownAlgorithm)?;
        self.sealer(tenant).await?;
        // Before the transaction: making an RSA key takes long, and nobody should wait for it.
        let material = self.generate(algorithm).await?;
        let now = self.clock.now();
        let id = KeyId::new(self.clock.as_ref(), self.random.as_ref());
        let key = Key {
            id,
            name: new.name,
            description: new.description,
            algorithm: new.algorithm,
            state: KeyState::Active,
            managed_by: new.managed_by,
            latest_version: 1,
            created_at: now,
            updated_at: now,
        };
        let mut change = self.change(tenant).await?;
        let key = change.put_key(None, key).await.map_err(taken)?;
        change.put_version(self.version(id, 1), &key.algorithm, &material).await?;
        self.commit(tenant, change).await?;
        Ok(key)
    }

    /// Makes the next version, which is used from now on.
    pub(crate) async fn rotate(&self, tenant: TenantId, id: KeyId) -> Result<Key, KmsError> {
        let before = self.key(tenant, id).await?;
        let algorithm = Algorithm::from_name(&before.algorithm).ok_or(KmsError::UnknownAlgorithm)?;
        let material = self.generate(algorithm).await?;
        let mut change = self.change(tenant).await?;
        let stored = change.key(id).await?;
        if !stored.key.state.allows(Operation::Rotate) {
            return Err(KmsError::State(stored.key.state));
        }
        let version = stored.key.latest_version + 1;
        let key = Key { latest_version: version, updated_at: self.clock.now(), ..stored.key.clone() };
        let key = change.put_key(Some(&stored), key).await?;
        change.put_version(self.version(id, version), &key.algorithm, &material).await?;
        self.commit(tenant, change).await?;
        Ok(key)
    }

    fn version(&self, key_id: KeyId, version: u32) -> StoredVersion {
        StoredVersion {
            id: VersionId::new(self.clock.as_ref(), self.random.as_ref()),
            key_id,
            version,
            created_at: self.clock.now(),
            state_seq: 0,
            sealed: Vec::new(),
        }
    }
}

pub(super) fn taken(error: KmsError) -> KmsError {
    match error {
        KmsError::Store(StoreError::Unique { .. }) => KmsError::NameTaken,
        other => other,
    }
}
