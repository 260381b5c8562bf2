//! Carries a plan out, one step after the other. Each can be repeated: a process that ends in between begins it anew.

use keyrealm_barrier::UnsealKey;
use keyrealm_pki::CaChain;
use keyrealm_registry::{RegistryError, Used};
use keyrealm_store::{Product, Sql};

use super::contents;
use super::database::role_versions;
use super::error::Error;
use super::facts::{DatabaseFacts, DatabaseState, Kept, Observed};
use super::issue;
use super::observe::Pass;
use super::plan::{Plan, Step};
use super::wanted::Wanted;
use crate::child::{Child, ChildKind, ChildRef};
use crate::children::{Part, secret};
use crate::databases::{RealmDatabase, lock};
use crate::executor::Ensured;

/// How far a plan was carried out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// All of it.
    Progress,
    /// Something is on its way out: its end is seen by a watch.
    Waiting,
    /// The Realm may go.
    Released,
}

/// Carries a plan out.
pub(super) async fn apply(
    pass: &Pass<'_>,
    observed: &Observed,
    database: Option<&RealmDatabase>,
    plan: &Plan,
) -> Result<Outcome, Error> {
    let hands = Hands { pass, observed, database };
    let mut outcome = Outcome::Progress;
    for step in &plan.steps {
        let name = step.name();
        pass.context.failpoint.reach(name);
        tracing::info!(realm = %pass.key, step = name, "a step");
        let done = hands.step(step).await?;
        pass.context.failpoint.reach(name);
        match done {
            Outcome::Progress => {}
            Outcome::Waiting => outcome = Outcome::Waiting,
            Outcome::Released => return Ok(Outcome::Released),
        }
    }
    for child in &plan.children {
        if hands.ensure(child).await? == Outcome::Waiting {
            outcome = Outcome::Waiting;
        }
    }
    Ok(outcome)
}

struct Hands<'a> {
    pass: &'a Pass<'a>,
    observed: &'a Observed,
    database: Option<&'a RealmDatabase>,
}

impl Hands<'_> {
    async fn step(&self, step: &Step) -> Result<Outcome, Error> {
        let (context, home) = (self.pass.context, &self.pass.home);
        match step {
            Step::AddFinalizer => context.set_finalizer(self.pass.realm, true).await?,
            Step::AdoptSecret(at) => {
                if let Some(seen) = context.stores.seen(at) {
                    context.adopt_secret(at, &seen, home.uid).await?;
                }
            }
            Step::CreateAdmin => {
                let password = secret::password(context.random.as_ref());
                return self.create_once(&secret::admin::of(home, &password)).await;
            }
            Step::CreateRoot => return self.create_root().await,
            Step::CreateUnseal(part) => {
                let key = UnsealKey::generate(context.random.as_ref());
                return self.create_once(&secret::unseal::of(home, *part, &key)).await;
            }
            Step::CreateRole(part) => {
                if let Some(facts) = self.facts() {
                    let password = secret::password(context.random.as_ref());
                    let login = facts.login(*part);
                    let child = secret::role::of(home, *part, &facts.connection, login, &password);
                    return self.create_once(&child).await;
                }
            }
            Step::PrepareDatabase => self.prepare().await?,
            Step::MarkUsed => self.mark_used().await?,
            Step::IssueLeaf(part, reason) => return self.issue(*part, reason).await,
            Step::Ensure(child) => return self.ensure(child).await,
            Step::Remove(at) | Step::RemoveSecret(at) => {
                if let Some(seen) = context.stores.seen(at) {
                    context.delete_child(at, &seen).await?;
                }
            }
            Step::DropDatabase => {
                if let Some(database) = self.database {
                    let dropped = database.registrar.destroy_realm(home.uid).await;
                    dropped.map_err(self.registry("dropping the realm's schemas and roles"))?;
                }
            }
            Step::Release(left) => {
                self.release(left.as_deref()).await?;
                return Ok(Outcome::Released);
            }
        }
        Ok(Outcome::Progress)
    }

    async fn ensure(&self, child: &Child) -> Result<Outcome, Error> {
        let name = Step::Ensure(Box::new(Child { body: serde_json::Value::Null, ..child.clone() })).name();
        self.pass.context.failpoint.reach(name);
        let ensured = self.pass.context.ensure(child).await?;
        self.pass.context.failpoint.reach(name);
        Ok(if ensured == Ensured::Waiting { Outcome::Waiting } else { Outcome::Progress })
    }

    async fn create_once(&self, child: &Child) -> Result<Outcome, Error> {
        let made = self.pass.context.create_once(child).await?;
        Ok(if made == Ensured::Waiting { Outcome::Waiting } else { Outcome::Progress })
    }

    async fn create_root(&self) -> Result<Outcome, Error> {
        let (context, home) = (self.pass.context, &self.pass.home);
        let Some(wanted) = self.wanted() else { return Ok(Outcome::Progress) };
        let made = CaChain::generate_with_root_key(&wanted.chain, context.clock.as_ref(), context.random.as_ref());
        let (chain, root_key) = made.map_err(self.pki("making the CAs"))?;
        let child = secret::root_ca::of(home, &chain.certificates_pem(), &chain.issuing_key_pem(), &root_key);
        self.create_once(&child).await
    }

    /// Logins with the passwords of the Secrets, and the realm-level schemas.
    async fn prepare(&self) -> Result<(), Error> {
        let Some(database) = self.database else { return Ok(()) };
        let versions = role_versions(self.pass);
        let mut passwords = Vec::new();
        for product in Product::ALL {
            let at = self.pass.home.at(ChildKind::Secret, &secret::role::suffix(Part::of(product)));
            let found = self.pass.context.read_secret(&at.namespace, &at.name).await?;
            let gone = |why: String| self.secret(&at, why);
            let found = found.ok_or_else(|| gone("it is gone".to_owned()))?;
            passwords.push((product, contents::password(&found).map_err(gone)?));
        }
        database.registrar.ensure_logins(&passwords).await.map_err(self.registry("making the servers' logins"))?;
        let schemas = database.registrar.ensure_realm_schemas().await;
        schemas.map_err(self.registry("making the realm-level schemas"))?;
        if self.pass.home.is_managed() {
            // PostgreSQL takes a new certificate in when it is told, and not by itself.
            let reloaded = async {
                let mut tx = database.database.registry().await?;
                tx.fetch(Sql::new("SELECT pg_reload_conf()::text AS reloaded")).await.map(drop)
            };
            let reloaded = reloaded.await.map_err(RegistryError::Store);
            reloaded.map_err(self.registry("having the managed database read its certificate"))?;
        }
        lock(&self.pass.memory).prepared = Some((self.pass.context.clock.now(), versions));
        // Tenants wait for this, and hear of it now.
        database.refresh().await;
        Ok(())
    }

    async fn mark_used(&self) -> Result<(), Error> {
        let Some(database) = self.database else { return Ok(()) };
        let check = |part: Part| match self.observed.unseal.get(&part) {
            Some(Kept::There(check)) => Some(check.clone()),
            _ => None,
        };
        let root = if let Kept::There(root) = &self.observed.root { Some(root.sha256.clone()) } else { None };
        let used = Used { root_sha256: root, kms_unseal: check(Part::Kms), identity_unseal: check(Part::Identity) };
        database.registrar.mark_used(&used).await.map_err(self.registry("noting what is used"))?;
        database.refresh().await;
        Ok(())
    }

    async fn issue(&self, part: Part, reason: &'static str) -> Result<Outcome, Error> {
        let Kept::There(root) = &self.observed.root else { return Ok(Outcome::Progress) };
        let made = issue::leaf(self.pass.context, &self.pass.home, part, reason, root).await?;
        Ok(if made == Ensured::Waiting { Outcome::Waiting } else { Outcome::Progress })
    }

    async fn release(&self, left: Option<&str>) -> Result<(), Error> {
        let (context, key) = (self.pass.context, &self.pass.key);
        if let Some(left) = left {
            tracing::warn!(realm = %key, left, "the Realm is released although something was left");
            context.metrics.left_behind("Realm", "database");
        }
        context.set_finalizer(self.pass.realm, false).await?;
        context.databases.forget(key);
        context.metrics.forget_realm(&key.to_string());
        Ok(())
    }

    fn facts(&self) -> Option<&DatabaseFacts> {
        if let DatabaseState::Ready(facts) = &self.observed.database { Some(facts) } else { None }
    }

    fn wanted(&self) -> Option<Wanted> {
        Wanted::of(&self.pass.home).ok()
    }

    fn registry(&self, attempt: &'static str) -> impl FnOnce(RegistryError) -> Error {
        let realm = self.pass.key.to_string();
        move |source| Error::Registry { realm, attempt, source }
    }

    fn pki(&self, attempt: &'static str) -> impl FnOnce(keyrealm_pki::PkiError) -> Error {
        let realm = self.pass.key.to_string();
        move |source| Error::Pki { realm, attempt, source }
    }

    fn secret(&self, at: &ChildRef, why: String) -> Error {
        Error::Secret { realm: self.pass.key.to_string(), secret: at.to_string(), why }
    }
}
