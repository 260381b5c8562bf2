//! Revoking: what refuses is committed first (the registry, for everybody), then the tenant's own rows.

use std::time::Duration;

use keyrealm_base::{TenantId, Timestamp};
use keyrealm_registry::{Revocation, RevocationKind, revocations};
use keyrealm_store::StoreError;

use crate::app::App;
use crate::storage::refresh_tokens::{self, Ended};
use crate::storage::sessions;

impl App {
    /// Revokes one access token.
    pub(crate) async fn revoke_token(&self, jti: &str) -> Result<(), StoreError> {
        self.publish(RevocationKind::Jti, jti).await
    }

    /// Revokes a family: its refresh tokens and every access token that came from them.
    pub(crate) async fn revoke_family(&self, tenant: TenantId, family: &str) -> Result<(), StoreError> {
        self.publish(RevocationKind::Family, family).await?;
        let mut tx = self.write(tenant).await?;
        let now = self.clock.now();
        refresh_tokens::revoke(&mut tx, Ended::Family(family), now, self.refresh_until(now)).await?;
        tx.commit().await
    }

    /// Ends a log-in session with all its tokens.
    pub(crate) async fn end_session(&self, tenant: TenantId, sid: &str) -> Result<(), StoreError> {
        self.publish(RevocationKind::Sid, sid).await?;
        let mut tx = self.write(tenant).await?;
        let now = self.clock.now();
        refresh_tokens::revoke(&mut tx, Ended::Session(sid), now, self.refresh_until(now)).await?;
        sessions::delete(&mut tx, sid).await?;
        tx.commit().await
    }

    /// When the youngest refresh token expires.
    fn refresh_until(&self, now: Timestamp) -> Timestamp {
        now.plus(Duration::from_secs(u64::from(self.lifetimes.refresh_seconds)))
    }

    async fn publish(&self, kind: RevocationKind, value: &str) -> Result<(), StoreError> {
        let now = self.clock.now();
        // As long as the youngest access token that it touches may live.
        let until = now.plus(Duration::from_secs(u64::from(self.lifetimes.access_seconds)));
        let revocation = Revocation { kind, value: value.to_owned(), until };
        let mut tx = self.database.control().await?;
        revocations::add(&mut tx, std::slice::from_ref(&revocation), now).await?;
        tx.commit().await?;
        self.revocations.add([revocation]);
        Ok(())
    }
}
