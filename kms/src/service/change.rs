//! A change of a tenant's keys: one transaction that ends with the tenant's next signed state, then its head.

use std::sync::Arc;

use keyrealm_barrier::{Head, Sealer};
use keyrealm_base::{KeyId, TenantId};
use keyrealm_crypto::SecretBytes;
use keyrealm_store::{Product, TenantAccess, TenantTx};

use super::KeyService;
use crate::domain::key::Key;
use crate::error::KmsError;
use crate::seal;
use crate::storage::keys::{self, StoredKey};
use crate::storage::versions::{self, StoredVersion};

pub(crate) struct Change {
    tenant: TenantId,
    sealer: Arc<Sealer>,
    pub(crate) tx: TenantTx,
    head: Head,
}

impl KeyService {
    pub(crate) async fn change(&self, tenant: TenantId) -> Result<Change, KmsError> {
        let sealer = self.sealer(tenant).await?;
        let mut tx = self.database.tenant(Product::Kms, tenant, TenantAccess::Change).await?;
        let state = sealer.state(tenant, &mut tx).await?;
        let head = Head { seq: state.seq + 1, set: state.set };
        Ok(Change { tenant, sealer, tx, head })
    }
}

impl Change {
    /// The key's row, checked.
    pub(crate) async fn key(&mut self, id: KeyId) -> Result<StoredKey, KmsError> {
        let stored = keys::by_id(&mut self.tx, id).await?.ok_or(KmsError::NotFound)?;
        seal::open_key(&self.sealer, &stored)?;
        Ok(stored)
    }

    /// Writes a key's row, in place of `before` if there is one.
    pub(crate) async fn put_key(&mut self, before: Option<&StoredKey>, key: Key) -> Result<Key, KmsError> {
        let stored = seal::seal_key(&self.sealer, key, self.head.seq)?;
        if let Some(before) = before {
            self.head.set = seal::toggle_key(&self.sealer, self.head.set, before);
        }
        self.head.set = seal::toggle_key(&self.sealer, self.head.set, &stored);
        keys::upsert(&mut self.tx, &stored).await?;
        Ok(stored.key)
    }

    /// Writes a new version's row.
    pub(crate) async fn put_version(
        &mut self,
        mut version: StoredVersion,
        algorithm: &str,
        material: &SecretBytes,
    ) -> Result<(), KmsError> {
        version.state_seq = self.head.seq;
        let stored = seal::seal_version(&self.sealer, version, algorithm, material)?;
        self.head.set = seal::toggle_version(&self.sealer, self.head.set, &stored);
        Ok(versions::insert(&mut self.tx, &stored).await?)
    }

    /// Commits with the tenant's next state.
    pub(crate) async fn commit(mut self) -> Result<(), KmsError> {
        self.sealer.write_state(self.tenant, &mut self.tx, self.head).await?;
        Ok(self.tx.commit().await?)
    }
}
