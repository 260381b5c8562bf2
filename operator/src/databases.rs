//! The databases of the realms: who changed, and where.

use tokio::sync::broadcast;

/// A Realm by its place.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RealmKey {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

/// What changed in a realm's database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// Something of the realm as a whole.
    Realm(RealmKey),
    /// Something of one tenant.
    Tenant(RealmKey, keyrealm_base::TenantId),
}

/// The open databases.
#[derive(Debug, Clone)]
pub struct Databases {
    changes: broadcast::Sender<Change>,
}

impl Default for Databases {
    fn default() -> Self {
        Self { changes: broadcast::channel(1024).0 }
    }
}

impl Databases {
    /// Changes from now on; who lags looks at everything.
    #[must_use]
    pub fn subscribe(&self) -> broadcast::Receiver<Change> {
        self.changes.subscribe()
    }
}
