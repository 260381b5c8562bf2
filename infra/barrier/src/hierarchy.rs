//! Opening and making the levels.

use std::sync::Arc;

use keyrealm_base::{DeploymentId, ObjectId, SharedClock, SharedRandom, TenantId};
use keyrealm_crypto::{CryptoError, SecretBytes};
use keyrealm_store::{Database, Product, Space, TenantAccess, Tx};
use moka::future::Cache;

use crate::head::HeadKey;
use crate::key::{Key, Keyring, Level};
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
    roots: Keyring,
    clock: SharedClock,
    random: SharedRandom,
    open: Cache<Space, Arc<Sealer>>,
}

/// Seals and opens the records of one space.
pub struct Sealer {
    pub(crate) home: Home,
    content: Keyring,
    pub(crate) head: HeadKey,
    random: SharedRandom,
}

impl Barrier {
    /// Opens the root with the unseal key, or makes it in a new database. The tables of [`tables::REALM_STATEMENTS`] must
    /// be there, and no tenant's yet where the root is not.
    ///
    /// # Errors
    /// When the unseal key is another one, the root has gone or is of another deployment, or the database fails.
    pub async fn unseal(
        database: Arc<Database>,
        product: Product,
        deployment: DeploymentId,
        unseal: &UnsealKey,
        clock: SharedClock,
        random: SharedRandom,
    ) -> Result<Self, BarrierError> {
        let space = Space::Realm(product);
        let mut tx = database.realm_exclusive(product).await?;
        let stored = tables::all(&mut tx).await?;
        let roots = match open_roots(space, deployment, unseal, &stored)? {
            Some(roots) => roots,
            // A new root over old data would lose it without a word.
            None if !stored.is_empty() || database.has_tenants(product).await? => {
                return Err(BarrierError::RootMissing(space));
            }
            None => {
                let root = fresh(&clock, &random, 1);
                tables::insert(&mut tx, &seal_root(space, deployment, unseal, &root, &random)?).await?;
                tx.commit().await?;
                tracing::info!(%product, root = %root.id, "root key made");
                Keyring::new(root)
            }
        };
        Ok(Self { database, product, deployment, roots, clock, random, open: Cache::new(OPEN_TENANTS) })
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

    /// Makes a new key of a level (`tenant-root`, `intermediate`, `content`), which is the active one from then on; what was
    /// sealed before opens as before. The step that a rotation will be made of, and no rotation by itself: other processes
    /// go on with what they have opened.
    ///
    /// # Errors
    /// As [`Barrier::tenant`], or when there is no such level.
    #[doc(hidden)]
    pub async fn add_key(&self, tenant: TenantId, level: &str) -> Result<(), BarrierError> {
        let level = Level::from_name(level).ok_or(CryptoError::InvalidKey("level"))?;
        let space = Space::Tenant(self.product, tenant);
        let home = self.home(space);
        let mut tx = self.database.tenant(self.product, tenant, TenantAccess::Change).await?;
        let stored = tables::all(&mut tx).await?;
        let missing = || CryptoError::InvalidKey("level");
        let tenant_roots = open_level(&home, Level::TenantRoot, &self.roots, &stored)?.ok_or_else(missing)?;
        let intermediates = open_level(&home, Level::Intermediate, &tenant_roots, &stored)?.ok_or_else(missing)?;
        let above = match level {
            Level::TenantRoot => &self.roots,
            Level::Intermediate => &tenant_roots,
            Level::Content => &intermediates,
            // The root has its own way; a new head key needs all records counted anew.
            Level::Root | Level::Head => return Err(missing().into()),
        };
        let version = stored.iter().filter(|key| key.level == level).map(|key| key.version).max().unwrap_or(0) + 1;
        let key = fresh(&self.clock, &self.random, version);
        tables::insert(&mut tx, &seal_key(&home, level, &above.active, &key, &self.random)?).await?;
        tx.commit().await?;
        self.open.invalidate(&space).await;
        Ok(())
    }

    /// As [`Barrier::add_key`], of the root. Who unseals next has it.
    ///
    /// # Errors
    /// When the database or the library fails.
    #[doc(hidden)]
    pub async fn add_root(&self, unseal: &UnsealKey) -> Result<(), BarrierError> {
        let mut tx = self.database.realm_exclusive(self.product).await?;
        let root = fresh(&self.clock, &self.random, self.roots.active.version + 1);
        let stored = seal_root(Space::Realm(self.product), self.deployment, unseal, &root, &self.random)?;
        tables::insert(&mut tx, &stored).await?;
        Ok(tx.commit().await?)
    }

    async fn sealer(&self, space: Space) -> Result<Arc<Sealer>, BarrierError> {
        if let Some(sealer) = self.open.get(&space).await {
            return Ok(sealer);
        }
        self.open.try_get_with(space, self.open_levels(space)).await.map_err(Arc::unwrap_or_clone)
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
        let home = self.home(space);
        let stored = tables::all(&mut tx).await?;
        let mut new = Vec::new();
        let mut level = |level, above: &Keyring| match open_level(&home, level, above, &stored)? {
            Some(keys) => Ok::<_, BarrierError>(keys),
            None => {
                let key = fresh(&self.clock, &self.random, 1);
                new.push(seal_key(&home, level, &above.active, &key, &self.random)?);
                Ok(Keyring::new(key))
            }
        };
        let tenant_roots = level(Level::TenantRoot, &self.roots)?;
        let head = level(Level::Head, &tenant_roots)?;
        let intermediates = level(Level::Intermediate, &tenant_roots)?;
        let content = level(Level::Content, &intermediates)?;
        // All of them or none: some that are missing were taken out.
        if let Some(missing) = new.first().filter(|_| stored.iter().any(|key| key.level != Level::Root)) {
            let (level, id) = (missing.level.name(), "that is missing".to_owned());
            return Err(BarrierError::Integrity { space, level, id });
        }
        for key in &new {
            tables::insert(&mut tx, key).await?;
        }
        if !new.is_empty() {
            tx.commit().await?;
        }
        Ok(Arc::new(Sealer { home, content, head: HeadKey::new(head.active)?, random: Arc::clone(&self.random) }))
    }

    fn home(&self, space: Space) -> Home {
        Home { deployment: *self.deployment.as_bytes(), space }
    }
}

/// The root is opened before its deployment is believed: the copy inside is compared instead, so that the two mistakes
/// (another key, another database) can be told apart.
fn root_home(space: Space) -> Home {
    Home { deployment: [0; 16], space }
}

fn seal_root(
    space: Space,
    deployment: DeploymentId,
    unseal: &UnsealKey,
    root: &Key,
    random: &SharedRandom,
) -> Result<StoredKey, CryptoError> {
    // The root carries a copy of the deployment's id.
    let content = SecretBytes::new([deployment.as_bytes(), root.secret.expose()].concat());
    let record = key_record(Level::Root, &root.id, root.version);
    let key = (&UNSEAL_ID, &unseal.0);
    let sealed = record::seal(&root_home(space), key, &record, content.expose(), random.as_ref())?;
    Ok(StoredKey { id: root.id, level: Level::Root, version: root.version, parent: None, sealed })
}

fn open_roots(
    space: Space,
    deployment: DeploymentId,
    unseal: &UnsealKey,
    stored: &[StoredKey],
) -> Result<Option<Keyring>, BarrierError> {
    let mut roots = Vec::new();
    for stored in stored.iter().filter(|stored| stored.level == Level::Root) {
        let record = key_record(Level::Root, &stored.id, stored.version);
        let content = record::open(&root_home(space), (&UNSEAL_ID, &unseal.0), &record, &stored.sealed)
            .map_err(|_| BarrierError::WrongUnsealKey(space))?;
        let (copy, secret) = content.expose().split_at_checked(16).ok_or(BarrierError::WrongUnsealKey(space))?;
        if copy != deployment.as_bytes() {
            return Err(BarrierError::OtherDeployment(space));
        }
        roots.push(Key { id: stored.id, version: stored.version, secret: SecretBytes::copy_of(secret) });
    }
    Ok(Keyring::of(roots))
}

fn seal_key(
    home: &Home,
    level: Level,
    above: &Key,
    key: &Key,
    random: &SharedRandom,
) -> Result<StoredKey, CryptoError> {
    let record = key_record(level, &key.id, key.version);
    let parent = (above.id.as_bytes(), &above.secret);
    let sealed = record::seal(home, parent, &record, key.secret.expose(), random.as_ref())?;
    Ok(StoredKey { id: key.id, level, version: key.version, parent: Some(above.id), sealed })
}

/// The keys of a level, each opened by the one above that sealed it; `None` where there are none yet.
fn open_level(
    home: &Home,
    level: Level,
    above: &Keyring,
    stored: &[StoredKey],
) -> Result<Option<Keyring>, BarrierError> {
    let mut keys = Vec::new();
    for stored in stored.iter().filter(|stored| stored.level == level) {
        let refuse = || BarrierError::Integrity { space: home.space, level: level.name(), id: stored.id.to_string() };
        let parent = stored.parent.and_then(|parent| above.get(parent.as_bytes())).ok_or_else(refuse)?;
        let record = key_record(level, &stored.id, stored.version);
        let secret = record::open(home, (parent.id.as_bytes(), &parent.secret), &record, &stored.sealed)
            .map_err(|_| refuse())?;
        keys.push(Key { id: stored.id, version: stored.version, secret });
    }
    Ok(Keyring::of(keys))
}

fn key_record(level: Level, id: &ObjectId, version: u32) -> Record<'_> {
    Record {
        table: "barrier_keys",
        row: id.as_bytes(),
        version: u64::from(version),
        purpose: level.name(),
        metadata: &[],
        state_seq: 0,
    }
}

fn fresh(clock: &SharedClock, random: &SharedRandom, version: u32) -> Key {
    let id = ObjectId::new(clock.as_ref(), random.as_ref());
    Key { id, version, secret: SecretBytes::random(32, random.as_ref()) }
}

impl Sealer {
    /// Seals a record.
    ///
    /// # Errors
    /// When the library fails.
    pub fn seal(&self, record: &Record<'_>, plaintext: &SecretBytes) -> Result<Vec<u8>, CryptoError> {
        self.seal_with(&self.content.active, record, plaintext.expose())
    }

    /// Opens a record with the key that it names.
    ///
    /// # Errors
    /// When it is not this record, unchanged.
    pub fn open(&self, record: &Record<'_>, sealed: &[u8]) -> Result<SecretBytes, RecordError> {
        let key = self.content.get(record::key_id(sealed)?).ok_or(RecordError)?;
        record::open(&self.home, (key.id.as_bytes(), &key.secret), record, sealed)
    }

    pub(crate) fn seal_with(&self, key: &Key, record: &Record<'_>, content: &[u8]) -> Result<Vec<u8>, CryptoError> {
        record::seal(&self.home, (key.id.as_bytes(), &key.secret), record, content, self.random.as_ref())
    }

    pub(crate) fn open_head(&self, record: &Record<'_>, sealed: &[u8]) -> Result<SecretBytes, RecordError> {
        let key = &self.head.seal;
        record::open(&self.home, (key.id.as_bytes(), &key.secret), record, sealed)
    }
}
