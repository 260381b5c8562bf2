//! Whether anything that a Tenant depends on has changed since all was found well. Only what is in memory is looked at: a pass
//! over a Tenant at rest asks neither the API server nor the database.

use std::fmt::Write as _;
use std::time::Duration;

use crds::Tenant;
use keyrealm_base::{TenantId, Timestamp};
use keyrealm_crypto::sha256_hex;
use kube::runtime::reflector::ObjectRef;

use super::memory::{Memory, lock};
use super::observe::{Found, realm_key};
use super::plan::{Plan, SLOW, uid};
use crate::child::ChildKind;
use crate::context::Context;
use crate::report::State;

/// All is looked at this often, whatever is told.
const FULL: Duration = Duration::from_mins(10);

/// How long to rest; `None` when there is something to look at.
pub(super) fn holds(tenant: &Tenant, context: &Context, memory: &Memory) -> Option<Duration> {
    let (print, until) = lock(&memory.of(uid(tenant))).settled.clone()?;
    let now = context.clock.now();
    let left = until.since(now);
    if left.is_zero() || fingerprint(tenant, context)? != print || memory.drift_is_due(&realm_key(tenant), now) {
        return None;
    }
    let id = tenant.status.as_ref()?.tenant_id.as_deref()?.parse().ok()?;
    memory.drift(&realm_key(tenant), id).is_empty().then(|| left.min(SLOW))
}

/// All was found well, by a pass that began with these inputs. What changed meanwhile it may not have seen.
pub(super) fn note(
    tenant: &Tenant,
    context: &Context,
    memory: &Memory,
    (found, inputs): (&Found, Option<&str>),
    plan: &Plan,
    now: Timestamp,
) {
    // The status that was written just now is in the store.
    let latest = context.stores.tenants().get(&ObjectRef::from_obj(tenant));
    let rests =
        plan.report.state == State::Ready && plan.entries.iter().all(|entry| entry.state != crds::EntryState::Pending);
    let latest = latest.filter(|latest| {
        rests && found.passwords.is_empty() && inputs.is_some() && self::inputs(latest, context).as_deref() == inputs
    });
    let print = latest.and_then(|latest| fingerprint(&latest, context));
    // A former secret that ends is such a time, too.
    let until = if plan.requeue < SLOW { now.plus(plan.requeue) } else { now.plus(FULL) };
    lock(&memory.of(uid(tenant))).settled = print.map(|print| (print, until));
}

/// The inputs, and the version of the Tenant: its status is nobody else's to write.
fn fingerprint(tenant: &Tenant, context: &Context) -> Option<String> {
    let version = tenant.metadata.resource_version.as_deref().unwrap_or_default();
    inputs(tenant, context).map(|inputs| format!("{inputs} {version}"))
}

/// Everything in memory that a pass looks at, but for the own status, which it writes.
pub(super) fn inputs(tenant: &Tenant, context: &Context) -> Option<String> {
    let key = realm_key(tenant);
    let realm = context.stores.realms().get(&ObjectRef::new(&key.name).within(&key.namespace))?;
    let database = context.databases.get(&key)?;
    let view = database.view();
    let id: TenantId = tenant.status.as_ref()?.tenant_id.as_deref()?.parse().ok()?;
    let meta = &tenant.metadata;
    let namespace = meta.namespace.as_deref().unwrap_or_default();
    let mut text = format!(
        "{:?} {:?} {:?} {:?} {:?} {:?} {:?} {:?} {:?} {:?} {:?} {:?} {:?}",
        meta.uid,
        meta.generation,
        meta.annotations,
        meta.finalizers,
        meta.deletion_timestamp.is_some(),
        realm.metadata.uid,
        realm.metadata.generation,
        realm.metadata.deletion_timestamp.is_some(),
        context.stores.namespace_labels(namespace),
        view.failure.is_some(),
        view.tenants.get(&id),
        view.versions.get(&id),
        view.summaries.get(&id),
    );
    let changed = view.tenants.get(&id).map(|row| row.changed).unwrap_or_default();
    for one in &view.instances {
        let _ = write!(text, " {} {} {}", one.id, one.schema_version, one.seen >= changed);
    }
    let label = (crds::TENANT_LABEL, meta.name.as_deref().unwrap_or_default());
    for (at, seen) in context.stores.children_of(ChildKind::Secret, namespace, label) {
        let _ = write!(text, " {} {} {}", at.name, seen.uid, seen.resource_version);
    }
    let given = tenant.spec.clients.iter().filter_map(|client| client.secret.as_ref()?.secret_ref.as_ref());
    for source in given.chain(tenant.spec.users.iter().map(|user| &user.password_secret_ref)) {
        if let Some(seen) = context.stores.watched_secret(namespace, &source.name) {
            let _ = write!(text, " {} {} {}", source.name, seen.uid, seen.resource_version);
        }
    }
    Some(sha256_hex(text.as_bytes()))
}
