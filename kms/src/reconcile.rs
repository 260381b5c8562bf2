//! Makes what the registry declares, and reports what became of it.

use std::sync::Arc;
use std::time::Duration;

use keyrealm_registry::{DesiredEntry, DesiredStatus, ManagedBy, Observed, desired, observed};
use keyrealm_store::{Notice, Notices, Product};
use serde::Deserialize;
use tokio::sync::broadcast::error::RecvError;

use crate::error::KmsError;
use crate::service::{KeyPatch, KeyService, NewKey};
use crate::snapshot::Snapshots;

/// Behind the notices, for those that were missed.
const POLL: Duration = Duration::from_secs(2);

/// A declared key.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct KeySpec {
    algorithm: String,
    #[serde(default)]
    description: String,
}

/// Reconciles for ever.
pub(crate) async fn run(service: Arc<KeyService>, snapshots: Arc<Snapshots>, mut notices: Notices) {
    loop {
        match tokio::time::timeout(POLL, notices.recv()).await {
            Ok(Ok(Notice::Desired(Product::Kms)) | Err(RecvError::Lagged(_))) | Err(_) => {}
            Ok(Ok(_)) => continue,
            Ok(Err(RecvError::Closed)) => return,
        }
        if let Err(error) = once(&service, &snapshots).await {
            tracing::warn!(%error, "cannot reconcile");
        }
    }
}

/// Brings every declared key to what its entry says.
pub(crate) async fn once(service: &KeyService, snapshots: &Snapshots) -> Result<(), KmsError> {
    if service.read_tenants().await? {
        snapshots.forget();
    }
    let entries = desired::pending(&mut service.database.control().await?, Product::Kms).await?;
    for entry in entries {
        let report = reconcile(service, &entry).await;
        let mut tx = service.database.control().await?;
        observed::write(&mut tx, &entry, &report).await?;
        tx.commit().await?;
    }
    Ok(())
}

async fn reconcile(service: &KeyService, entry: &DesiredEntry) -> Observed {
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
            "the key stays; nobody declares it any more".to_owned(),
        );
    }
    match make(service, entry).await {
        Ok(id) => report(DesiredStatus::Ready, Some(id), "Ready", String::new()),
        Err(error) => {
            tracing::warn!(%error, kind = entry.kind, name = entry.name, "cannot make a declared object");
            report(DesiredStatus::Failed, None, "Failed", error)
        }
    }
}

async fn make(service: &KeyService, entry: &DesiredEntry) -> Result<String, String> {
    if entry.kind != "key" {
        return Err(format!("the KMS makes objects of kind `key`, not `{}`", entry.kind));
    }
    let spec: KeySpec = serde_json::from_value(entry.spec.clone()).map_err(|error| error.to_string())?;
    let text = |error: KmsError| error.to_string();
    let key = match service.key_by_name(entry.tenant, &entry.name).await.map_err(text)? {
        None => {
            let new = NewKey {
                name: entry.name.clone(),
                description: spec.description,
                algorithm: spec.algorithm,
                managed_by: ManagedBy::Resource,
            };
            service.create(entry.tenant, new).await.map_err(text)?
        }
        Some(key) if key.managed_by != ManagedBy::Resource => {
            return Err("a key of this name was made through the API; rename one of them".to_owned());
        }
        Some(key) if key.algorithm != spec.algorithm => {
            return Err(format!("the key has {} and its algorithm cannot change; declare another name", key.algorithm));
        }
        Some(key) if key.description != spec.description => {
            let patch = KeyPatch { name: None, description: Some(spec.description) };
            service.update(entry.tenant, key.id, patch, ManagedBy::Resource).await.map_err(text)?
        }
        Some(key) => key,
    };
    Ok(key.id.to_string())
}
