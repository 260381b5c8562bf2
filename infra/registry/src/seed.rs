//! The demo's tenants, keys, clients and users: one table for whoever declares them, the products with `--demo` and the
//! operator for a DemoEnvironment.

use keyrealm_base::Random;
use serde::{Deserialize, Serialize};

/// Where the demo's clients are sent back to.
pub const REDIRECT_URI: &str = "http://localhost:3000/callback";
/// Where the demo's clients are sent after a log-out.
pub const LOGGED_OUT_URI: &str = "http://localhost:3000/logged-out";

/// Slug and name of the tenants that the demo's steps need.
pub const TENANTS: [(&str, &str); 2] = [("demo-1", "Demo One"), ("demo-2", "Demo Two")];

/// A key that each tenant has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SeedKey {
    /// Its name.
    pub name: &'static str,
    /// Its algorithm.
    pub algorithm: &'static str,
    /// For people.
    pub description: &'static str,
}

/// The keys that each tenant has.
pub const KEYS: [SeedKey; 4] = [
    SeedKey { name: "demo-encryption-aes256", algorithm: "A256GCM/dir", description: "Encrypts directly" },
    SeedKey { name: "demo-signing-rsa2048", algorithm: "RS256", description: "Signs with RSA" },
    SeedKey { name: "demo-signing-ec256", algorithm: "ES256", description: "Signs with P-256" },
    SeedKey {
        name: "demo-wrapping-aes256kw",
        algorithm: "A256GCM/A256KW",
        description: "Wraps a fresh key for each message",
    },
];

/// A user of a tenant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SeedUser {
    /// The user name.
    pub name: String,
    /// Its role.
    pub role: &'static str,
    /// The documented password, known to everybody.
    pub documented: String,
}

impl SeedUser {
    /// The address.
    #[must_use]
    pub fn email(&self) -> String {
        format!("{}@demo.local", self.name.trim_start_matches("demo-"))
    }

    /// The name that people are shown.
    #[must_use]
    pub fn display_name(&self) -> String {
        self.name.replace('-', " ")
    }
}

/// A client of a tenant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SeedClient {
    /// Its name in the tenant.
    pub name: &'static str,
    /// Its id: the bare name in the first tenant, with the slug before it in every other one.
    pub client_id: String,
    /// The name that people are shown.
    pub display_name: String,
    /// Whether it is public and so has no secret.
    pub public: bool,
    /// How it gets tokens.
    pub grants: &'static [&'static str],
    /// Scopes that it may ask for, separated by blanks.
    pub scopes: &'static str,
    /// The documented secret, known to everybody; empty for a public client.
    pub documented: String,
}

impl SeedClient {
    /// Whether people log in through it.
    #[must_use]
    pub fn has_log_in(&self) -> bool {
        self.grants.contains(&"authorization_code")
    }
}

/// A tenant of the demo.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SeedTenant {
    /// Its slug.
    pub slug: String,
    /// The name that pages show.
    pub display_name: String,
    /// Its users.
    pub users: Vec<SeedUser>,
    /// Its clients.
    pub clients: Vec<SeedClient>,
}

const WEB: (&str, &str) = ("demo-confidential-client", "openid profile email kms:read kms:write");
const CODE: &[&str] = &["authorization_code", "refresh_token"];
const CODE_AND_OWN: &[&str] = &["authorization_code", "refresh_token", "client_credentials"];

impl SeedTenant {
    /// The tenant of this number, from 1. All after the second are like the second.
    #[must_use]
    pub fn number(number: usize) -> Self {
        let known = number.checked_sub(1).and_then(|place| TENANTS.get(place));
        let (slug, display_name) = known.map_or_else(
            || (format!("demo-{number}"), format!("Demo {number}")),
            |(slug, name)| ((*slug).to_owned(), (*name).to_owned()),
        );
        let (users, clients) = if number == 1 { (first_users(), first_clients()) } else { others(number, &slug) };
        Self { slug, display_name, users, clients }
    }

    /// The first so many tenants.
    pub fn first(count: usize) -> impl Iterator<Item = Self> {
        (1..=count).map(Self::number)
    }
}

fn first_users() -> Vec<SeedUser> {
    let users = [("demo-admin", "admin"), ("demo-user", "user"), ("demo-service", "service")];
    users.map(|(name, role)| SeedUser { name: name.to_owned(), role, documented: format!("{name}-password") }).to_vec()
}

fn first_clients() -> Vec<SeedClient> {
    let client = |name: &'static str, display_name: &str, grants, scopes, documented: &str| SeedClient {
        name,
        client_id: name.to_owned(),
        display_name: display_name.to_owned(),
        public: documented.is_empty(),
        grants,
        scopes,
        documented: documented.to_owned(),
    };
    let (web, scopes) = WEB;
    let service = "kms:encrypt kms:decrypt kms:sign kms:verify";
    vec![
        client("demo-public-client", "Demo app", CODE, "openid profile email", ""),
        client(web, "Demo web app", CODE_AND_OWN, scopes, "demo-client-secret"),
        client("demo-service-client", "Demo service", &["client_credentials"], service, "service-secret"),
    ]
}

fn others(number: usize, slug: &str) -> (Vec<SeedUser>, Vec<SeedClient>) {
    let name = format!("demo-user-{number}");
    let documented = format!("{name}-password");
    let which = if number == 2 { "the second tenant".to_owned() } else { format!("tenant {number}") };
    let (web, scopes) = WEB;
    let client = SeedClient {
        name: web,
        client_id: format!("{slug}.{web}"),
        display_name: format!("Demo web app of {which}"),
        public: false,
        grants: CODE_AND_OWN,
        scopes,
        documented: format!("{slug}-client-secret"),
    };
    (vec![SeedUser { name, role: "tenant-admin", documented }], vec![client])
}

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
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DemoCredentials {
    /// The users.
    pub users: Vec<DemoUser>,
    /// The clients.
    pub clients: Vec<DemoClient>,
}

impl DemoCredentials {
    /// Random passwords and secrets for the tenants that the demo's steps need.
    #[must_use]
    pub fn generate(random: &dyn Random) -> Self {
        Self::default().completed(TENANTS.len(), random)
    }

    /// The documented ones, known to everybody.
    #[must_use]
    pub fn documented() -> Self {
        Self::with(TENANTS.len(), |user| user.documented.clone(), |client| client.documented.clone())
    }

    /// Those of the first so many tenants: what is there stays, what is missing is drawn, the others' go.
    #[must_use]
    pub fn completed(&self, tenants: usize, random: &dyn Random) -> Self {
        let kept = |kept: &str, drawn: &dyn Fn() -> String| if kept.is_empty() { drawn() } else { kept.to_owned() };
        Self::with(
            tenants,
            |user| kept(self.password(&user.name), &|| hex(&random.bytes::<16>())),
            |client| kept(self.secret(&client.client_id), &|| hex(&random.bytes::<32>())),
        )
    }

    fn with(tenants: usize, password: impl Fn(&SeedUser) -> String, secret: impl Fn(&SeedClient) -> String) -> Self {
        let mut all = Self::default();
        for tenant in SeedTenant::first(tenants) {
            all.users.extend(tenant.users.iter().map(|user| DemoUser {
                tenant: tenant.slug.clone(),
                username: user.name.clone(),
                password: password(user),
            }));
            all.clients.extend(tenant.clients.iter().map(|client| DemoClient {
                tenant: tenant.slug.clone(),
                client_id: client.client_id.clone(),
                secret: if client.public { String::new() } else { secret(client) },
            }));
        }
        all
    }

    /// The password of a user.
    #[must_use]
    pub fn password(&self, username: &str) -> &str {
        self.users.iter().find(|user| user.username == username).map_or("", |user| &user.password)
    }

    /// The secret of a client.
    #[must_use]
    pub fn secret(&self, client_id: &str) -> &str {
        self.clients.iter().find(|client| client.client_id == client_id).map_or("", |client| &client.secret)
    }

    /// The users and clients of the demo's steps that these have no password or secret of.
    #[must_use]
    pub fn missing(&self) -> Vec<String> {
        let mut missing = Vec::new();
        for tenant in SeedTenant::first(TENANTS.len()) {
            let users = tenant.users.into_iter().map(|user| user.name);
            missing.extend(users.filter(|name| self.password(name).is_empty()));
            let clients = tenant.clients.into_iter().filter(|client| !client.public).map(|client| client.client_id);
            missing.extend(clients.filter(|id| self.secret(id).is_empty()));
        }
        missing
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU8, Ordering};

    use super::*;

    #[derive(Default)]
    struct Counting(AtomicU8);

    impl Random for Counting {
        fn fill(&self, buffer: &mut [u8]) {
            buffer.fill(self.0.fetch_add(1, Ordering::Relaxed));
        }
    }

    #[test]
    fn what_is_known_stays_and_only_what_is_missing_is_drawn() {
        let random = Counting::default();
        let two = DemoCredentials::generate(&random);
        assert_eq!(two.missing(), [""; 0]);
        assert!(two == two.completed(2, &random), "nothing is missing");
        let three = two.completed(3, &random);
        assert_eq!(three.users.get(..4).map(<[_]>::len), Some(two.users.len()));
        assert!(three.completed(2, &random) == two, "the first two keep theirs");
        assert_eq!(three.secret("demo-3.demo-confidential-client").len(), 64);
        assert!(three.password("demo-user-3") != three.password("demo-user-2"));
        assert_eq!(two.completed(1, &random).missing(), ["demo-user-2", "demo-2.demo-confidential-client"]);
    }

    /// Names are unique in the realm for clients, and the documented passwords are those of every earlier demo.
    #[test]
    fn twenty_tenants_have_clients_of_their_own() {
        let tenants: Vec<SeedTenant> = SeedTenant::first(20).collect();
        let ids: std::collections::BTreeSet<&str> =
            tenants.iter().flat_map(|tenant| &tenant.clients).map(|client| client.client_id.as_str()).collect();
        assert_eq!(ids.len(), 3 + 19);
        assert!(tenants.iter().enumerate().all(|(place, tenant)| tenant.slug == format!("demo-{}", place + 1)));
        let known = DemoCredentials::documented();
        assert_eq!(known.password("demo-user-2"), "demo-user-2-password");
        assert_eq!(known.secret("demo-2.demo-confidential-client"), "demo-2-client-secret");
        assert_eq!(known.secret("demo-confidential-client"), "demo-client-secret");
        assert_eq!(known.secret("demo-public-client"), "");
    }
}
