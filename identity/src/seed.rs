//! The demo's users and clients, as desired entries.

use keyrealm_base::Random;
use keyrealm_crypto::password::PasswordHash;
use keyrealm_crypto::{SecretBytes, sha256_hex};
use keyrealm_jose::b64;
use keyrealm_registry::{Registrar, RegistryError, Tenant, desired};
use keyrealm_store::{Database, Product};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// Where the demo's clients are sent back to.
pub const REDIRECT_URI: &str = "http://localhost:3000/callback";
/// Where the demo's clients are sent after a log-out.
pub const LOGGED_OUT_URI: &str = "http://localhost:3000/logged-out";

/// Tenant (by its place), name, role, documented password.
const USERS: [(usize, &str, &str, &str); 4] = [
    (0, "demo-admin", "admin", "demo-admin-password"),
    (0, "demo-user", "user", "demo-user-password"),
    (0, "demo-service", "service", "demo-service-password"),
    (1, "demo-user-2", "tenant-admin", "demo-user-2-password"),
];

const WEB_SCOPES: &str = "openid profile email kms:read kms:write";
const SERVICE_SCOPES: &str = "kms:encrypt kms:decrypt kms:sign kms:verify";

struct ClientRow {
    tenant: usize,
    client_id: &'static str,
    display_name: &'static str,
    public: bool,
    grants: &'static [&'static str],
    scopes: &'static str,
    secret: &'static str,
}

const CLIENTS: [ClientRow; 4] = [
    ClientRow {
        tenant: 0,
        client_id: "demo-public-client",
        display_name: "Demo app",
        public: true,
        grants: &["authorization_code", "refresh_token"],
        scopes: "openid profile email",
        secret: "",
    },
    ClientRow {
        tenant: 0,
        client_id: "demo-confidential-client",
        display_name: "Demo web app",
        public: false,
        grants: &["authorization_code", "refresh_token", "client_credentials"],
        scopes: WEB_SCOPES,
        secret: "demo-client-secret",
    },
    ClientRow {
        tenant: 0,
        client_id: "demo-service-client",
        display_name: "Demo service",
        public: false,
        grants: &["client_credentials"],
        scopes: SERVICE_SCOPES,
        secret: "service-secret",
    },
    ClientRow {
        tenant: 1,
        client_id: "demo-2.demo-confidential-client",
        display_name: "Demo web app of the second tenant",
        public: false,
        grants: &["authorization_code", "refresh_token", "client_credentials"],
        scopes: WEB_SCOPES,
        secret: "demo-2-client-secret",
    },
];

/// A user with the password in clear: for the card and the tests, never stored by the server.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DemoUser {
    /// The tenant's slug.
    pub tenant: String,
    /// The user name.
    pub username: String,
    /// The password.
    pub password: String,
}

/// A client with the secret in clear.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DemoClient {
    /// The tenant's slug.
    pub tenant: String,
    /// The client id.
    pub client_id: String,
    /// The secret, empty for a public client.
    pub secret: String,
}

/// All that the demo can log in with.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DemoCredentials {
    /// The users.
    pub users: Vec<DemoUser>,
    /// The clients.
    pub clients: Vec<DemoClient>,
}

impl DemoCredentials {
    /// Random passwords and secrets.
    #[must_use]
    pub fn generate(random: &dyn Random) -> Self {
        Self::with(|_| b64::encode(random.bytes::<18>()), |_| b64::encode(random.bytes::<32>()))
    }

    /// The documented ones, known to everybody.
    #[must_use]
    pub fn documented() -> Self {
        Self::with(str::to_owned, str::to_owned)
    }

    fn with(password: impl Fn(&str) -> String, secret: impl Fn(&str) -> String) -> Self {
        let slug = |tenant: usize| Registrar::demo_slugs().nth(tenant).unwrap_or_default().to_owned();
        let users = USERS.iter().map(|(tenant, username, _, documented)| DemoUser {
            tenant: slug(*tenant),
            username: (*username).to_owned(),
            password: password(documented),
        });
        let clients = CLIENTS.iter().map(|row| DemoClient {
            tenant: slug(row.tenant),
            client_id: row.client_id.to_owned(),
            secret: if row.public { String::new() } else { secret(row.secret) },
        });
        Self { users: users.collect(), clients: clients.collect() }
    }

    /// The password of a user.
    #[must_use]
    pub fn password(&self, username: &str) -> &str {
        self.users.iter().find(|user| user.username == username).map_or("", |user| &user.password)
    }

    /// The users and clients of the demo that these have no password or secret of.
    #[must_use]
    pub fn missing(&self) -> Vec<&'static str> {
        let users = USERS.iter().map(|(_, name, ..)| *name).filter(|name| self.password(name).is_empty());
        let clients = CLIENTS.iter().filter(|row| !row.public).map(|row| row.client_id);
        users.chain(clients.filter(|id| self.secret(id).is_empty())).collect()
    }

    /// The secret of a client.
    #[must_use]
    pub fn secret(&self, client_id: &str) -> &str {
        self.clients.iter().find(|client| client.client_id == client_id).map_or("", |client| &client.secret)
    }
}

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
        let users = USERS.iter().filter(|(own, ..)| *own == place).count();
        let wanted = users + CLIENTS.iter().filter(|row| row.tenant == place).count();
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
    let users = USERS.iter().filter(|(own, ..)| *own == place).map(|row| user(row, credentials, random));
    let clients = CLIENTS.iter().filter(|row| row.tenant == place).map(|row| client(row, credentials));
    registrar.declare(tenant.id, Product::Identity, users.chain(clients).collect::<Vec<_>>()).await
}

fn user(
    row: &(usize, &str, &str, &str),
    credentials: &DemoCredentials,
    random: &dyn Random,
) -> (&'static str, String, Value) {
    let (_, name, role, _) = row;
    let password = SecretBytes::copy_of(credentials.password(name).as_bytes());
    let spec = json!({
        "email": format!("{}@demo.local", name.trim_start_matches("demo-")),
        "display_name": name.replace('-', " "),
        "password_hash": PasswordHash::create(&password, random).to_string(),
        "roles": [role],
        "enabled": true,
    });
    ("user", (*name).to_owned(), spec)
}

fn client(row: &ClientRow, credentials: &DemoCredentials) -> (&'static str, String, Value) {
    let code = row.grants.contains(&"authorization_code");
    let secrets: Vec<String> =
        if row.public { Vec::new() } else { vec![sha256_hex(credentials.secret(row.client_id).as_bytes())] };
    let spec = json!({
        "client_id": row.client_id,
        "display_name": row.display_name,
        "type": if row.public { "public" } else { "confidential" },
        "secret_sha256": secrets,
        "redirect_uris": if code { vec![REDIRECT_URI] } else { vec![] },
        "post_logout_redirect_uris": if code { vec![LOGGED_OUT_URI] } else { vec![] },
        "grants": row.grants,
        "scopes": row.scopes,
    });
    ("client", row.client_id.to_owned(), spec)
}
