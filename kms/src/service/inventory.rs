//! Which rows a tenant has: those of its state, and no other. They are counted whole once, and carried on from change to
//! change; each row that is read later is looked up. So a row that was put back as it once was, seal and all, is noticed in
//! a running process, too.

use std::collections::HashMap;
use std::sync::Arc;

use keyrealm_barrier::{Head, HeadError, RecordSet, Sealer};
use keyrealm_base::TenantId;
use keyrealm_crypto::sha256;
use keyrealm_store::{Product, TenantAccess, TenantTx};
use moka::future::Cache;

use super::KeyService;
use crate::error::KmsError;
use crate::seal;
use crate::storage::keys::{self, StoredKey};
use crate::storage::versions::{self, StoredVersion};

/// Rows of all tenants that are kept in memory, some 100 bytes each.
const KEPT_ROWS: u64 = 200_000;

/// The rows of a tenant at one state.
#[derive(Clone)]
pub(crate) struct Inventory {
    pub(crate) head: Head,
    /// A row's id, and the hash of its seal.
    rows: HashMap<[u8; 16], [u8; 32]>,
}

/// The inventories of all tenants.
pub(crate) type Inventories = Cache<TenantId, Arc<Inventory>>;

pub(crate) fn inventories() -> Inventories {
    let weight = |_: &TenantId, inventory: &Arc<Inventory>| u32::try_from(inventory.rows.len()).unwrap_or(u32::MAX);
    Cache::builder().max_capacity(KEPT_ROWS).weigher(weight).build()
}

impl KeyService {
    /// A reader of a tenant's tables, with its rows at the state that the reader sees.
    pub(super) async fn reader(&self, tenant: TenantId) -> Result<(Arc<Sealer>, TenantTx, Arc<Inventory>), KmsError> {
        self.tenant_tx(tenant, TenantAccess::Read).await
    }

    pub(super) async fn tenant_tx(
        &self,
        tenant: TenantId,
        access: TenantAccess,
    ) -> Result<(Arc<Sealer>, TenantTx, Arc<Inventory>), KmsError> {
        let sealer = self.sealer(tenant).await?;
        // Before the transaction begins: what that one sees cannot be older.
        let known = self.inventories.get(&tenant).await;
        let mut tx = self.database.tenant(Product::Kms, tenant, access).await?;
        let state = sealer.state(tenant, &mut tx).await?;
        let inventory = match known {
            Some(known) if known.head == state => known,
            Some(known) if known.head.seq > state.seq => {
                let (found, expected) = (state.seq, known.head.seq);
                return Err(HeadError::RolledBack { tenant, found, expected }.into());
            }
            _ => {
                let read = Arc::new(Inventory::read(&sealer, tenant, &mut tx, state).await?);
                self.inventories.insert(tenant, Arc::clone(&read)).await;
                read
            }
        };
        Ok((sealer, tx, inventory))
    }
}

impl Inventory {
    /// Reads all rows and compares them with the state.
    pub(super) async fn read(
        sealer: &Sealer,
        tenant: TenantId,
        tx: &mut TenantTx,
        head: Head,
    ) -> Result<Self, KmsError> {
        let (mut inventory, mut set) = (Self { head, rows: HashMap::new() }, RecordSet::default());
        for (id, sealed) in keys::seals(tx).await? {
            set = sealer.toggle(set, seal::KEYS, id.as_bytes(), &sealed);
            inventory.rows.insert(*id.as_bytes(), sha256(&sealed));
        }
        for (id, sealed) in versions::seals(tx).await? {
            set = sealer.toggle(set, seal::VERSIONS, id.as_bytes(), &sealed);
            inventory.rows.insert(*id.as_bytes(), sha256(&sealed));
        }
        if set == head.set { Ok(inventory) } else { Err(HeadError::Rows(tenant).into()) }
    }

    /// Checks a key's row: it is the newest one, and what it says is what was sealed.
    pub(crate) fn open_key(&self, sealer: &Sealer, stored: &StoredKey) -> Result<(), KmsError> {
        self.find(stored.key.id.as_bytes(), &stored.sealed, || format!("the row of key {}", stored.key.id))?;
        seal::open_key(sealer, stored)
    }

    /// Checks that a version's row is the one that was written.
    pub(crate) fn check_version(&self, stored: &StoredVersion) -> Result<(), KmsError> {
        self.find(stored.id.as_bytes(), &stored.sealed, || format!("the row of key version {}", stored.id))
    }

    /// Checks that a row that was not found is not there.
    pub(crate) fn check_absent(&self, id: &[u8; 16]) -> Result<(), KmsError> {
        if self.rows.contains_key(id) {
            return Err(KmsError::Integrity("a row was taken out".to_owned()));
        }
        Ok(())
    }

    fn find(&self, id: &[u8; 16], sealed: &[u8], what: impl Fn() -> String) -> Result<(), KmsError> {
        if self.rows.get(id) == Some(&sha256(sealed)) {
            return Ok(());
        }
        Err(KmsError::Integrity(format!("{} is not the one that was last written", what())))
    }

    /// Takes the row down as it is written.
    pub(crate) fn put(&mut self, id: &[u8; 16], sealed: &[u8]) {
        self.rows.insert(*id, sha256(sealed));
    }
}
