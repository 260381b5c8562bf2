//! The demo's keys, as desired entries.

use keyrealm_registry::{Registrar, RegistryError, Tenant};
use keyrealm_store::Product;
use serde_json::{Value, json};

const KEYS: [(&str, &str, &str); 4] = [
    ("demo-encryption-aes256", "A256GCM/dir", "Encrypts directly"),
    ("demo-signing-rsa2048", "RS256", "Signs with RSA"),
    ("demo-signing-ec256", "ES256", "Signs with P-256"),
    ("demo-wrapping-aes256kw", "A256GCM/A256KW", "Wraps a fresh key for each message"),
];

/// The demo's keys by name.
pub fn key_names() -> impl Iterator<Item = &'static str> {
    KEYS.iter().map(|(name, _, _)| *name)
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
    KEYS.iter().map(|(name, algorithm, description)| {
        ("key", (*name).to_owned(), json!({"algorithm": algorithm, "description": description}))
    })
}
