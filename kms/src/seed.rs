//! The demo's keys, as desired entries.

use keyrealm_registry::seed::KEYS;
use keyrealm_registry::{Registrar, RegistryError, Tenant};
use keyrealm_store::Product;
use serde_json::{Value, json};

/// The demo's keys by name.
pub fn key_names() -> impl Iterator<Item = &'static str> {
    KEYS.iter().map(|key| key.name)
}

/// Declares the demo's tenants and their keys. Nothing else is done: the reconciler makes them.
///
/// # Errors
/// When the database fails.
pub async fn declare_demo(registrar: &Registrar) -> Result<Vec<Tenant>, RegistryError> {
    let tenants = registrar.ensure_demo().await?;
    for tenant in &tenants {
        registrar.declare(tenant.id, Product::Kms, entries()).await?;
    }
    Ok(tenants)
}

fn entries() -> impl Iterator<Item = (&'static str, String, Value)> {
    KEYS.iter()
        .map(|key| ("key", key.name.to_owned(), json!({"algorithm": key.algorithm, "description": key.description})))
}
