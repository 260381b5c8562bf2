//! Keys of the levels.

use keyrealm_base::ObjectId;
use keyrealm_crypto::SecretBytes;

/// A level below the unseal key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Level {
    /// One a product.
    Root,
    /// One a tenant; destroying it destroys the tenant's data. The realm level has one, too.
    TenantRoot,
    /// Beside the intermediate: what the tenant's head is made with. A new one needs all records counted anew.
    Head,
    /// Rotates without touching the tenant root.
    Intermediate,
    /// Seals records.
    Content,
}

impl Level {
    const ALL: [Self; 5] = [Self::Root, Self::TenantRoot, Self::Head, Self::Intermediate, Self::Content];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Root => "root",
            Self::TenantRoot => "tenant-root",
            Self::Head => "head",
            Self::Intermediate => "intermediate",
            Self::Content => "content",
        }
    }

    pub(crate) fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|level| level.name() == name)
    }
}

/// An opened key.
pub(crate) struct Key {
    pub(crate) id: ObjectId,
    /// Counts up within its level.
    pub(crate) version: u32,
    pub(crate) secret: SecretBytes,
}

/// The keys of one level: one is active and seals, every one opens what it has sealed.
pub(crate) struct Keyring {
    pub(crate) active: Key,
    older: Vec<Key>,
}

impl Keyring {
    pub(crate) fn new(active: Key) -> Self {
        Self { active, older: Vec::new() }
    }

    /// From the keys of a level, the oldest first; `None` when there are none. The newest one is the active one: that cannot
    /// be changed in the table without a key, which a column that says so could.
    pub(crate) fn of(mut keys: Vec<Key>) -> Option<Self> {
        keys.pop().map(|active| Self { active, older: keys })
    }

    pub(crate) fn get(&self, id: &[u8]) -> Option<&Key> {
        std::iter::once(&self.active).chain(&self.older).find(|key| key.id.as_bytes() == id)
    }
}
