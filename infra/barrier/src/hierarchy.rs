//! Opening and making the levels.

use std::sync::Arc;

use keyrealm_base::{DeploymentId, ObjectId, SharedClock, SharedRandom, TenantId};
use keyrealm_crypto::{CryptoError, SecretBytes, hkdf_sha256};
use keyrealm_store::{Database, Product, Space, TenantAccess, Tx};
use moka::future::Cache;

use crate::head::HeadKey;
use crate::key::{Key, Level};
use crate::record::{self, Home, Record, RecordError};
use crate::tables::{self, StoredKey};
use crate::{BarrierError, UnsealKey};

/// Tenants whose content keys are kept in memory.
const OPEN_TENANTS: u64 = 10_000;

/// The id under which the unseal key seals the root: there is one such key, and it has no row.
const UNSEAL_ID: [u8; 16] = [0; 16];

/// The opened barrier of one product.
pub struct Barrier {
    database: Arc<Database>,
    product: Product,
    deployment: DeploymentId,
    root: Key,
    clock: SharedClock,
    random: SharedRandom,
    open: Cache<Space, Arc<Sealer>>,
}

/// Seals and opens the records of one space.
pub struct Sealer {
    home: Home,
    content: Key,
    pub(crate) head: HeadKey,
    random: SharedRandom,
}

impl Barrier {
    /// Opens the root with the unseal key, or makes it in a new database. The tables of [`tables::REALM_STATEMENTS`] must
    /// be there.
    ///
    /// # Errors
    /// When the unseal key is another one, the root is of another deployment, or the database fails.
    pub async fn unseal(
        database: Arc<Database>,
        product: Product,
        deployment: DeploymentId,
        unseal: &UnsealKey,
        clock: SharedClock,
        random: SharedRandom,
    ) -> Result<Self, BarrierError> {
        let space = Space::Realm(product);
        // The root is opened before its deployment is believed: the copy inside is compared instead, so that the two
        // mistakes (another key, another database) can be told apart.
        let home = Home { deployment: [0; 16], space };
        let mut tx = database.realm_exclusive(product).await?;
        let root = match tables::read(&mut tx, Level::Root).await? {
            Some(stored) => {
                let content =
                    record::open(&home, (&UNSEAL_ID, &unseal.0), &key_record(Level::Root, &stored.id), &stored.sealed)
                        .map_err(|_| BarrierError::WrongUnsealKey(space))?;
                // The root carries a copy of the deployment's id.
                let (copy, secret) =
                    content.expose().split_at_checked(16).ok_or(BarrierError::WrongUnsealKey(space))?;
                if copy != deployment.as_bytes() {
                    return Err(BarrierError::OtherDeployment(space));
                }
                Key { id: stored.id, secret: SecretBytes::copy_of(secret) }
            }
            None => {
                let root = fresh(&clock, &random);
                let content = SecretBytes::new([deployment.as_bytes(), root.secret.expose()].concat());
                let sealed = record::seal(
                    &home,
                    (&UNSEAL_ID, &unseal.0),
                    &key_record(Level::Root, &root.id),
                    content.expose(),
                    random.as_ref(),
                )?;
                tables::insert(&mut tx, Level::Root, &StoredKey { id: root.id, parent: None, sealed }).await?;
                tx.commit().await?;
                tracing::info!(%product, root = %root.id, "root key made");
                root
            }
        };
        Ok(Self { database, product, deployment, root, clock, random, open: Cache::new(OPEN_TENANTS) })
    }

    /// The sealer of a tenant. Its levels are made on first use, in one transaction.
    ///
    /// # Errors
    /// When a key's row fails its check or the database fails.
    pub async fn tenant(&self, tenant: TenantId) -> Result<Arc<Sealer>, BarrierError> {
        self.sealer(Space::Tenant(self.product, tenant)).await
    }

    /// The sealer of the product's realm-level records.
    ///
    /// # Errors
    /// As [`Barrier::tenant`].
    pub async fn realm(&self) -> Result<Arc<Sealer>, BarrierError> {
        self.sealer(Space::Realm(self.product)).await
    }

    /// Forgets a tenant's keys: its schema is going or was made anew.
    pub async fn forget(&self, tenant: TenantId) {
        self.open.invalidate(&Space::Tenant(self.product, tenant)).await;
    }

    async fn sealer(&self, space: Space) -> Result<Arc<Sealer>, BarrierError> {
        if let Some(sealer) = self.open.get(&space).await {
            return Ok(sealer);
        }
        let opened = self.open.try_get_with(space, self.open_levels(space)).await;
        opened.map_err(|error: Arc<BarrierError>| {
            Arc::try_unwrap(error).unwrap_or_else(|e| BarrierError::Shared(e.to_string()))
        })
    }

    async fn open_levels(&self, space: Space) -> Result<Arc<Sealer>, BarrierError> {
        match space {
            // Made once: who comes second waits and reads what the first one made.
            Space::Tenant(product, tenant) => {
                self.levels(space, self.database.tenant(product, tenant, TenantAccess::Change).await?).await
            }
            Space::Realm(_) | Space::Control => {
                self.levels(space, self.database.realm_exclusive(self.product).await?).await
            }
        }
    }

    async fn levels<S>(&self, space: Space, mut tx: Tx<S>) -> Result<Arc<Sealer>, BarrierError> {
        let home = Home { deployment: *self.deployment.as_bytes(), space };
        let mut made = false;
        let mut above = Key { id: self.root.id, secret: SecretBytes::copy_of(self.root.secret.expose()) };
        let mut head = None;
        for level in Level::BELOW_ROOT {
            let key = match tables::read(&mut tx, level).await? {
                Some(stored) => open_key(&home, level, &above, &stored)?,
                None => {
                    made = true;
                    self.make_key(&mut tx, &home, level, &above).await?
                }
            };
            if level == Level::TenantRoot {
                head = Some(HeadKey::derive(&key.secret)?);
            }
            above = key;
        }
        if made {
            tx.commit().await?;
        }
        let head = head.ok_or(CryptoError::InvalidKey("tenant root"))?;
        Ok(Arc::new(Sealer { home, content: above, head, random: Arc::clone(&self.random) }))
    }

    async fn make_key<S>(&self, tx: &mut Tx<S>, home: &Home, level: Level, above: &Key) -> Result<Key, BarrierError> {
        let key = fresh(&self.clock, &self.random);
        let record = key_record(level, &key.id);
        let sealed = record::seal(
            home,
            (above.id.as_bytes(), &above.secret),
            &record,
            key.secret.expose(),
            self.random.as_ref(),
        )?;
        tables::insert(tx, level, &StoredKey { id: key.id, parent: Some(above.id), sealed }).await?;
        Ok(key)
    }
}

fn open_key(home: &Home, level: Level, above: &Key, stored: &StoredKey) -> Result<Key, BarrierError> {
    let refuse = || BarrierError::Integrity { space: home.space, level: level.name(), id: stored.id.to_string() };
    if stored.parent != Some(above.id) {
        return Err(refuse());
    }
    let record = key_record(level, &stored.id);
    let secret =
        record::open(home, (above.id.as_bytes(), &above.secret), &record, &stored.sealed).map_err(|_| refuse())?;
    Ok(Key { id: stored.id, secret })
}

fn key_record(level: Level, id: &ObjectId) -> Record<'_> {
    Record { table: "barrier_keys", row: id.as_bytes(), version: 0, purpose: level.name(), metadata: &[], state_seq: 0 }
}

fn fresh(clock: &SharedClock, random: &SharedRandom) -> Key {
    let id = ObjectId::new(clock.as_ref(), random.as_ref());
    Key { id, secret: SecretBytes::random(32, random.as_ref()) }
}

impl Sealer {
    /// Seals a record.
    ///
    /// # Errors
    /// When the library fails.
    pub fn seal(&self, record: &Record<'_>, plaintext: &SecretBytes) -> Result<Vec<u8>, CryptoError> {
        let key = (self.content.id.as_bytes(), &self.content.secret);
        record::seal(&self.home, key, record, plaintext.expose(), self.random.as_ref())
    }

    /// Opens a record.
    ///
    /// # Errors
    /// When it is not this record, unchanged.
    pub fn open(&self, record: &Record<'_>, sealed: &[u8]) -> Result<SecretBytes, RecordError> {
        record::open(&self.home, (self.content.id.as_bytes(), &self.content.secret), record, sealed)
    }
}

impl HeadKey {
    fn derive(tenant_root: &SecretBytes) -> Result<Self, CryptoError> {
        hkdf_sha256(tenant_root, &[], &[b"keyrealm head v1"], 32).map(Self)
    }
}
