//! Makes the users and clients that the registry declares, and reports what became of them.

use std::sync::Arc;
use std::time::Duration;

use keyrealm_base::{ObjectId, SharedClock, SharedRandom, TenantId};
use keyrealm_registry::{DesiredEntry, DesiredStatus, Observed, desired, observed};
use keyrealm_store::{Database, Notice, Notices, Product, Space, StoreError, TenantAccess};
use tokio::sync::broadcast::error::RecvError;

use crate::directory::Directory;
use crate::domain::client::ClientSpec;
use crate::domain::user::UserSpec;
use crate::storage::{self, clients, users};

const POLL: Duration = Duration::from_secs(2);

/// What reconciling needs.
pub(crate) struct Reconciler {
    pub(crate) database: Arc<Database>,
    pub(crate) directory: Arc<Directory>,
    pub(crate) clock: SharedClock,
    pub(crate) random: SharedRandom,
}

impl Reconciler {
    /// Reconciles for ever.
    pub(crate) async fn run(self, mut notices: Notices) {
        loop {
            match tokio::time::timeout(POLL, notices.recv()).await {
                Ok(Ok(Notice::Desired(Product::Identity)) | Err(RecvError::Lagged(_))) | Err(_) => {}
                Ok(Ok(_)) => continue,
                Ok(Err(RecvError::Closed)) => return,
            }
            if let Err(error) = self.once().await {
                tracing::warn!(%error, "cannot reconcile");
            }
        }
    }

    /// Brings every declared object to what its entry says.
    pub(crate) async fn once(&self) -> Result<(), StoreError> {
        let known = self.directory.read_tenants().await?;
        let mut realm = self.database.realm(Product::Identity).await?;
        for gone in clients::all_tenants(&mut realm).await?.into_iter().filter(|tenant| !known.contains(tenant)) {
            clients::release(&mut realm, gone).await?;
        }
        realm.commit().await?;
        for tenant in &known {
            self.database.migrate(Space::Tenant(Product::Identity, *tenant), storage::TENANT).await?;
        }
        let entries = desired::pending(&mut self.database.control().await?, Product::Identity).await?;
        for entry in entries {
            let report = self.reconcile(&entry).await;
            let mut tx = self.database.control().await?;
            observed::write(&mut tx, &entry, &report).await?;
            tx.commit().await?;
        }
        Ok(())
    }

    async fn reconcile(&self, entry: &DesiredEntry) -> Observed {
        let report = |status, object_id, reason: &str, message: String| Observed {
            spec_hash: entry.spec_hash.clone(),
            object_id,
            status,
            reason: reason.to_owned(),
            message,
        };
        if entry.deleted_at.is_some() {
            return report(
                DesiredStatus::Orphaned,
                None,
                "EntryRemoved",
                "the object stays; nobody declares it any more".to_owned(),
            );
        }
        let made = match entry.kind.as_str() {
            "client" => self.client(entry).await,
            "user" => self.user(entry).await,
            other => Err(format!("identity makes objects of kind `client` and `user`, not `{other}`")),
        };
        match made {
            Ok(id) => report(DesiredStatus::Ready, Some(id.to_string()), "Ready", String::new()),
            Err(error) => {
                tracing::warn!(%error, kind = entry.kind, name = entry.name, "cannot make a declared object");
                report(DesiredStatus::Failed, None, "Failed", error)
            }
        }
    }

    async fn client(&self, entry: &DesiredEntry) -> Result<ObjectId, String> {
        let spec: ClientSpec = serde_json::from_value(entry.spec.clone()).map_err(|error| error.to_string())?;
        spec.check()?;
        let text = |error: StoreError| error.to_string();
        // What reserves commits before the tenant's own transaction.
        let mut realm = self.database.realm(Product::Identity).await.map_err(text)?;
        let owner = clients::reserve(&mut realm, &spec.client_id, entry.tenant).await.map_err(text)?;
        realm.commit().await.map_err(text)?;
        if owner != entry.tenant {
            return Err(format!(
                "client_id `{}` belongs to another tenant; client ids are unique in a realm",
                spec.client_id
            ));
        }
        let id = self.id();
        let mut tx = self.begin(entry.tenant).await.map_err(text)?;
        let id = clients::put(&mut tx, id, &spec).await.map_err(text)?;
        tx.commit().await.map_err(text)?;
        Ok(id)
    }

    async fn user(&self, entry: &DesiredEntry) -> Result<ObjectId, String> {
        let spec: UserSpec = serde_json::from_value(entry.spec.clone()).map_err(|error| error.to_string())?;
        spec.check(&entry.name)?;
        let text = |error: StoreError| error.to_string();
        let mut tx = self.begin(entry.tenant).await.map_err(text)?;
        let id = users::put(&mut tx, self.id(), &entry.name, &spec).await.map_err(text)?;
        tx.commit().await.map_err(text)?;
        Ok(id)
    }

    async fn begin(&self, tenant: TenantId) -> Result<keyrealm_store::TenantTx, StoreError> {
        self.database.tenant(Product::Identity, tenant, TenantAccess::Change).await
    }

    fn id(&self) -> ObjectId {
        ObjectId::new(self.clock.as_ref(), self.random.as_ref())
    }
}
