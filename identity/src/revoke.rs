//! Revoking: what refuses is committed first (the registry, for everybody), then the tenant's own rows.

use std::sync::Arc;
use std::time::Duration;

use keyrealm_auth::RevocationList;
use keyrealm_base::{ObjectId, SharedClock, TenantId, Timestamp};
use keyrealm_registry::{Revocation, RevocationKind, revocations};
use keyrealm_store::{Database, Product, StoreError, TenantAccess, TenantTx};

use crate::config::Tokens;
use crate::storage::refresh_tokens::{self, Ended};
use crate::storage::{consents, sessions};

/// The longest that a request may take: one that was let in before a revocation may give out a token until then.
pub(crate) const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);

/// What can end tokens.
pub(crate) struct Revoker {
    database: Arc<Database>,
    clock: SharedClock,
    list: Arc<RevocationList>,
    /// For how long an access token can live that is given out by a request under way.
    access: Duration,
    /// The same of codes and refresh tokens.
    kept: Duration,
}

impl Revoker {
    pub(crate) fn new(
        database: Arc<Database>,
        clock: SharedClock,
        list: Arc<RevocationList>,
        lifetimes: &Tokens,
    ) -> Self {
        let seconds = |seconds: u32| Duration::from_secs(u64::from(seconds));
        let access = seconds(lifetimes.access_seconds) + seconds(lifetimes.code_seconds) + REQUEST_TIMEOUT;
        let kept = seconds(lifetimes.refresh_seconds.max(lifetimes.code_seconds)) + REQUEST_TIMEOUT;
        Self { database, clock, list, access, kept }
    }

    /// Revokes one access token.
    pub(crate) async fn token(&self, jti: &str) -> Result<(), StoreError> {
        self.publish(RevocationKind::Jti, [jti.to_owned()]).await
    }

    /// Revokes a family: its refresh tokens and every access token that came from them.
    pub(crate) async fn family(&self, tenant: TenantId, family: &str) -> Result<(), StoreError> {
        self.publish(RevocationKind::Family, [family.to_owned()]).await?;
        let mut tx = self.write(tenant).await?;
        let now = self.clock.now();
        refresh_tokens::revoke(&mut tx, Ended::Family(family), now, now.plus(self.kept)).await?;
        tx.commit().await
    }

    /// Ends a log-in session with all its tokens.
    pub(crate) async fn session(&self, tenant: TenantId, sid: &str) -> Result<(), StoreError> {
        self.publish(RevocationKind::Sid, [sid.to_owned()]).await?;
        let mut tx = self.write(tenant).await?;
        self.session_rows(&mut tx, sid).await?;
        tx.commit().await
    }

    /// Refuses the tokens of a session from now on; its rows are the caller's, by [`Self::session_rows`].
    pub(crate) async fn refuse_session(&self, sid: &str) -> Result<(), StoreError> {
        self.publish(RevocationKind::Sid, [sid.to_owned()]).await
    }

    pub(crate) async fn session_rows(&self, tx: &mut TenantTx, sid: &str) -> Result<(), StoreError> {
        let now = self.clock.now();
        refresh_tokens::revoke(tx, Ended::Session(sid), now, now.plus(self.kept)).await?;
        sessions::delete(tx, sid).await
    }

    /// Ends everything that a user has: called in the transaction that changes the user, before its commit. It names the
    /// sessions, not the user: who is let in again is not kept out by what was ended.
    pub(crate) async fn user(&self, tx: &mut TenantTx, user: ObjectId) -> Result<(), StoreError> {
        let sids = sessions::of_user(tx, user).await?;
        self.publish(RevocationKind::Sid, sids.iter().cloned()).await?;
        for sid in sids {
            self.session_rows(tx, &sid).await?;
        }
        Ok(())
    }

    /// Refuses the tokens of a client from now on; its rows are the caller's, by [`Self::client_rows`].
    pub(crate) async fn refuse_client(&self, client_id: &str) -> Result<(), StoreError> {
        self.publish(RevocationKind::Client, [client_id.to_owned()]).await
    }

    pub(crate) async fn client_rows(&self, tx: &mut TenantTx, client_id: &str, gone: bool) -> Result<(), StoreError> {
        if gone {
            consents::forget(tx, client_id).await?;
        }
        refresh_tokens::revoke_client(tx, client_id, self.clock.now()).await
    }

    async fn publish(&self, kind: RevocationKind, values: impl IntoIterator<Item = String>) -> Result<(), StoreError> {
        let now = self.clock.now();
        let until: Timestamp = now.plus(self.access);
        let revoked: Vec<_> = values.into_iter().map(|value| Revocation { kind, value, until }).collect();
        if revoked.is_empty() {
            return Ok(());
        }
        let mut tx = self.database.control().await?;
        revocations::add(&mut tx, &revoked, now).await?;
        tx.commit().await?;
        self.list.add(revoked);
        Ok(())
    }

    async fn write(&self, tenant: TenantId) -> Result<TenantTx, StoreError> {
        self.database.tenant(Product::Identity, tenant, TenantAccess::Plain).await
    }
}
