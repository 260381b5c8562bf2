//! How a realm's database stands: the login found, the connection, and what the registry says.

use std::sync::Arc;

use keyrealm_base::DeploymentId;
use keyrealm_registry::Used;
use keyrealm_store::{Product, RegistrarAccess};
use kube::ResourceExt;

use super::contents;
use super::error::Error;
use super::facts::{DatabaseFacts, DatabaseState, InstanceFacts, Kept, Observed, UsedFacts};
use super::memory::AccessRead;
use super::observe::Pass;
use crate::child::{ChildKind, ChildRef};
use crate::children::config_map::Connection;
use crate::children::{POSTGRES_PORT, Part, secret, stateful_set};
use crate::databases::{RealmDatabase, lock};

/// Looks, connects where that is needed, and puts what it found into the observation.
pub(super) async fn observe(pass: &Pass<'_>, observed: &mut Observed) -> Result<Option<Arc<RealmDatabase>>, Error> {
    let found = match &pass.home.spec.database.external {
        Some(external) => self::external(pass, &external.secret_ref.name).await?,
        None => managed(pass, observed).await?,
    };
    match found {
        Ok((database, connection)) => {
            let facts = facts(pass, &database, connection)?;
            observed.database = DatabaseState::Ready(Box::new(facts));
            Ok(Some(database))
        }
        Err(state) => {
            observed.database = state;
            Ok(None)
        }
    }
}

type Found = Result<(Arc<RealmDatabase>, Connection), DatabaseState>;

async fn external(pass: &Pass<'_>, name: &str) -> Result<Found, Error> {
    let version = pass.source_version(name);
    if let Some(known) = known(pass, &version).filter(|_| pass.realm.metadata.deletion_timestamp.is_none()) {
        return Ok(Ok(known));
    }
    let at = ChildRef::new(ChildKind::Secret, pass.home.namespace, name);
    let Some(secret) = pass.context.read_secret(&at.namespace, &at.name).await? else {
        return Ok(Err(DatabaseState::SecretMissing(at)));
    };
    match contents::access(&secret) {
        Ok(access) => Ok(connect(pass, access, version).await),
        Err(why) => Ok(Err(DatabaseState::SecretUnusable(at, why))),
    }
}

async fn managed(pass: &Pass<'_>, observed: &Observed) -> Result<Found, Error> {
    let starting = |what: &str| Ok(Err(DatabaseState::Starting(format!("the managed database {what}"))));
    let (Kept::There(admin), Kept::There(root)) = (pass.kept(secret::admin::SUFFIX), &observed.root) else {
        return starting("is being made");
    };
    let version = format!("{}/{}", admin.resource_version, root.bundle_sha256);
    if let Some(known) = known(pass, &version) {
        return Ok(Ok(known));
    }
    let at = pass.home.at(ChildKind::StatefulSet, Part::Postgres.name());
    let set = pass.context.stores.stateful_set(&at.namespace, &at.name);
    let ready = set.as_ref().and_then(|set| set.status.as_ref()).and_then(|status| status.ready_replicas);
    if ready.unwrap_or_default() < 1 {
        return starting("starts");
    }
    let name = pass.home.at(ChildKind::Secret, secret::admin::SUFFIX).name;
    let Some(secret) = pass.context.read_secret(pass.home.namespace, &name).await? else {
        return starting("is being made");
    };
    let password = match contents::password(&secret) {
        Ok(password) => password,
        Err(why) => {
            let at = pass.home.at(ChildKind::Secret, secret::admin::SUFFIX);
            return Ok(Err(DatabaseState::SecretUnusable(at, why)));
        }
    };
    let access = RegistrarAccess {
        host: pass.home.service_name(Part::Postgres),
        port: POSTGRES_PORT,
        database: stateful_set::DATABASE.to_owned(),
        user: stateful_set::USER.to_owned(),
        password,
        ca_pem: root.bundle_pem.clone(),
    };
    Ok(connect(pass, access, version).await)
}

/// The open database, while nothing says that the login is another one.
fn known(pass: &Pass<'_>, version: &str) -> Option<(Arc<RealmDatabase>, Connection)> {
    let read = lock(&pass.memory).access.clone()?;
    let open = pass.context.databases.get(&pass.key)?;
    (read.version == version && pass.is_recent(read.at) && open.meta.realm_uid == pass.home.uid)
        .then_some((open, read.connection))
}

async fn connect(pass: &Pass<'_>, access: RegistrarAccess, version: String) -> Found {
    let connection = contents::connection(&access);
    let adopt: Option<DeploymentId> = match pass.realm.annotations().get(crds::ADOPT).map(|id| id.trim().parse()) {
        None => None,
        Some(Ok(id)) => Some(id),
        Some(Err(_)) => {
            let message = format!("the annotation {} is no deployment id (a UUID)", crds::ADOPT);
            return Err(DatabaseState::Failed(crate::report::Report::stalled("InvalidSpec", message)));
        }
    };
    let opened = pass.context.databases.ensure_adopting(&pass.key, access, pass.home.uid, adopt).await;
    let database = opened.map_err(|error| DatabaseState::Failed(error.report()))?;
    let read = AccessRead { at: pass.context.clock.now(), version, connection: connection.clone() };
    lock(&pass.memory).access = Some(read);
    Ok((database, connection))
}

fn facts(pass: &Pass<'_>, database: &RealmDatabase, connection: Connection) -> Result<DatabaseFacts, Error> {
    let view = database.view();
    let names = database.registrar.login_names().map_err(|source| Error::Registry {
        realm: pass.key.to_string(),
        attempt: "reading the names of the logins",
        source,
    })?;
    let instance = |one: &keyrealm_registry::Instance| {
        Some(InstanceFacts {
            part: Part::of(Product::from_name(&one.product)?),
            ready: one.ready,
            chain_sha256: one.chain_sha256.clone(),
            bundle_sha256: one.bundle_sha256.clone(),
            seen: one.seen,
        })
    };
    let enabled = view.tenants.values().filter(|tenant| tenant.enabled).count();
    Ok(DatabaseFacts {
        connection,
        deployment_id: database.meta.deployment_id,
        logins: names.into_iter().map(|(product, name)| (Part::of(product), name)).collect(),
        used: UsedFacts::from(&view.used),
        prepared: view.logins && is_prepared(pass),
        instances: view.instances.iter().filter_map(instance).collect(),
        settled: view.settled,
        tenants: i64::try_from(enabled).unwrap_or(i64::MAX),
        failure: view.failure.as_ref().map(|failure| failure.message.clone()),
    })
}

/// Logins and realm-level schemas are looked after when a password is another one, and now and then: somebody may have
/// taken rights away.
fn is_prepared(pass: &Pass<'_>) -> bool {
    let prepared = lock(&pass.memory).prepared.clone();
    prepared.is_some_and(|(at, versions)| pass.is_recent(at) && versions == role_versions(pass))
}

/// The versions of the servers' passwords.
pub(super) fn role_versions(pass: &Pass<'_>) -> Vec<String> {
    let version = |part: Part| match pass.kept(&secret::role::suffix(part)) {
        Kept::There(seen) => seen.resource_version,
        _ => String::new(),
    };
    Part::SERVERS.map(version).to_vec()
}

impl From<&Used> for UsedFacts {
    fn from(used: &Used) -> Self {
        Self {
            root_sha256: used.root_sha256.clone(),
            kms_unseal: used.kms_unseal.clone(),
            identity_unseal: used.identity_unseal.clone(),
        }
    }
}
