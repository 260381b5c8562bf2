//! The entries of a Tenant as rows of the registry, and how far the products are with each. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crds::{ClientType, EntryState, EntryStatus, Grant, KeyAlgorithm, OnRemove, OnRemoveKey, Pkce, Role, Tenant};
use crds::{TenantClient, TenantUser};
use keyrealm_base::Timestamp;
use keyrealm_crypto::sha256_hex;
use keyrealm_registry::{Declared, DesiredEntry, DesiredStatus, ObservedEntry, Overlap, spec_hash, specs};
use keyrealm_store::Product;
use serde_json::Value;

use super::observed::{ClientSecret, Password, Registry};
use crate::duration;

/// Reasons of a product that pass without anybody's doing.
const PASSING: [&str; 2] = ["TenantNotMigrated", "DatabaseFailed"];
/// As many as the status holds.
const SHOWN: usize = 100;
/// As the definition has it: longer nobody waits for a secret to end.
const LONGEST_OVERLAP: Duration = Duration::from_hours(720);

/// An entry that cannot be declared as it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// One word.
    pub reason: &'static str,
    /// A sentence.
    pub message: String,
}

/// Kind and name of an entry.
pub type Place = (&'static str, String);

/// What the spec comes to.
#[derive(Debug, Clone, Default)]
pub struct Wanted {
    /// What shall be declared.
    pub declared: Vec<Declared>,
    /// What is wrong with some entries.
    pub problems: BTreeMap<Place, Problem>,
    /// Entries that wait for something of ours, such as a hash.
    pub waiting: BTreeSet<Place>,
    /// When former secrets end whose end nothing else holds; by the client's name.
    pub overlaps: Vec<Overlap>,
    /// When the next former secret ends.
    pub next_end: Option<Timestamp>,
}

/// The name in log-ins and client ids.
#[must_use]
pub fn slug(tenant: &Tenant) -> &str {
    let name = tenant.metadata.name.as_deref().unwrap_or_default();
    tenant.spec.slug.as_deref().unwrap_or(name)
}

/// The name that pages show.
#[must_use]
pub fn display_name(tenant: &Tenant) -> &str {
    tenant.spec.display_name.as_deref().unwrap_or_else(|| slug(tenant))
}

/// The id that a client uses.
#[must_use]
pub fn client_id(tenant: &Tenant, client: &TenantClient) -> String {
    client.client_id.clone().unwrap_or_else(|| format!("{}.{}", slug(tenant), client.name))
}

/// How long a client's former secret is valid.
///
/// # Errors
/// When the text is no duration, with what would be one.
pub fn overlap(client: &TenantClient) -> Result<Duration, String> {
    let text = client.secret.as_ref().map_or("24h", |secret| secret.overlap.as_str());
    duration::parse(text).filter(|overlap| *overlap <= LONGEST_OVERLAP).ok_or_else(|| {
        format!("overlap `{text}`: write numbers with units, such as `24h`, `1h30m` or `0s` (at most 720h)")
    })
}

/// What shall be declared. An entry whose source cannot be read keeps the secret or password that is declared: it is never
/// taken away for that.
#[must_use]
pub fn wanted(
    tenant: &Tenant,
    clients: &BTreeMap<String, ClientSecret>,
    passwords: &BTreeMap<String, Password>,
    registry: &Registry,
    now: Timestamp,
) -> Wanted {
    let mut wanted = Wanted::default();
    for key in &tenant.spec.keys {
        let spec =
            specs::KeySpec { algorithm: algorithm(key.algorithm).to_owned(), description: key.description.clone() };
        let on_remove = match key.on_remove {
            OnRemoveKey::Orphan => keyrealm_registry::OnRemove::Orphan,
            OnRemoveKey::Disable => keyrealm_registry::OnRemove::Disable,
        };
        wanted.declare(Product::Kms, "key", &key.name, &spec, on_remove);
    }
    for client in &tenant.spec.clients {
        wanted.client(tenant, client, clients.get(&client.name), registry, now);
    }
    for user in &tenant.spec.users {
        wanted.user(user, passwords.get(&user.name), &registry.rows);
    }
    wanted.overlaps.sort_by(|a, b| a.client.cmp(&b.client));
    wanted
}

impl Wanted {
    fn declare(
        &mut self,
        product: Product,
        kind: &'static str,
        name: &str,
        spec: &impl serde::Serialize,
        on_remove: keyrealm_registry::OnRemove,
    ) {
        match serde_json::to_value(spec) {
            Ok(spec) => {
                let (kind, name) = (kind.to_owned(), name.to_owned());
                self.declared.push(Declared { product, kind, name, spec, on_remove });
            }
            Err(error) => self.problem(kind, name, "InvalidSpec", error.to_string()),
        }
    }

    fn problem(&mut self, kind: &'static str, name: &str, reason: &'static str, message: impl Into<String>) {
        self.problems.insert((kind, name.to_owned()), Problem { reason, message: message.into() });
    }

    fn client(
        &mut self,
        tenant: &Tenant,
        client: &TenantClient,
        secret: Option<&ClientSecret>,
        registry: &Registry,
        now: Timestamp,
    ) {
        let place = ("client", client.name.clone());
        let mut hashes = match (client.kind, secret) {
            (ClientType::Public, _) => Vec::new(),
            (_, Some(ClientSecret::Generated(own))) => self.valid(&own.sha256, own.former.as_ref(), now),
            (_, Some(ClientSecret::Given { sha256, former })) => {
                let hashes = self.valid(sha256, former.as_ref(), now);
                if let (Some(former), Some((_, until))) = (hashes.get(1), former) {
                    self.overlaps(&client.name, former, *until);
                }
                hashes
            }
            (_, secret) => {
                match secret {
                    Some(ClientSecret::Foreign(message)) => {
                        self.problem("client", &client.name, "ForeignObject", message);
                    }
                    Some(ClientSecret::Unusable(reason, message)) => {
                        self.problem("client", &client.name, reason, message);
                    }
                    _ => drop(self.waiting.insert(place)),
                }
                self.still_valid(&client.name, registry, now)
            }
        };
        if client.kind == ClientType::Confidential && hashes.is_empty() {
            return;
        }
        hashes.truncate(2);
        let spec = specs::ClientSpec {
            client_id: client_id(tenant, client),
            display_name: client.display_name.clone(),
            kind: match client.kind {
                ClientType::Public => specs::ClientType::Public,
                ClientType::Confidential => specs::ClientType::Confidential,
            },
            secret_sha256: hashes,
            redirect_uris: client.redirect_uris.clone(),
            post_logout_redirect_uris: client.post_logout_redirect_uris.clone(),
            grants: client.grants.iter().map(|grant| grant_name(*grant).to_owned()).collect(),
            scopes: client.scopes.join(" "),
            pkce: match client.pkce {
                Pkce::Required => specs::PkcePolicy::Required,
                Pkce::IfSent => specs::PkcePolicy::IfSent,
            },
            enabled: client.enabled,
        };
        self.declare(Product::Identity, "client", &client.name, &spec, on_remove(client.on_remove));
    }

    /// The present secret and the former one while it is valid.
    fn valid(&mut self, sha256: &str, former: Option<&(String, Timestamp)>, now: Timestamp) -> Vec<String> {
        let mut hashes = vec![sha256.to_owned()];
        if let Some((former, end)) = former.filter(|(former, end)| *end > now && former != sha256) {
            hashes.push(former.clone());
            self.next_end = Some(self.next_end.map_or(*end, |other| other.min(*end)));
        }
        hashes
    }

    fn overlaps(&mut self, client: &str, former_sha256: &str, until: Timestamp) {
        let (client, former_sha256) = (client.to_owned(), former_sha256.to_owned());
        self.overlaps.push(Overlap { client, former_sha256, until });
    }

    /// What is declared, for a client whose Secret cannot be read: a former one ends in its time all the same.
    fn still_valid(&mut self, client: &str, registry: &Registry, now: Timestamp) -> Vec<String> {
        let mut hashes = declared_texts(&registry.rows, "client", client, "secret_sha256");
        let noted = registry.overlaps.iter().find(|noted| noted.client == client);
        let Some(noted) = noted.filter(|noted| hashes.get(1) == Some(&noted.former_sha256)) else { return hashes };
        if noted.until <= now {
            hashes.truncate(1);
        } else {
            self.overlaps(client, &noted.former_sha256, noted.until);
            self.next_end = Some(self.next_end.map_or(noted.until, |other| other.min(noted.until)));
        }
        hashes
    }

    fn user(&mut self, user: &TenantUser, password: Option<&Password>, rows: &[DesiredEntry]) {
        let hash = match password {
            Some(Password::Hash(hash)) => Some(hash.clone()),
            other => {
                match other {
                    Some(Password::Unusable(reason, message)) => self.problem("user", &user.name, reason, message),
                    _ => drop(self.waiting.insert(("user", user.name.clone()))),
                }
                declared_texts(rows, "user", &user.name, "password_hash").into_iter().next()
            }
        };
        let Some(password_hash) = hash else { return };
        let spec = specs::UserSpec {
            email: user.email.clone(),
            display_name: user.display_name.clone(),
            password_hash,
            roles: user.roles.iter().map(|role| role_name(*role).to_owned()).collect(),
            enabled: user.enabled,
        };
        self.declare(Product::Identity, "user", &user.name, &spec, on_remove(user.on_remove));
    }

    /// Whether the rows say otherwise.
    #[must_use]
    pub fn differs(&self, rows: &[DesiredEntry]) -> bool {
        let live = rows.iter().filter(|row| row.deleted_at.is_none()).count();
        live != self.declared.len() || self.declared.iter().any(|entry| !is_declared(entry, rows))
    }
}

fn is_declared(entry: &Declared, rows: &[DesiredEntry]) -> bool {
    rows.iter().any(|row| {
        row.deleted_at.is_none()
            && (row.product.as_str(), &row.kind, &row.name) == (entry.product.name(), &entry.kind, &entry.name)
            && row.on_remove == entry.on_remove
            && row.spec == entry.spec
    })
}

/// What a row says for this member: a text or texts. One that was taken away does not come back with what it had.
#[must_use]
pub fn declared_texts(rows: &[DesiredEntry], kind: &str, name: &str, member: &str) -> Vec<String> {
    let row = rows.iter().find(|row| row.deleted_at.is_none() && row.kind == kind && row.name == name);
    match row.and_then(|row| row.spec.get(member)) {
        Some(Value::String(text)) => vec![text.clone()],
        Some(Value::Array(texts)) => texts.iter().filter_map(|text| text.as_str().map(str::to_owned)).collect(),
        _ => Vec::new(),
    }
}

/// How far the products are.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Progress {
    /// What is not simply ready, worst first.
    pub shown: Vec<EntryStatus>,
    /// Entries of the spec.
    pub total: usize,
    /// Those that are as declared.
    pub ready: usize,
    /// Failed ones: word, `kind name` and sentence.
    pub failed: Vec<(String, String, String)>,
}

/// How far the products are with the entries of the spec, and with those that were removed.
#[must_use]
pub fn progress(tenant: &Tenant, wanted: &Wanted, rows: &[DesiredEntry], reports: &[ObservedEntry]) -> Progress {
    let mut progress = Progress::default();
    let spec = &tenant.spec;
    let keys = spec.keys.iter().map(|key| ("key", &key.name));
    let clients = spec.clients.iter().map(|client| ("client", &client.name));
    let users = spec.users.iter().map(|user| ("user", &user.name));
    for (kind, name) in keys.chain(clients).chain(users) {
        progress.total += 1;
        let report = reports.iter().find(|report| report.kind == kind && report.name == *name);
        let id = report.and_then(|report| report.observed.object_id.clone());
        if let Some(problem) = wanted.problems.get(&(kind, name.clone())) {
            progress.failed(kind, name, id, problem.reason, &problem.message);
            continue;
        }
        let entry = wanted.declared.iter().find(|entry| entry.kind == kind && entry.name == *name);
        let current =
            entry.is_some_and(|entry| is_declared(entry, rows)) && !wanted.waiting.contains(&(kind, name.clone()));
        let hash = entry.map(|entry| spec_hash(&entry.spec, sha256_hex));
        let observed = report.map(|report| &report.observed).filter(|o| current && Some(&o.spec_hash) == hash.as_ref());
        match observed.map(|observed| (observed.status, observed)) {
            Some((DesiredStatus::Ready, _)) => progress.ready += 1,
            Some((DesiredStatus::Failed, observed)) if !PASSING.contains(&observed.reason.as_str()) => {
                progress.failed(kind, name, id, &observed.reason, &observed.message);
            }
            Some((_, observed)) => progress.show(kind, name, EntryState::Pending, id, &observed.message),
            None => progress.show(kind, name, EntryState::Pending, id, ""),
        }
    }
    for row in rows.iter().filter(|row| row.deleted_at.is_some()) {
        let report = reports.iter().find(|report| report.kind == row.kind && report.name == row.name);
        let id = report.and_then(|report| report.observed.object_id.clone());
        let message = report.map(|report| report.observed.message.as_str()).unwrap_or_default();
        match report.map(|report| report.observed.status) {
            Some(DesiredStatus::Deleted) => {}
            Some(DesiredStatus::Orphaned) => progress.show(&row.kind, &row.name, EntryState::Orphaned, id, message),
            Some(DesiredStatus::Disabled) => progress.show(&row.kind, &row.name, EntryState::Disabled, id, message),
            Some(DesiredStatus::Failed) => progress.show(&row.kind, &row.name, EntryState::Failed, id, message),
            _ => {
                let message = format!("removed from the spec; next: {}", row.on_remove.name());
                progress.show(&row.kind, &row.name, EntryState::Pending, id, &message);
            }
        }
    }
    progress.shown.sort_by_key(|entry| {
        let weight = match entry.state {
            EntryState::Failed => 0,
            EntryState::Pending | EntryState::Ready => 1,
            EntryState::Orphaned | EntryState::Disabled => 2,
        };
        (weight, entry.kind.clone(), entry.name.clone())
    });
    progress.shown.truncate(SHOWN);
    progress
}

impl Progress {
    fn failed(&mut self, kind: &str, name: &str, id: Option<String>, reason: &str, message: &str) {
        self.failed.push((reason.to_owned(), format!("{kind} {name}"), message.to_owned()));
        self.show(kind, name, EntryState::Failed, id, &format!("{reason}: {message}"));
    }

    fn show(&mut self, kind: &str, name: &str, state: EntryState, id: Option<String>, message: &str) {
        let message = message.chars().take(1024).collect();
        self.shown.push(EntryStatus { kind: kind.to_owned(), name: name.to_owned(), state, id, message });
    }
}

fn on_remove(wanted: OnRemove) -> keyrealm_registry::OnRemove {
    match wanted {
        OnRemove::Orphan => keyrealm_registry::OnRemove::Orphan,
        OnRemove::Disable => keyrealm_registry::OnRemove::Disable,
        OnRemove::Delete => keyrealm_registry::OnRemove::Delete,
    }
}

const fn algorithm(wanted: KeyAlgorithm) -> &'static str {
    match wanted {
        KeyAlgorithm::A256Kw => "A256GCM/A256KW",
        KeyAlgorithm::Dir => "A256GCM/dir",
        KeyAlgorithm::Es256 => "ES256",
        KeyAlgorithm::Rs256 => "RS256",
        KeyAlgorithm::EdDsa => "EdDSA",
    }
}

const fn grant_name(wanted: Grant) -> &'static str {
    match wanted {
        Grant::AuthorizationCode => "authorization_code",
        Grant::RefreshToken => "refresh_token",
        Grant::ClientCredentials => "client_credentials",
    }
}

const fn role_name(wanted: Role) -> &'static str {
    match wanted {
        Role::Admin => "admin",
        Role::TenantAdmin => "tenant-admin",
        Role::User => "user",
        Role::Service => "service",
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn overlaps() {
        let read = |secret: Value| {
            let client = json!({"name": "app", "type": "confidential", "grants": [], "scopes": [], "secret": secret});
            overlap(&serde_json::from_value(client).unwrap())
        };
        for (text, seconds) in [("0s", 0), ("24h", 86_400), ("1h30m", 5_400), ("720h", 2_592_000)] {
            assert_eq!(read(json!({"overlap": text})), Ok(Duration::from_secs(seconds)), "{text}");
        }
        assert_eq!(read(Value::Null), Ok(Duration::from_hours(24)));
        for bad in ["", "24", "h", "1x", "-1h", "1h 30m", "721h", "99999999999999999999h", "1\u{e4}"] {
            assert!(read(json!({"overlap": bad})).unwrap_err().contains("24h"), "{bad}");
        }
    }
}
