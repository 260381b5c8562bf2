//! The databases of the realms: one connection pool and one picture of the registry each, kept by a task of its own.

mod creation;
mod error;
mod view;

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use keyrealm_base::{DeploymentId, SharedClock, SharedRandom, TenantId};
use keyrealm_crypto::sha256_hex;
use keyrealm_registry::{Created, Meta, NewTenant, Registrar, RegistryError};
use keyrealm_store::{Database, RegistrarAccess, StoreError};
use tokio::sync::broadcast;
use tokio::task::JoinHandle;

pub use error::DatabaseError;
pub use view::{RegistryView, ViewFailure};

/// Changes that a slow receiver may be behind before it must look at everything again.
const CHANGES: usize = 1024;
/// How long it may take to connect and to read what the database is.
const CONNECT: Duration = Duration::from_secs(10);

/// A Realm by its place.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RealmKey {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

impl RealmKey {
    /// The Realm of this place.
    #[must_use]
    pub fn new(namespace: &str, name: &str) -> Self {
        Self { namespace: namespace.to_owned(), name: name.to_owned() }
    }
}

impl fmt::Display for RealmKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

/// What changed in a realm's database.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Change {
    /// It was opened, or the servers' logins are there now: who waited for it can go on.
    Opened(RealmKey),
    /// Something of the realm as a whole.
    Realm(RealmKey),
    /// Something of one tenant.
    Tenant(RealmKey, TenantId),
}

/// A realm's open database.
pub struct RealmDatabase {
    /// Writes what shall exist.
    pub registrar: Registrar,
    /// The connections.
    pub database: Arc<Database>,
    /// Whose data it is.
    pub meta: Meta,
    /// Of which login this is, so that another one makes a new connection.
    fingerprint: String,
    picture: Arc<view::Picture>,
    creation: creation::Creation,
    tasks: [JoinHandle<()>; 2],
}

impl RealmDatabase {
    /// The registry as it was read last: at most some two seconds ago, unless [`RegistryView::failure`] says since when it
    /// cannot be read.
    #[must_use]
    pub fn view(&self) -> Arc<RegistryView> {
        self.picture.view.load_full()
    }

    /// The tenant of this resource: found, or made, together with others that are asked for at the same time. `None` when the
    /// database was silent, or is closed.
    pub async fn create_tenant(&self, new: &NewTenant) -> Option<Result<Created, RegistryError>> {
        self.creation.create(new.clone()).await
    }

    /// Tells of this tenant once every process has taken this generation in.
    pub fn tell_when_seen(&self, tenant: TenantId, generation: i64) {
        let mut awaited = lock(&self.picture.awaited);
        let newest = awaited.entry(tenant).or_insert(generation);
        *newest = generation.max(*newest);
    }

    /// Reads the registry now, for whoever has just written to it: the view then shows that. When it cannot be read the view
    /// says so.
    pub async fn refresh(&self) {
        let _ = self.picture.read(view::Depth::All).await;
    }
}

impl Drop for RealmDatabase {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
        let database = Arc::clone(&self.database);
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(async move { database.close().await });
        }
    }
}

impl fmt::Debug for RealmDatabase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RealmDatabase({})", self.meta.deployment_id)
    }
}

/// The open databases.
#[derive(Clone)]
pub struct Databases {
    inner: Arc<Inner>,
}

struct Inner {
    clock: SharedClock,
    random: SharedRandom,
    changes: broadcast::Sender<Change>,
    open: Mutex<HashMap<RealmKey, Arc<RealmDatabase>>>,
    /// One realm connects once at a time.
    gates: Mutex<HashMap<RealmKey, Arc<tokio::sync::Mutex<()>>>>,
    memories: Mutex<HashMap<RealmKey, Arc<Mutex<crate::realm::Memory>>>>,
}

impl fmt::Debug for Databases {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Databases({})", lock(&self.inner.open).len())
    }
}

impl Databases {
    /// None is open yet.
    #[must_use]
    pub fn new(clock: SharedClock, random: SharedRandom) -> Self {
        let (changes, _) = broadcast::channel(CHANGES);
        let (open, gates, memories) = (Mutex::default(), Mutex::default(), Mutex::default());
        Self { inner: Arc::new(Inner { clock, random, changes, open, gates, memories }) }
    }

    /// The database of a realm, connected once and reused while the login is the same. An empty database becomes this
    /// realm's.
    ///
    /// # Errors
    /// When it cannot be used; see [`DatabaseError`].
    pub async fn ensure(
        &self,
        realm: &RealmKey,
        access: RegistrarAccess,
        realm_uid: &str,
    ) -> Result<Arc<RealmDatabase>, DatabaseError> {
        self.ensure_adopting(realm, access, realm_uid, None).await
    }

    /// As [`Databases::ensure`]; the data of another realm is taken over when its deployment is named.
    ///
    /// # Errors
    /// As [`Databases::ensure`].
    pub async fn ensure_adopting(
        &self,
        realm: &RealmKey,
        access: RegistrarAccess,
        realm_uid: &str,
        adopt: Option<DeploymentId>,
    ) -> Result<Arc<RealmDatabase>, DatabaseError> {
        let fingerprint = fingerprint(&access, realm_uid);
        let gate = Arc::clone(lock(&self.inner.gates).entry(realm.clone()).or_default());
        let _alone = gate.lock().await;
        if let Some(open) = self.get(realm).filter(|open| open.fingerprint == fingerprint) {
            return Ok(open);
        }
        let at = format!("{access:?}");
        let connecting = self.connect(realm, access, (realm_uid, adopt), &at, fingerprint);
        let opened = match tokio::time::timeout(CONNECT, connecting).await {
            Ok(opened) => Arc::new(opened?),
            Err(_) => return Err(DatabaseError::silent(&at, CONNECT)),
        };
        lock(&self.inner.open).insert(realm.clone(), Arc::clone(&opened));
        let _ = self.inner.changes.send(Change::Opened(realm.clone()));
        Ok(opened)
    }

    async fn connect(
        &self,
        realm: &RealmKey,
        access: RegistrarAccess,
        (realm_uid, adopt): (&str, Option<DeploymentId>),
        at: &str,
        fingerprint: String,
    ) -> Result<RealmDatabase, DatabaseError> {
        let (clock, random) = (&self.inner.clock, &self.inner.random);
        let opened = Database::open_registrar(access, None).await;
        let database = opened.map_err(|error| DatabaseError::of_store(at, error))?;
        let failed = |error: RegistryError| DatabaseError::new(at, &error);
        let registrar = Registrar::new(Arc::clone(&database), Arc::clone(clock), Arc::clone(random));
        if let Some(deployment) = adopt {
            // A realm that has adopted already finds itself.
            match registrar.adopt(realm_uid, deployment).await {
                Err(RegistryError::Store(StoreError::NoRegistrar)) => {
                    return Err(DatabaseError::Empty { at: at.to_owned(), deployment });
                }
                adopted => adopted.map_err(failed)?,
            }
        }
        let meta = registrar.ensure_deployment(realm_uid).await.map_err(failed)?;
        let first = view::read(&registrar, &RegistryView::default(), clock.now(), view::Depth::All).await;
        let first = first.map_err(failed)?;
        let another = || Registrar::new(Arc::clone(&database), Arc::clone(clock), Arc::clone(random));
        let picture = Arc::new(view::Picture {
            registrar: another(),
            clock: Arc::clone(clock),
            realm: realm.clone(),
            changes: self.inner.changes.clone(),
            view: ArcSwap::from_pointee(first),
            awaited: Mutex::default(),
            reading: tokio::sync::Mutex::default(),
        });
        let (creation, creating) = creation::start(another());
        let tasks = [tokio::spawn(view::supervise(Arc::clone(&picture))), creating];
        Ok(RealmDatabase { registrar, database, meta, fingerprint, picture, creation, tasks })
    }

    /// The database of a realm, if it is open.
    #[must_use]
    pub fn get(&self, realm: &RealmKey) -> Option<Arc<RealmDatabase>> {
        lock(&self.inner.open).get(realm).cloned()
    }

    /// Closes a realm's database and forgets everything about the realm.
    pub fn forget(&self, realm: &RealmKey) {
        lock(&self.inner.open).remove(realm);
        lock(&self.inner.memories).remove(realm);
        let mut gates = lock(&self.inner.gates);
        if gates.get(realm).is_some_and(|gate| Arc::strong_count(gate) == 1) {
            gates.remove(realm);
        }
    }

    /// Changes from now on; who lags looks at everything.
    #[must_use]
    pub fn subscribe(&self) -> broadcast::Receiver<Change> {
        self.inner.changes.subscribe()
    }

    /// What is remembered of a realm between two passes.
    pub(crate) fn memory(&self, realm: &RealmKey) -> Arc<Mutex<crate::realm::Memory>> {
        Arc::clone(lock(&self.inner.memories).entry(realm.clone()).or_default())
    }
}

/// Of a login, and of whose it is.
fn fingerprint(access: &RegistrarAccess, realm_uid: &str) -> String {
    let text = format!("{access:?} {realm_uid} {} {}", sha256_hex(access.password.expose()), access.ca_pem);
    sha256_hex(text.as_bytes())
}

/// What is in these maps is whole at every moment.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
