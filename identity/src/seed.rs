//! The demo's users and clients, as desired entries.

use keyrealm_base::Random;
use keyrealm_crypto::password::PasswordHash;
use keyrealm_crypto::{SecretBytes, sha256_hex};
pub use keyrealm_registry::seed::{DemoClient, DemoCredentials, DemoUser, LOGGED_OUT_URI, REDIRECT_URI};
use keyrealm_registry::seed::{SeedClient, SeedTenant, SeedUser};
use keyrealm_registry::{Registrar, RegistryError, Tenant, desired};
use keyrealm_store::{Database, Product};
use serde_json::{Value, json};

/// Whether all of the demo is declared already: then its passwords stay. A start that was ended in the middle leaves a part.
///
/// # Errors
/// When the database fails.
pub async fn is_declared(database: &Database, registrar: &Registrar) -> Result<bool, RegistryError> {
    Ok(lacking(database, registrar).await?.is_empty())
}

/// Declares the demo's tenants, users and clients. Nothing else is done: the reconciler makes them.
///
/// # Errors
/// When the database fails.
pub async fn declare_demo(
    registrar: &Registrar,
    credentials: &DemoCredentials,
    random: &dyn Random,
) -> Result<Vec<Tenant>, RegistryError> {
    let tenants = registrar.ensure_demo().await?;
    for (place, tenant) in tenants.iter().enumerate() {
        declare(registrar, place, tenant, credentials, random).await?;
    }
    Ok(tenants)
}

/// Declares what is missing of the demo. A tenant that has all of it is left as it is: a password has another salt each time
/// that it is hashed, and so would be another one.
///
/// # Errors
/// When the database fails.
pub async fn complete_demo(
    database: &Database,
    registrar: &Registrar,
    credentials: &DemoCredentials,
    random: &dyn Random,
) -> Result<(), RegistryError> {
    for (place, tenant) in lacking(database, registrar).await? {
        declare(registrar, place, &tenant, credentials, random).await?;
    }
    Ok(())
}

/// The tenants, with their places, that lack entries. What a tenant gets is written in one transaction, so that it has all
/// or nothing, or what an older demo had.
async fn lacking(database: &Database, registrar: &Registrar) -> Result<Vec<(usize, Tenant)>, RegistryError> {
    let mut lacking = Vec::new();
    for (place, tenant) in registrar.ensure_demo().await?.into_iter().enumerate() {
        let seed = SeedTenant::number(place + 1);
        let wanted = seed.users.len() + seed.clients.len();
        let found = desired::count(&mut database.control_read().await?, tenant.id, Product::Identity).await?;
        if usize::try_from(found).unwrap_or_default() < wanted {
            lacking.push((place, tenant));
        }
    }
    Ok(lacking)
}

async fn declare(
    registrar: &Registrar,
    place: usize,
    tenant: &Tenant,
    credentials: &DemoCredentials,
    random: &dyn Random,
) -> Result<(), RegistryError> {
    let seed = SeedTenant::number(place + 1);
    let users = seed.users.iter().map(|row| user(row, credentials, random));
    let clients = seed.clients.iter().map(|row| client(row, credentials));
    registrar.declare(tenant.id, Product::Identity, users.chain(clients).collect::<Vec<_>>()).await
}

fn user(row: &SeedUser, credentials: &DemoCredentials, random: &dyn Random) -> (&'static str, String, Value) {
    let password = SecretBytes::copy_of(credentials.password(&row.name).as_bytes());
    let spec = json!({
        "email": row.email(),
        "display_name": row.display_name(),
        "password_hash": PasswordHash::create(&password, random).to_string(),
        "roles": [row.role],
        "enabled": true,
    });
    ("user", row.name.clone(), spec)
}

fn client(row: &SeedClient, credentials: &DemoCredentials) -> (&'static str, String, Value) {
    let secrets: Vec<String> =
        if row.public { Vec::new() } else { vec![sha256_hex(credentials.secret(&row.client_id).as_bytes())] };
    let spec = json!({
        "client_id": row.client_id,
        "display_name": row.display_name,
        "type": if row.public { "public" } else { "confidential" },
        "secret_sha256": secrets,
        "redirect_uris": if row.has_log_in() { vec![REDIRECT_URI] } else { vec![] },
        "post_logout_redirect_uris": if row.has_log_in() { vec![LOGGED_OUT_URI] } else { vec![] },
        "grants": row.grants,
        "scopes": row.scopes,
    });
    ("client", row.client_id.clone(), spec)
}
