//! A change of a tenant's keys: one transaction that begins with the state of the tenant's head and ends with the next one.

use std::sync::Arc;

use keyrealm_barrier::Sealer;
use keyrealm_base::{KeyId, TenantId};
use keyrealm_crypto::SecretBytes;
use keyrealm_store::{Product, StoreError, TenantAccess, TenantTx};

use super::KeyService;
use super::inventory::{Inventories, Inventory};
use crate::domain::key::Key;
use crate::error::KmsError;
use crate::seal;
use crate::storage::keys::{self, StoredKey};
use crate::storage::versions::{self, StoredVersion};

pub(crate) struct Change {
    tenant: TenantId,
    sealer: Arc<Sealer>,
    pub(crate) tx: TenantTx,
    /// As the rows will be.
    inventory: Inventory,
    inventories: Inventories,
}

impl KeyService {
    pub(crate) async fn change(&self, tenant: TenantId) -> Result<Change, KmsError> {
        let (sealer, mut tx, inventory) = self.tenant_tx(tenant, TenantAccess::Change).await?;
        // A change must not put its seal under a schema that was rolled back. One state ahead of the head is what a crash or
        // a failure between two commits leaves: then the head is written again before anything else.
        if let Some(mend) = sealer.check_head(tenant, &mut tx, inventory.head).await? {
            self.mend_head(mend).await?;
        }
        let mut inventory = Inventory::clone(&inventory);
        inventory.head.seq += 1;
        Ok(Change { tenant, sealer, tx, inventory, inventories: self.inventories.clone() })
    }

    /// Writes a head that is one behind.
    pub(crate) async fn mend_head(&self, mend: keyrealm_store::Sql) -> Result<(), KmsError> {
        let mut realm = self.database.realm(Product::Kms).await?;
        if realm.execute(mend).await? != 1 {
            return Err(StoreError::Overtaken { space: keyrealm_store::Space::Realm(Product::Kms) }.into());
        }
        Ok(realm.commit().await?)
    }
}

impl Change {
    /// The key's row, checked.
    pub(crate) async fn key(&mut self, id: KeyId) -> Result<StoredKey, KmsError> {
        let Some(stored) = keys::by_id(&mut self.tx, id).await? else {
            self.inventory.check_absent(id.as_bytes())?;
            return Err(KmsError::NotFound);
        };
        self.inventory.open_key(&self.sealer, &stored)?;
        Ok(stored)
    }

    /// Writes a key's row, in place of `before` if there is one.
    pub(crate) async fn put_key(&mut self, before: Option<&StoredKey>, key: Key) -> Result<Key, KmsError> {
        let head = &mut self.inventory.head;
        let stored = seal::seal_key(&self.sealer, key, head.seq)?;
        if let Some(before) = before {
            head.set = seal::toggle_key(&self.sealer, head.set, before);
        }
        head.set = seal::toggle_key(&self.sealer, head.set, &stored);
        self.inventory.put(stored.key.id.as_bytes(), &stored.sealed);
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
        let head = &mut self.inventory.head;
        version.state_seq = head.seq;
        let stored = seal::seal_version(&self.sealer, version, algorithm, material)?;
        head.set = seal::toggle_version(&self.sealer, head.set, &stored);
        self.inventory.put(stored.id.as_bytes(), &stored.sealed);
        Ok(versions::insert(&mut self.tx, &stored).await?)
    }

    /// Commits with the tenant's next state.
    pub(crate) async fn commit(mut self) -> Result<(), KmsError> {
        self.sealer.write_state(self.tenant, &mut self.tx, self.inventory.head).await?;
        self.tx.commit().await?;
        self.inventories.insert(self.tenant, Arc::new(self.inventory)).await;
        Ok(())
    }
}
