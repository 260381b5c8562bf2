//! Revoking: what refuses is committed first (the registry, for everybody), then the tenant's own rows.

use std::time::Duration;

use keyrealm_base::TenantId;
use keyrealm_registry::{Revocation, RevocationKind, revocations};
use keyrealm_store::StoreError;

use crate::app::App;
use crate::storage::{refresh_tokens, sessions};

impl App {
    /// Revokes one access token.
    pub(crate) async fn revoke_token(&self, jti: &str) -> Result<(), StoreError> {
        self.publish(RevocationKind::Jti, jti).await
    }

    /// Revokes a family: its refresh tokens and every access token that came from them.
    pub(crate) async fn revoke_family(&self, tenant: TenantId, family: &str) -> Result<(), StoreError> {
        self.publish(RevocationKind::Family, family).await?;
        let mut tx = self.write(tenant).await?;
        refresh_tokens::revoke_family(&mut tx, family, self.clock.now()).await?;
        tx.commit().await
    }

    /// Ends a log-in session with all its tokens.
    pub(crate) async fn end_session(&self, tenant: TenantId, sid: &str) -> Result<(), StoreError> {
        self.publish(RevocationKind::Sid, sid).await?;
        let mut tx = self.write(tenant).await?;
        refresh_tokens::revoke_session(&mut tx, sid, self.clock.now()).await?;
        sessions::delete(&mut tx, sid).await?;
        tx.commit().await
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
