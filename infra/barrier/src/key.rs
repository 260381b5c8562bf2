//! A key of one level.

use keyrealm_base::ObjectId;
use keyrealm_crypto::SecretBytes;

/// A level below the unseal key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Level {
    /// One a product.
    Root,
    /// One a tenant; destroying it destroys the tenant's data. The realm level has one, too.
    TenantRoot,
    /// Rotates without touching the tenant root.
    Intermediate,
    /// Seals records.
    Content,
}

impl Level {
    /// The levels of one tenant, from the top.
    pub(crate) const BELOW_ROOT: [Self; 3] = [Self::TenantRoot, Self::Intermediate, Self::Content];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Root => "root",
            Self::TenantRoot => "tenant-root",
            Self::Intermediate => "intermediate",
            Self::Content => "content",
        }
    }
}

/// An opened key.
pub(crate) struct Key {
    pub(crate) id: ObjectId,
    pub(crate) secret: SecretBytes,
}
