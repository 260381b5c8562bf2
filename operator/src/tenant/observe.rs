//! What is there: from the watches, the realm's database and, when there is reason to read them, Secrets.

use std::collections::{BTreeMap, HashMap};
use std::sync::Mutex;
use std::time::Duration;

use crds::{ClientType, Tenant, TenantClient};
use k8s_openapi::api::core::v1::Secret;
use keyrealm_base::{TenantId, Timestamp};
use keyrealm_crypto::SecretBytes;
use keyrealm_registry::{Overlap, RegistryError, desired, observed, overlaps, tenants};
use keyrealm_store::{Drift, Product, Space, StoreError};
use kube::ResourceExt as _;
use kube::runtime::reflector::ObjectRef;

use super::entries::{self, declared_texts};
use super::memory::{Memory, Outcome, Remembered, Source, lock};
use super::observed::{ClientSecret, DatabaseSeen, Holder, Observed, Password, RealmSeen, Registry};
use super::plan::uid;
use super::{allowed, client_secret, sources};
use crate::child::ChildKind;
use crate::context::Context;
use crate::databases::{RealmDatabase, RealmKey, RegistryView};
use crate::error::ApiError;

/// A database that takes longer to answer does not answer.
pub(super) const ANSWER: Duration = Duration::from_secs(10);

/// How long archived schemas stay.
const ARCHIVED: Duration = Duration::from_hours(24 * 30);

/// What is there, and what the steps need beyond it.
pub(super) struct Found {
    pub(super) observed: Observed,
    pub(super) database: Option<std::sync::Arc<RealmDatabase>>,
    /// Passwords that are still to be hashed.
    pub(super) passwords: BTreeMap<String, Unhashed>,
}

/// A password, and where it was found.
pub(super) struct Unhashed {
    pub(super) text: SecretBytes,
    pub(super) source: Source<()>,
}

/// The Realm of a Tenant.
pub(super) fn realm_key(tenant: &Tenant) -> RealmKey {
    let (namespace, name) = crate::stores::realm_of(tenant);
    RealmKey { namespace, name }
}

/// Looks.
///
/// # Errors
/// When a Secret cannot be read.
pub(super) async fn observe(tenant: &Tenant, context: &Context, memory: &Memory) -> Result<Found, ApiError> {
    let now = context.clock.now();
    let key = realm_key(tenant);
    let remembered = memory.of(uid(tenant));
    let deleting = tenant.metadata.deletion_timestamp.is_some();
    let mut found = Found {
        observed: Observed { realm: realm(tenant, context, &key), ..Observed::default() },
        database: context.databases.get(&key),
        passwords: BTreeMap::new(),
    };
    if deleting {
        let since = *lock(&remembered).deleting_since.get_or_insert(now);
        found.observed.deleting_for = now.since(since);
    } else if found.observed.realm != RealmSeen::Present {
        return Ok(found);
    }
    found.observed.database = match &found.database {
        None => DatabaseSeen::None,
        Some(database) => registry(tenant, context, memory, &remembered, &key, database).await,
    };
    if deleting {
        if let DatabaseSeen::None | DatabaseSeen::Unreachable(_) = found.observed.database
            && let Some(what) = gone(context, &key).await?
        {
            found.observed.database = DatabaseSeen::Gone(what);
        }
        return Ok(found);
    }
    let DatabaseSeen::Open(registry) = &found.observed.database else { return Ok(found) };
    if registry.own.is_some() {
        let (rows, ends) = (registry.rows.clone(), registry.overlaps.clone());
        let mut reader =
            Reader { tenant, context, remembered: &remembered, rows: &rows, ends: &ends, now, read: HashMap::new() };
        for client in tenant.spec.clients.iter().filter(|client| client.kind == ClientType::Confidential) {
            let secret = match given(client) {
                Some(source) => {
                    reader.given(&client.name, source, entries::overlap(client).unwrap_or_default()).await?
                }
                None => reader.generated(&client.name).await?,
            };
            found.observed.clients.insert(client.name.clone(), secret);
        }
        for user in &tenant.spec.users {
            let (password, text) = reader.password(&user.name, &user.password_secret_ref).await?;
            found.observed.passwords.insert(user.name.clone(), password);
            found.passwords.extend(text.map(|text| (user.name.clone(), text)));
        }
        found.observed.spare = reader.spare();
    }
    Ok(found)
}

fn realm(tenant: &Tenant, context: &Context, key: &RealmKey) -> RealmSeen {
    let Some(realm) = context.stores.realms().get(&ObjectRef::new(&key.name).within(&key.namespace)) else {
        let watch = &context.settings.watch;
        let seen = watch.covers(Some(&key.namespace));
        return if seen { RealmSeen::Missing } else { RealmSeen::NotWatched(watch.namespaces.clone()) };
    };
    if realm.metadata.deletion_timestamp.is_some() {
        return RealmSeen::Deleting;
    }
    let namespace = tenant.namespace().unwrap_or_default();
    let labels = context.stores.namespace_labels(&namespace);
    match allowed::check(&realm, &namespace, labels.as_ref()) {
        Ok(()) => RealmSeen::Present,
        Err(why) => RealmSeen::Refuses(why),
    }
}

/// After a start of the operator: the Realm was found ready by an earlier process, and its database is opened in a moment, or
/// the Realm says why not. Until then what the Tenant says holds.
pub(super) fn is_being_opened(tenant: &Tenant, context: &Context) -> bool {
    let key = realm_key(tenant);
    if tenant.metadata.deletion_timestamp.is_some() || context.databases.get(&key).is_some() {
        return false;
    }
    let realm = context.stores.realms().get(&ObjectRef::new(&key.name).within(&key.namespace));
    let status = realm.as_ref().filter(|realm| realm.metadata.deletion_timestamp.is_none());
    let conditions = status.and_then(|realm| realm.status.as_ref()).map(|status| status.conditions.as_slice());
    let ready = conditions.unwrap_or_default().iter().find(|one| one.kind == crds::READY);
    ready.is_some_and(|ready| ready.status == crds::ConditionStatus::True)
}

/// What went of a database that does not answer, so that it never will again.
async fn gone(context: &Context, key: &RealmKey) -> Result<Option<String>, ApiError> {
    let Some(realm) = context.stores.realms().get(&ObjectRef::new(&key.name).within(&key.namespace)) else {
        return Ok(None);
    };
    if realm.metadata.deletion_timestamp.is_none() {
        return Ok(None);
    }
    if let Some(external) = &realm.spec.database.external {
        let name = &external.secret_ref.name;
        let secret = context.read_secret(&key.namespace, name).await?;
        return Ok(secret.is_none().then(|| {
            format!(
                "the Realm {key} goes, and the Secret {}/{name} with the login of its database is gone",
                key.namespace
            )
        }));
    }
    let set = context.stores.stateful_set(&key.namespace, &format!("{}-postgres", key.name));
    let there = set.is_some_and(|set| set.metadata.deletion_timestamp.is_none());
    Ok((!there).then(|| format!("the Realm {key} goes, and its managed database is gone")))
}

async fn registry(
    tenant: &Tenant,
    context: &Context,
    memory: &Memory,
    remembered: &Mutex<Remembered>,
    key: &RealmKey,
    database: &RealmDatabase,
) -> DatabaseSeen {
    let view = database.view();
    if let Some(failure) = &view.failure {
        return DatabaseSeen::Unreachable(failure.message.clone());
    }
    // What ends needs no login.
    if !view.logins && tenant.metadata.deletion_timestamp.is_none() {
        return DatabaseSeen::Unprepared;
    }
    let now = context.clock.now();
    let reading = async {
        if memory.drift_due(key, now) {
            memory.set_drift(key, by_tenant(database.registrar.drift().await?));
            for name in database.registrar.purge_archives(now.minus(ARCHIVED)).await? {
                tracing::info!(schema = name, "an archived schema's time is over: it is dropped");
            }
        }
        read(tenant, context, database).await
    };
    let mut registry = match tokio::time::timeout(ANSWER, reading).await {
        Ok(Ok(registry)) => registry,
        Ok(Err(error)) => return DatabaseSeen::Unreachable(error.to_string()),
        Err(_) => return DatabaseSeen::Unreachable(format!("it has not answered for {} s", ANSWER.as_secs())),
    };
    if let Some(own) = &registry.own {
        registry.versions = view.versions.get(&own.id).copied().unwrap_or_default();
        registry.drift = memory.drift(key, own.id);
    }
    registry.fresh.clone_from(&view.instances);
    let mut remembered = lock(remembered);
    registry.declared = remembered.declared;
    remembered.quiet_since = lacks_a_product(&view).then(|| remembered.quiet_since.unwrap_or(now));
    registry.quiet_for = remembered.quiet_since.map(|since| now.since(since));
    DatabaseSeen::Open(Box::new(registry))
}

fn lacks_a_product(view: &RegistryView) -> bool {
    let there = |product: &Product| view.instances.iter().any(|instance| instance.product == product.name());
    !Product::ALL.iter().all(there)
}

fn by_tenant(all: Vec<Drift>) -> HashMap<TenantId, Vec<Drift>> {
    let mut found: HashMap<TenantId, Vec<Drift>> = HashMap::new();
    for drift in all {
        if let Space::Tenant(_, tenant) = drift.space {
            found.entry(tenant).or_default().push(drift);
        }
    }
    found
}

async fn read(tenant: &Tenant, context: &Context, database: &RealmDatabase) -> Result<Registry, RegistryError> {
    let mut tx = database.database.control_read().await?;
    let own = tenants::by_owner(&mut tx, uid(tenant)).await?;
    let mut registry = Registry::default();
    if let Some(own) = &own {
        registry.rows = desired::of_tenant(&mut tx, own.id).await?;
        registry.reports = observed::of_tenant(&mut tx, own.id).await?;
        if tenant.spec.clients.iter().any(|client| given(client).is_some()) {
            registry.overlaps = overlaps::of_tenant(&mut tx, own.id).await?;
        }
    } else if tenant.metadata.deletion_timestamp.is_none() {
        let there = |owner: &str| {
            let named = |other: &Tenant| other.metadata.uid.as_deref() == Some(owner);
            context.stores.tenants().state().iter().any(|other| named(other))
        };
        let holder = |row: keyrealm_registry::Tenant| Holder {
            owner_lives: !row.owner.is_empty()
                && (!context.settings.watch.covers(row.home_namespace()) || there(&row.owner)),
            row,
        };
        registry.of_slug = tenants::by_slug(&mut tx, entries::slug(tenant)).await?.map(holder);
        if let Some(id) = tenant.spec.id.as_deref().and_then(|id| id.parse().ok()) {
            registry.of_id = tenants::by_id(&mut tx, id).await?.map(holder);
        }
    }
    registry.own = own;
    Ok::<_, StoreError>(registry).map_err(RegistryError::from)
}

/// The entry of a Secret of the user's own that a client's secret is taken from.
fn given(client: &TenantClient) -> Option<&crds::KeySelector> {
    client.secret.as_ref()?.secret_ref.as_ref()
}

/// Reads Secrets, each at most once a pass.
struct Reader<'a> {
    tenant: &'a Tenant,
    context: &'a Context,
    remembered: &'a Mutex<Remembered>,
    rows: &'a [keyrealm_registry::DesiredEntry],
    ends: &'a [Overlap],
    now: Timestamp,
    read: HashMap<String, Option<Secret>>,
}

impl Reader<'_> {
    fn namespace(&self) -> &str {
        self.tenant.metadata.namespace.as_deref().unwrap_or_default()
    }

    async fn secret(&mut self, name: &str) -> Result<Option<&Secret>, ApiError> {
        if !self.read.contains_key(name) {
            let secret = self.context.read_secret(self.namespace(), name).await?;
            self.read.insert(name.to_owned(), secret);
        }
        Ok(self.read.get(name).and_then(Option::as_ref))
    }

    async fn generated(&mut self, client: &str) -> Result<ClientSecret, ApiError> {
        let at = client_secret::place(self.tenant, client);
        let Some(seen) = self.context.stores.seen(&at) else { return Ok(ClientSecret::Missing) };
        if !seen.belongs_to(&client_secret::ownership(self.tenant)) {
            let message = format!("{at} is there already and is not this Tenant's: rename or delete it");
            return Ok(ClientSecret::Foreign(message));
        }
        if seen.deleting {
            return Ok(ClientSecret::Going);
        }
        let version = format!("{} {}", seen.uid, seen.resource_version);
        let known = lock(self.remembered).intact.get(client) == Some(&version);
        let marks = client_secret::marks(&seen, true);
        if known {
            return Ok(ClientSecret::Generated(marks));
        }
        let Some(secret) = self.secret(&at.name).await? else { return Ok(ClientSecret::Missing) };
        let intact = client_secret::is_intact(secret, &marks);
        if intact && version_of(secret) == version {
            lock(self.remembered).intact.insert(client.to_owned(), version);
        }
        Ok(ClientSecret::Generated(client_secret::marks(&seen, intact)))
    }

    /// Our Secrets that no client needs. That of one that was left to itself stays: it still works.
    fn spare(&self) -> Vec<String> {
        let name = self.tenant.metadata.name.as_deref().unwrap_or_default();
        let label = (crds::TENANT_LABEL, name);
        let mut spare = Vec::new();
        for (_, seen) in self.context.stores.children_of(ChildKind::Secret, self.namespace(), label) {
            let Some(client) = seen.labels.get(client_secret::CLIENT_LABEL) else { continue };
            if seen.deleting || !seen.belongs_to(&client_secret::ownership(self.tenant)) {
                continue;
            }
            let entry = self.tenant.spec.clients.iter().find(|entry| entry.name == *client);
            let needed = match entry {
                Some(entry) => {
                    let given = entry.secret.as_ref().is_some_and(|secret| secret.secret_ref.is_some());
                    entry.kind == ClientType::Confidential && !given
                }
                None => self.rows.iter().any(|row| {
                    row.kind == "client" && row.name == *client && row.on_remove == keyrealm_registry::OnRemove::Orphan
                }),
            };
            if !needed {
                spare.push(client.clone());
            }
        }
        spare
    }

    /// Whether what is known of a source still holds.
    fn holds<T>(&self, source: &Source<T>, place: &str, name: &str) -> bool {
        let watched = self.context.stores.watched_secret(self.namespace(), name);
        let moved = watched.is_some_and(|seen| format!("{} {}", seen.uid, seen.resource_version) != source.version);
        source.place == place
            && source.generation == self.generation()
            && !moved
            && !sources::is_due(source.read, matches!(source.outcome, Outcome::Usable(_)), self.now)
    }

    fn generation(&self) -> i64 {
        self.tenant.metadata.generation.unwrap_or_default()
    }

    /// An entry of a Secret: its version and content; or why there is none.
    async fn entry(
        &mut self,
        source: &crds::KeySelector,
    ) -> Result<(String, Result<SecretBytes, sources::Refusal>), ApiError> {
        let place = place(self.namespace(), source);
        let Some(secret) = self.secret(&source.name).await? else {
            let message = format!("there is no Secret for {place}: make it");
            return Ok((String::new(), Err(("SecretMissing", message))));
        };
        let content = match secret.data.as_ref().and_then(|data| data.get(&source.key)) {
            Some(value) => Ok(SecretBytes::copy_of(&value.0)),
            None => Err(("SecretMissing", format!("{place} is not there: the Secret has no such key"))),
        };
        Ok((version_of(secret), content))
    }

    async fn given(
        &mut self,
        client: &str,
        source: &crds::KeySelector,
        overlap: Duration,
    ) -> Result<ClientSecret, ApiError> {
        let place = place(self.namespace(), source);
        let known = lock(self.remembered).given.get(client).cloned();
        let known = match known {
            Some(known) if self.holds(&known, &place, &source.name) => known,
            before => {
                let (version, content) = self.entry(source).await?;
                let content = content.and_then(|content| sources::client_secret(content.expose(), &place));
                let outcome = match content {
                    Ok(sha256) => {
                        let before = before.and_then(|before| match before.outcome {
                            Outcome::Usable(usable) => Some(usable),
                            Outcome::Refused(..) => None,
                        });
                        let declared = declared_texts(self.rows, "client", client, "secret_sha256");
                        let noted = self.ends.iter().find(|noted| noted.client == client);
                        let known = (declared.as_slice(), noted);
                        let former = sources::former(&sha256, before.as_ref(), known, overlap, self.now);
                        Outcome::Usable((sha256, former))
                    }
                    Err((reason, message)) => Outcome::Refused(reason, message),
                };
                let known = Source { place, version, generation: self.generation(), read: self.now, outcome };
                lock(self.remembered).given.insert(client.to_owned(), known.clone());
                known
            }
        };
        Ok(match known.outcome {
            Outcome::Usable((sha256, former)) => ClientSecret::Given { sha256, former },
            Outcome::Refused(reason, message) => ClientSecret::Unusable(reason, message),
        })
    }

    async fn password(
        &mut self,
        user: &str,
        source: &crds::KeySelector,
    ) -> Result<(Password, Option<Unhashed>), ApiError> {
        let place = place(self.namespace(), source);
        let known = lock(self.remembered).passwords.get(user).cloned();
        if let Some(known) = known.as_ref().filter(|known| self.holds(known, &place, &source.name)) {
            return Ok((password_of(&known.outcome), None));
        }
        let (version, content) = self.entry(source).await?;
        // Read again, and it is the same.
        if let Some(mut same) =
            known.filter(|known| !version.is_empty() && known.version == version && known.place == place)
        {
            (same.read, same.generation) = (self.now, self.generation());
            let password = password_of(&same.outcome);
            lock(self.remembered).passwords.insert(user.to_owned(), same);
            return Ok((password, None));
        }
        let outcome = match content.and_then(|content| sources::password(content.expose(), &place)) {
            Ok(sources::Given::Password(text)) => {
                let (generation, read) = (self.generation(), self.now);
                let source = Source { place, version, generation, read, outcome: Outcome::Usable(()) };
                return Ok((Password::Unhashed, Some(Unhashed { text, source })));
            }
            Ok(sources::Given::Hash(hash)) => Outcome::Usable(hash),
            Err((reason, message)) => Outcome::Refused(reason, message),
        };
        let known = Source { place, version, generation: self.generation(), read: self.now, outcome };
        let password = password_of(&known.outcome);
        lock(self.remembered).passwords.insert(user.to_owned(), known);
        Ok((password, None))
    }
}

fn password_of(outcome: &Outcome<String>) -> Password {
    match outcome {
        Outcome::Usable(hash) => Password::Hash(hash.clone()),
        Outcome::Refused(reason, message) => Password::Unusable(reason, message.clone()),
    }
}

fn version_of(secret: &Secret) -> String {
    let meta = &secret.metadata;
    format!("{} {}", meta.uid.as_deref().unwrap_or_default(), meta.resource_version.as_deref().unwrap_or_default())
}

/// Secret and key, for people.
pub(super) fn place(namespace: &str, source: &crds::KeySelector) -> String {
    format!("the key {} of the Secret {namespace}/{}", source.key, source.name)
}
