//! What becomes of a client or user whose entry was taken away.

use keyrealm_registry::{DesiredEntry, DesiredStatus, OnRemove};
use keyrealm_store::{Product, TenantAccess};

use super::Reconciler;
use super::make::{Failure, failure};
use crate::storage::{clients, users};

impl Reconciler {
    /// Does what the entry says; the answer is what became of the object, and its id.
    pub(super) async fn remove(&self, entry: &DesiredEntry) -> Result<(DesiredStatus, Option<String>), Failure> {
        match (entry.on_remove, entry.kind.as_str()) {
            (OnRemove::Disable, "client") => self.disable_client(entry).await,
            (OnRemove::Disable, "user") => self.disable_user(entry).await,
            (OnRemove::Delete, "client") => self.delete_client(entry).await,
            (OnRemove::Delete, "user") => self.delete_user(entry).await,
            (OnRemove::Orphan, "client" | "user") => Ok((DesiredStatus::Orphaned, self.existing(entry).await)),
            // Never made.
            _ => Ok((DesiredStatus::Orphaned, None)),
        }
    }

    async fn disable_client(&self, entry: &DesiredEntry) -> Result<(DesiredStatus, Option<String>), Failure> {
        let mut tx = self.database.tenant(Product::Identity, entry.tenant, TenantAccess::Read).await?;
        let Some(stored) = clients::by_name(&mut tx, &entry.name).await? else {
            return Ok((DesiredStatus::Disabled, None));
        };
        drop(tx);
        let mut spec = stored.spec;
        spec.enabled = false;
        self.revoker.refuse_client(&spec.client_id).await?;
        let mut tx = self.begin(entry.tenant).await?;
        clients::put(&mut tx, &entry.name, stored.id, &spec, stored.former.as_deref()).await?;
        self.revoker.client_rows(&mut tx, &spec.client_id, false).await?;
        tx.commit().await?;
        Ok((DesiredStatus::Disabled, Some(stored.id.to_string())))
    }

    async fn disable_user(&self, entry: &DesiredEntry) -> Result<(DesiredStatus, Option<String>), Failure> {
        let mut tx = self.begin(entry.tenant).await?;
        let Some(user) = users::by_name(&mut tx, &entry.name).await? else {
            return Ok((DesiredStatus::Disabled, None));
        };
        let mut spec = user.spec.clone();
        spec.enabled = false;
        users::put(&mut tx, user.id, &entry.name, &spec).await?;
        self.revoker.user(&mut tx, user.id).await?;
        tx.commit().await?;
        Ok((DesiredStatus::Disabled, Some(user.id.to_string())))
    }

    /// What it holds goes with it, and then its client id is given back.
    async fn delete_client(&self, entry: &DesiredEntry) -> Result<(DesiredStatus, Option<String>), Failure> {
        let mut tx = self.begin(entry.tenant).await?;
        let stored = clients::by_name(&mut tx, &entry.name).await?;
        let mut ids = Vec::new();
        if let Some(stored) = &stored {
            ids.push(stored.spec.client_id.clone());
            ids.extend(stored.former.clone());
            for id in &ids {
                self.revoker.refuse_client(id).await?;
                self.revoker.client_rows(&mut tx, id, true).await?;
            }
            clients::delete(&mut tx, &entry.name).await?;
            tx.commit().await?;
        } else {
            // A run that ended before it gave the id back left it here; unless another entry of this tenant has it now.
            let named = entry.spec.get("client_id").and_then(serde_json::Value::as_str).map(str::to_owned);
            if let Some(id) = named
                && clients::holder(&mut tx, &id).await?.is_none()
            {
                ids.push(id);
            }
        }
        for id in ids {
            self.release(entry.tenant, &id).await?;
        }
        Ok((DesiredStatus::Deleted, stored.map(|stored| stored.id.to_string())))
    }

    async fn delete_user(&self, entry: &DesiredEntry) -> Result<(DesiredStatus, Option<String>), Failure> {
        let mut tx = self.begin(entry.tenant).await?;
        let Some(user) = users::by_name(&mut tx, &entry.name).await? else {
            return Ok((DesiredStatus::Deleted, None));
        };
        self.revoker.user(&mut tx, user.id).await?;
        users::delete(&mut tx, user.id).await?;
        tx.commit().await.map_err(|error| failure("DatabaseFailed", error.to_string()))?;
        Ok((DesiredStatus::Deleted, Some(user.id.to_string())))
    }
}
