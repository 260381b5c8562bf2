//! Carries the steps of a plan out.

use crds::Tenant;
use keyrealm_crypto::password::{PasswordHash, PasswordPoolError};
use keyrealm_registry::{Created, NewTenant, Registrar, RegistryError};
use keyrealm_store::StoreError;

use super::client_secret::{self, Content};
use super::entries::{self, declared_texts};
use super::memory::{Memory, Outcome, Source, lock};
use super::observe::{ANSWER, Found, realm_key};
use super::observed::DatabaseSeen;
use super::plan::{self, Step, uid};
use crate::context::Context;
use crate::error::ApiError;
use crate::executor::Ensured;
use crate::report::Report;

/// Why a step was not done.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The API server did not do it.
    #[error(transparent)]
    Api(#[from] ApiError),
    /// The registrar did not do it.
    #[error("{step} of {tenant}: {error}")]
    Registry {
        /// The step.
        step: &'static str,
        /// The Tenant.
        tenant: String,
        /// Why.
        error: RegistryError,
    },
    /// The database was silent.
    #[error("{step} of {tenant}: the realm's database has not answered for {} s; it is tried again", ANSWER.as_secs())]
    Silent {
        /// The step.
        step: &'static str,
        /// The Tenant.
        tenant: String,
    },
    /// The realm's database was closed meanwhile.
    #[error("{step} of {tenant}: the realm's database was closed meanwhile; it is tried again")]
    Closed {
        /// The step.
        step: &'static str,
        /// The Tenant.
        tenant: String,
    },
    /// A password was not hashed.
    #[error("the password of the user {user}: {error}")]
    Password {
        /// The user.
        user: String,
        /// Why.
        error: PasswordPoolError,
    },
}

impl Error {
    /// As a condition.
    #[must_use]
    pub fn report(&self) -> Report {
        match self {
            Self::Api(error) => error.report(),
            Self::Registry { error, .. } => registry_report(error, self.to_string()),
            Self::Silent { .. } | Self::Closed { .. } => Report::reconciling("DatabaseUnreachable", self.to_string()),
            Self::Password { .. } => Report::reconciling("EntriesPending", self.to_string()),
        }
    }
}

fn registry_report(error: &RegistryError, message: String) -> Report {
    match error {
        RegistryError::SlugTaken { .. } => Report::stalled("SlugTaken", message),
        RegistryError::IdTaken { .. } | RegistryError::Leftover(_) => Report::stalled("IdTaken", message),
        RegistryError::Retained { .. } => Report::stalled("TenantRetained", message),
        RegistryError::Store(StoreError::Foreign { .. }) => Report::stalled("ForeignObject", message),
        // Somebody dropped it a moment ago; the Realm makes it again.
        RegistryError::Store(StoreError::NoLogin { .. }) => Report::reconciling("RealmNotReady", message),
        RegistryError::Store(StoreError::Vanished { .. }) => Report::stalled("NotMigrated", message),
        RegistryError::Store(error) if error.is_passing() => Report::reconciling("DatabaseUnreachable", message),
        RegistryError::Store(_) => Report::reconciling("DatabaseRefused", message),
        _ => Report::stalled("InvalidSpec", message),
    }
}

/// What one pass works with.
pub(super) struct Pass<'a> {
    pub(super) tenant: &'a Tenant,
    pub(super) context: &'a Context,
    pub(super) memory: &'a Memory,
    pub(super) found: &'a Found,
}

impl Pass<'_> {
    /// Carries one step out.
    ///
    /// # Errors
    /// When it was not done; whatever it had done already is found by the next pass.
    pub(super) async fn apply(&self, step: &Step) -> Result<(), Error> {
        self.context.failpoint.reach(step.name());
        self.carry_out(step).await?;
        self.context.failpoint.reach(step.name());
        Ok(())
    }

    async fn carry_out(&self, step: &Step) -> Result<(), Error> {
        let owner = uid(self.tenant);
        let metrics = &self.context.metrics;
        match step {
            Step::AddFinalizer => self.context.set_finalizer(self.tenant, true).await?,
            Step::Create(new) => {
                let created = self.create(step, new).await?;
                self.changed(created.tenant.changed);
                if created.is_new {
                    metrics.tenant_schema("created");
                }
            }
            Step::Release { id, owner } => {
                self.registrar(step, async |registrar| registrar.retain_tenant(*id, owner).await).await?;
                tracing::warn!(tenant = %id, owner, "the resource of a tenant is gone: it can be adopted");
            }
            Step::Adopt(id) => {
                let home = plan::home(self.tenant);
                let adopted =
                    self.registrar(step, async |registrar| registrar.adopt_tenant(*id, owner, &home).await).await?;
                self.changed(adopted.changed);
                metrics.tenant_schema("adopted");
            }
            Step::Rename(id, name) => {
                self.registrar(step, async |registrar| registrar.set_display_name(*id, owner, name).await).await?;
            }
            Step::EnsureSchemas(id) => {
                self.registrar(step, async |registrar| registrar.ensure_tenant_schemas(*id).await).await?;
                self.memory.mended(&realm_key(self.tenant), *id);
                tracing::warn!(tenant = %id, "schemas and roles of a tenant were changed by others and are restored");
            }
            Step::Declare(id, declared, ends) => {
                let declare = async |registrar: &Registrar| registrar.declare_until(*id, declared.clone(), ends).await;
                if let Some(generation) = self.registrar(step, declare).await? {
                    self.changed(generation);
                    if let Some(database) = &self.found.database {
                        database.tell_when_seen(*id, generation);
                    }
                }
            }
            Step::MakeSecret { client } => self.make_secret(client).await?,
            Step::RotateSecret { client, .. } | Step::RefreshSecret { client } => {
                self.write_secret(client, step).await?;
            }
            Step::DeleteSecret { client } => {
                let at = client_secret::place(self.tenant, client);
                if let Some(seen) = self.context.stores.seen(&at) {
                    self.context.delete_child(&at, &seen).await?;
                }
            }
            Step::HashPasswords(users) => {
                for user in users {
                    self.hash(user).await?;
                }
            }
            Step::Disable(id) => {
                self.registrar(step, async |registrar| registrar.disable_tenant(*id, owner).await).await?;
            }
            Step::Retain(id) => {
                self.registrar(step, async |registrar| registrar.retain_tenant(*id, owner).await).await?;
                if self.tenant.metadata.deletion_timestamp.is_some() {
                    tracing::info!(tenant = %id, slug = entries::slug(self.tenant), "a tenant's data are retained");
                    metrics.tenant_schema("retained");
                }
            }
            Step::Archive(id) => {
                let now = self.context.clock.now();
                let archive = async |registrar: &Registrar| registrar.archive_tenant(*id, owner, now).await;
                let names = self.registrar(step, archive).await?;
                tracing::info!(tenant = %id, schemas = names.join(" "), "a tenant's schemas are archived");
                metrics.tenant_schema("archived");
            }
            Step::Destroy(id) => {
                self.registrar(step, async |registrar| registrar.destroy_and_drop(*id, owner).await).await?;
                tracing::info!(tenant = %id, "a tenant's keys are destroyed and its schemas dropped");
                metrics.tenant_schema("dropped");
            }
            Step::LeaveBehind { what, message } => {
                let (namespace, name) = (&self.tenant.metadata.namespace, &self.tenant.metadata.name);
                tracing::warn!(?namespace, ?name, what, message, "a Tenant is let go and something of it is left");
                metrics.left_behind("Tenant", what);
            }
            Step::RemoveFinalizer => {
                self.context.set_finalizer(self.tenant, false).await?;
                self.memory.forget(owner);
            }
        }
        Ok(())
    }

    async fn create(&self, step: &Step, new: &NewTenant) -> Result<Created, Error> {
        let (step, tenant) = (step.name(), plan::home(self.tenant));
        let Some(database) = &self.found.database else { return Err(Error::Closed { step, tenant }) };
        match tokio::time::timeout(ANSWER, database.create_tenant(new)).await {
            Ok(Some(done)) => done.map_err(|error| Error::Registry { step, tenant, error }),
            Ok(None) => Err(Error::Closed { step, tenant }),
            Err(_) => Err(Error::Silent { step, tenant }),
        }
    }

    /// Has the registrar do something, for as long as a database may take.
    async fn registrar<T, F>(&self, step: &Step, act: F) -> Result<T, Error>
    where
        F: AsyncFnOnce(&Registrar) -> Result<T, RegistryError>,
    {
        let tenant = || plan::home(self.tenant);
        let step = step.name();
        let Some(database) = &self.found.database else { return Err(Error::Closed { step, tenant: tenant() }) };
        match tokio::time::timeout(ANSWER, act(&database.registrar)).await {
            Ok(done) => done.map_err(|error| Error::Registry { step, tenant: tenant(), error }),
            Err(_) => Err(Error::Silent { step, tenant: tenant() }),
        }
    }

    /// The registry's generation that the products must have seen.
    fn changed(&self, generation: i64) {
        let remembered = self.memory.of(uid(self.tenant));
        let mut remembered = lock(&remembered);
        remembered.declared = remembered.declared.max(generation);
    }

    fn client_id(&self, client: &str) -> String {
        let entry = self.tenant.spec.clients.iter().find(|entry| entry.name == client);
        entry.map(|entry| entries::client_id(self.tenant, entry)).unwrap_or_default()
    }

    async fn make_secret(&self, client: &str) -> Result<(), Error> {
        let content = Content::new(self.context.random.as_ref(), "");
        let child = content.child(self.tenant, client, &self.client_id(client));
        let made = self.context.create_once(&child).await?;
        self.wrote(client, &made);
        Ok(())
    }

    async fn write_secret(&self, client: &str, step: &Step) -> Result<(), Error> {
        let at = client_secret::place(self.tenant, client);
        let Some(seen) = self.context.stores.seen(&at) else { return Ok(()) };
        let Some(found) = self.context.read_secret(&at.namespace, &at.name).await? else { return Ok(()) };
        let (marks, now) = (client_secret::marks(&seen, true), self.context.clock.now());
        let random = self.context.random.as_ref();
        let content = match step {
            Step::RotateSecret { until, .. } => {
                let rows = match &self.found.observed.database {
                    DatabaseSeen::Open(registry) => registry.rows.as_slice(),
                    _ => &[],
                };
                // What was declared is what callers use, whatever the marks say now.
                let declared = declared_texts(rows, "client", client, "secret_sha256");
                let declared = declared.first().unwrap_or(&marks.sha256);
                Content::rotated(random, &found, &marks, declared, *until, now)
            }
            _ => match Content::refreshed(&found, &marks, now) {
                Some(content) => content,
                // Somebody changed it since: the next pass sees that.
                None => {
                    lock(&self.memory.of(uid(self.tenant))).intact.remove(client);
                    return Ok(());
                }
            },
        };
        let child = content.child(self.tenant, client, &self.client_id(client));
        let written = self.context.ensure(&child).await?;
        self.wrote(client, &written);
        Ok(())
    }

    /// What we wrote ourselves needs no look.
    fn wrote(&self, client: &str, written: &Ensured) {
        if let Ensured::Created(seen) | Ensured::Applied(seen) = written {
            let version = format!("{} {}", seen.uid, seen.resource_version);
            lock(&self.memory.of(uid(self.tenant))).intact.insert(client.to_owned(), version);
        }
    }

    /// Hashes a password; one that fits the declared hash keeps it, so that nobody is logged out.
    async fn hash(&self, user: &str) -> Result<(), Error> {
        let Some(unhashed) = self.found.passwords.get(user) else { return Ok(()) };
        let failed = |error| Error::Password { user: user.to_owned(), error };
        let pool = self.memory.pool().map_err(failed)?;
        let copy = || keyrealm_crypto::SecretBytes::copy_of(unhashed.text.expose());
        let rows = match &self.found.observed.database {
            DatabaseSeen::Open(registry) => registry.rows.as_slice(),
            _ => &[],
        };
        let before = declared_texts(rows, "user", user, "password_hash").into_iter().next();
        let parsed = before.as_deref().and_then(|hash| hash.parse::<PasswordHash>().ok());
        let same = match parsed {
            Some(hash) => pool.verify(hash, copy()).await.map_err(failed)?,
            None => false,
        };
        let hash = match before.filter(|_| same) {
            Some(hash) => hash,
            None => pool.create(copy(), self.context.random.as_ref()).await.map_err(failed)?.to_string(),
        };
        let Source { place, version, generation, read, .. } = unhashed.source.clone();
        let known = Source { place, version, generation, read, outcome: Outcome::Usable(hash) };
        lock(&self.memory.of(uid(self.tenant))).passwords.insert(user.to_owned(), known);
        Ok(())
    }
}
