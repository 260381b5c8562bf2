//! What the endpoints share.

use std::sync::Arc;

use keyrealm_auth::RevocationList;
use keyrealm_base::{SharedClock, SharedRandom, TenantId};
use keyrealm_crypto::password::{PasswordHash, PasswordPool};
use keyrealm_store::{Database, Product, StoreError, TenantAccess, TenantTx};

use crate::config::Tokens;
use crate::directory::Directory;
use crate::keys::SigningKeys;
use crate::revoke::Revoker;
use crate::throttle::Throttle;

/// One running realm.
pub(crate) struct App {
    pub(crate) database: Arc<Database>,
    pub(crate) clock: SharedClock,
    pub(crate) random: SharedRandom,
    /// `iss`: fixed by configuration, never taken from a request.
    pub(crate) issuer: String,
    /// The `aud` of access tokens: the KMS.
    pub(crate) audience: String,
    pub(crate) lifetimes: Tokens,
    pub(crate) keys: Arc<SigningKeys>,
    pub(crate) directory: Arc<Directory>,
    pub(crate) revocations: Arc<RevocationList>,
    pub(crate) revoker: Arc<Revoker>,
    pub(crate) passwords: PasswordPool,
    /// Checked against when there is no such user.
    pub(crate) dummy: PasswordHash,
    pub(crate) throttle: Throttle,
}

pub(crate) type Shared = Arc<App>;

impl App {
    /// Writes what no snapshot holds: codes, tokens, sessions.
    pub(crate) async fn write(&self, tenant: TenantId) -> Result<TenantTx, StoreError> {
        self.database.tenant(Product::Identity, tenant, TenantAccess::Plain).await
    }

    pub(crate) async fn read(&self, tenant: TenantId) -> Result<TenantTx, StoreError> {
        self.database.tenant(Product::Identity, tenant, TenantAccess::Read).await
    }
}
