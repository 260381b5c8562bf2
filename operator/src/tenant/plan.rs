//! What follows for a Tenant from what is wanted and what is there. Pure.
//!
//! The order of the checks is the point: who has the name is looked at before the finalizer is set, so that a Tenant that
//! lost can be deleted without touching what is the other one's.

use std::time::Duration;

use crds::{ClientType, EntryState, EntryStatus, FINALIZER, Tenant};
use keyrealm_base::{TenantId, Timestamp};
use keyrealm_registry::{Declared, NewTenant, Overlap, all_seen};

use super::deletion;
use super::entries::{self, Progress, Wanted};
use super::observed::{ClientSecret, DatabaseSeen, Holder, Observed, Password, RealmSeen, Registry};
use crate::report::Report;

/// One thing to do.
#[derive(Debug, Clone, PartialEq)]
pub enum Step {
    /// Keeps the Tenant until its data are left as its policy says.
    AddFinalizer,
    /// Makes the tenant with its schemas.
    Create(NewTenant),
    /// Notes that the resource of a tenant is gone, so that it can be adopted.
    Release {
        /// The tenant.
        id: TenantId,
        /// The UID that it names.
        owner: String,
    },
    /// Takes a tenant that is nobody's.
    Adopt(TenantId),
    /// Changes the name that pages show.
    Rename(TenantId, String),
    /// Gives schemas and roles back what somebody took from them.
    EnsureSchemas(TenantId),
    /// Makes a client's Secret with a new secret.
    MakeSecret {
        /// The entry's name.
        client: String,
    },
    /// Puts a new secret into it; the former one is valid until the overlap ends.
    RotateSecret {
        /// The entry's name.
        client: String,
        /// When the former one ends.
        until: Timestamp,
    },
    /// Writes it anew with the same secret: without a former one that has ended, with the client's present id.
    RefreshSecret {
        /// The entry's name.
        client: String,
    },
    /// Deletes a Secret that no client needs.
    DeleteSecret {
        /// The client's name.
        client: String,
    },
    /// Hashes these users' passwords.
    HashPasswords(Vec<String>),
    /// Declares all objects of the tenant, and notes when former secrets end.
    Declare(TenantId, Vec<Declared>, Vec<Overlap>),
    /// From now on nobody serves the tenant.
    Disable(TenantId),
    /// Leaves the tenant to whoever adopts it.
    Retain(TenantId),
    /// Moves the schemas aside.
    Archive(TenantId),
    /// Destroys the keys and drops the schemas.
    Destroy(TenantId),
    /// Says what is left behind.
    LeaveBehind {
        /// For the metric.
        what: &'static str,
        /// For the log.
        message: String,
    },
    /// Lets the Tenant go.
    RemoveFinalizer,
}

impl Step {
    /// All names, for tests that end the process at each.
    pub const NAMES: &[&str] = &[
        "tenant.add-finalizer",
        "tenant.create",
        "tenant.release",
        "tenant.adopt",
        "tenant.rename",
        "tenant.ensure-schemas",
        "tenant.make-secret",
        "tenant.rotate-secret",
        "tenant.refresh-secret",
        "tenant.delete-secret",
        "tenant.hash-passwords",
        "tenant.declare",
        "tenant.disable",
        "tenant.retain",
        "tenant.archive",
        "tenant.destroy",
        "tenant.leave-behind",
        "tenant.remove-finalizer",
    ];

    /// The step's name.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::AddFinalizer => "tenant.add-finalizer",
            Self::Create(_) => "tenant.create",
            Self::Release { .. } => "tenant.release",
            Self::Adopt(_) => "tenant.adopt",
            Self::Rename(..) => "tenant.rename",
            Self::EnsureSchemas(_) => "tenant.ensure-schemas",
            Self::MakeSecret { .. } => "tenant.make-secret",
            Self::RotateSecret { .. } => "tenant.rotate-secret",
            Self::RefreshSecret { .. } => "tenant.refresh-secret",
            Self::DeleteSecret { .. } => "tenant.delete-secret",
            Self::HashPasswords(_) => "tenant.hash-passwords",
            Self::Declare(..) => "tenant.declare",
            Self::Disable(_) => "tenant.disable",
            Self::Retain(_) => "tenant.retain",
            Self::Archive(_) => "tenant.archive",
            Self::Destroy(_) => "tenant.destroy",
            Self::LeaveBehind { .. } => "tenant.leave-behind",
            Self::RemoveFinalizer => "tenant.remove-finalizer",
        }
    }
}

/// What to do, what to say, and when to look again.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    /// In this order; when one fails, those behind it are not tried.
    pub steps: Vec<Step>,
    /// How the Tenant stands.
    pub report: Report,
    /// Its id, once it has one.
    pub id: Option<TenantId>,
    /// Entries that are not simply ready.
    pub entries: Vec<EntryStatus>,
    /// `7/8`; `None` leaves what the status says.
    pub ready_entries: Option<String>,
    /// When to look again if nothing tells earlier.
    pub requeue: Duration,
}

/// Behind what is told: drift of roles and schemas.
pub(super) const SLOW: Duration = Duration::from_mins(1);
/// While something is awaited that is told of.
pub(super) const SOON: Duration = Duration::from_secs(5);
/// While the servers are awaited, which tell of all that they do.
const SERVERS: Duration = Duration::from_secs(15);
/// While a Secret of the user's own is awaited, of which nothing tells.
pub(super) const SOURCES: Duration = Duration::from_secs(15);
/// As many passwords are hashed before others have their turn.
const HASHES: usize = 8;

impl Plan {
    /// Nothing to do but say so.
    pub(super) const fn wait(report: Report, requeue: Duration) -> Self {
        Self { steps: Vec::new(), report, id: None, entries: Vec::new(), ready_entries: None, requeue }
    }

    pub(super) fn steps(report: Report, steps: Vec<Step>) -> Self {
        Self { steps, ..Self::wait(report, SOON) }
    }
}

/// What follows.
#[must_use]
pub fn plan(desired: &Tenant, observed: &Observed, now: Timestamp) -> Plan {
    if desired.metadata.deletion_timestamp.is_some() {
        return deletion::plan(desired, observed);
    }
    match ready_to_serve(desired, observed) {
        Err(plan) => *plan,
        Ok(registry) => in_registry(desired, observed, registry, now),
    }
}

fn blocked(report: Report, requeue: Duration) -> Box<Plan> {
    Box::new(Plan::wait(report, requeue))
}

/// What must hold before anything of the tenant is looked at.
fn ready_to_serve<'a>(desired: &Tenant, observed: &'a Observed) -> Result<&'a Registry, Box<Plan>> {
    if let Err(message) = check_spec(desired) {
        return Err(blocked(Report::stalled("InvalidSpec", message), SLOW));
    }
    let realm = realm_name(desired);
    match &observed.realm {
        RealmSeen::Missing => {
            let message = format!("there is no Realm {realm}; make it, or make this Tenant anew with another realmRef");
            return Err(blocked(Report::reconciling("RealmNotFound", message), SLOW));
        }
        RealmSeen::NotWatched(watched) => {
            let message = format!(
                "{}; let it look at that namespace, too (chart value watch.namespaces), or make this Tenant anew with a Realm \
                 in a namespace that it looks at",
                not_watched(&realm, watched)
            );
            return Err(blocked(Report::stalled("RealmNotWatched", message), SLOW));
        }
        RealmSeen::Deleting => {
            let message = format!("the Realm {realm} is being deleted");
            return Err(blocked(Report::reconciling("RealmNotReady", message), SLOW));
        }
        RealmSeen::Refuses(why) => return Err(blocked(Report::stalled("NamespaceNotAllowed", why), SLOW)),
        RealmSeen::Present => {}
    }
    match &observed.database {
        DatabaseSeen::None => {
            let message = format!("the Realm {realm} has no database yet; its own conditions say what it waits for");
            Err(blocked(Report::reconciling("RealmNotReady", message), SLOW))
        }
        DatabaseSeen::Unprepared => {
            let message = format!(
                "the Realm {realm} has not made its servers' logins in the database yet; its own conditions say what it waits \
                 for (kubectl describe realm), and this Tenant goes on with it"
            );
            Err(blocked(Report::reconciling("RealmNotReady", message), SLOW))
        }
        DatabaseSeen::Gone(what) => {
            let message = format!("the database of the Realm {realm} cannot be reached any more: {what}");
            Err(blocked(Report::reconciling("RealmNotReady", message), SLOW))
        }
        DatabaseSeen::Unreachable(why) => {
            let message = format!("the database of the Realm {realm} does not answer: {why}");
            Err(blocked(Report::reconciling("DatabaseUnreachable", message), SOON))
        }
        DatabaseSeen::Open(registry) => Ok(registry),
    }
}

/// What the resource's own rules cannot say.
fn check_spec(desired: &Tenant) -> Result<(), String> {
    keyrealm_registry::check_slug(entries::slug(desired)).map_err(|error| format!("spec.slug: {error}"))?;
    given_id(desired)?;
    for client in &desired.spec.clients {
        entries::overlap(client).map_err(|error| format!("client {}: {error}", client.name))?;
    }
    Ok(())
}

fn given_id(desired: &Tenant) -> Result<Option<TenantId>, String> {
    desired.spec.id.as_deref().map(str::parse).transpose().map_err(|error| format!("spec.id: {error}"))
}

fn in_registry(desired: &Tenant, observed: &Observed, registry: &Registry, now: Timestamp) -> Plan {
    let Some(own) = &registry.own else {
        return match claim(desired, registry) {
            Ok(steps) => {
                first(desired, Plan::steps(Report::reconciling("EntriesPending", "the tenant is being made"), steps))
            }
            Err(report) => Plan::wait(report, SLOW),
        };
    };
    let mut plan = first(desired, serve(desired, observed, registry, now));
    plan.id = Some(own.id);
    plan
}

/// The finalizer stands before everything that leaves something behind.
fn first(desired: &Tenant, mut plan: Plan) -> Plan {
    let kept = desired.metadata.finalizers.as_ref().is_some_and(|all| all.iter().any(|one| one == FINALIZER));
    if !kept {
        plan.steps.insert(0, Step::AddFinalizer);
    }
    plan
}

/// How a Tenant without a row comes to one; or why it does not.
fn claim(desired: &Tenant, registry: &Registry) -> Result<Vec<Step>, Report> {
    let slug = entries::slug(desired);
    let id = given_id(desired).unwrap_or_default();
    if let Some(holder) = &registry.of_slug {
        return adopt(desired, slug, id, holder);
    }
    if let Some(holder) = &registry.of_id {
        let message = format!(
            "the id {} belongs to the tenant `{}`; make this Tenant anew with another spec.id, or without one",
            holder.row.id, holder.row.slug
        );
        return Err(Report::stalled("IdTaken", message));
    }
    Ok(vec![Step::Create(NewTenant {
        slug: slug.to_owned(),
        display_name: entries::display_name(desired).to_owned(),
        id,
        owner: uid(desired).to_owned(),
        home: home(desired),
    })])
}

fn adopt(desired: &Tenant, slug: &str, given: Option<TenantId>, holder: &Holder) -> Result<Vec<Step>, Report> {
    let row = &holder.row;
    if holder.owner_lives || (row.owner.is_empty() && row.enabled) {
        let message = format!(
            "the slug `{slug}` belongs to another tenant of the Realm {}; choose another spec.slug in a new Tenant",
            realm_name(desired)
        );
        return Err(Report::stalled("SlugTaken", message));
    }
    let own = desired.metadata.namespace.as_deref().unwrap_or_default();
    let of_realm = desired.spec.realm_ref.namespace.as_deref().unwrap_or(own);
    // Data go to whom they were of, or to whom the database is of: whoever else may make Tenants learns no id, either.
    if own != of_realm && row.home_namespace() != Some(own) {
        let message = format!(
            "a Tenant that was deleted left its data under the slug `{slug}`, and this namespace is not the one that it lay in: \
             a Tenant there or in the Realm's namespace, {of_realm}, can take them over; choose another spec.slug in a new Tenant"
        );
        return Err(Report::stalled("TenantRetained", message));
    }
    let named = desired.metadata.annotations.as_ref().and_then(|all| all.get(crds::ADOPT)).map(String::as_str);
    if named != Some(row.id.to_string().as_str()) {
        let message = format!(
            "a Tenant that was deleted left its data under the slug `{slug}`; to take them over: kubectl annotate tenant {} -n {} \
             --overwrite {}={}",
            desired.metadata.name.as_deref().unwrap_or_default(),
            desired.metadata.namespace.as_deref().unwrap_or_default(),
            crds::ADOPT,
            row.id
        );
        return Err(Report::stalled("TenantRetained", message));
    }
    if let Some(given) = given.filter(|given| *given != row.id) {
        let message = format!("spec.id is {given}, but the data that shall be adopted are those of {}", row.id);
        return Err(Report::stalled("IdTaken", message));
    }
    let mut steps = vec![Step::Adopt(row.id)];
    if !row.owner.is_empty() {
        steps.insert(0, Step::Release { id: row.id, owner: row.owner.clone() });
    }
    Ok(steps)
}

/// What a tenant that has its row needs.
fn serve(desired: &Tenant, observed: &Observed, registry: &Registry, now: Timestamp) -> Plan {
    let Some(own) = &registry.own else { return Plan::wait(Report::reconciling("EntriesPending", ""), SOON) };
    if own.slug != entries::slug(desired) || given_id(desired).is_ok_and(|id| id.is_some_and(|id| id != own.id)) {
        let message = format!("this Tenant is `{}` with the id {}; slug and id do not change", own.slug, own.id);
        return Plan::wait(Report::stalled("InvalidSpec", message), SLOW);
    }
    if let Some(foreign) = registry.drift.iter().find(|drift| drift.kind.is_foreign()) {
        let message = format!(
            "`{}` in the database carries somebody else's mark or has another owner ({:?}) and is not touched; rename or \
             drop it",
            foreign.object, foreign.kind
        );
        return Plan::wait(Report::stalled("ForeignObject", message), SLOW);
    }
    let mut steps = Vec::new();
    if !own.enabled {
        // Somebody shut it, or a deletion that was taken back with force did.
        steps.extend([Step::Retain(own.id), Step::Adopt(own.id)]);
    }
    if !registry.drift.is_empty() {
        steps.push(Step::EnsureSchemas(own.id));
    }
    if own.display_name != entries::display_name(desired) {
        steps.push(Step::Rename(own.id, entries::display_name(desired).to_owned()));
    }
    steps.extend(secrets(desired, observed, now));
    let unhashed = observed.passwords.iter().filter(|(_, password)| **password == Password::Unhashed);
    let unhashed: Vec<String> = unhashed.map(|(name, _)| name.clone()).take(HASHES).collect();
    if !unhashed.is_empty() {
        steps.push(Step::HashPasswords(unhashed));
    }
    let wanted = entries::wanted(desired, &observed.clients, &observed.passwords, registry, now);
    // Once the hashes and secrets are there, all is declared at once.
    if steps.is_empty() && (wanted.differs(&registry.rows) || wanted.overlaps != registry.overlaps) {
        steps.push(Step::Declare(own.id, wanted.declared.clone(), wanted.overlaps.clone()));
    }
    if steps.is_empty() {
        steps.extend(observed.spare.iter().map(|client| Step::DeleteSecret { client: client.clone() }));
    }
    let progress = entries::progress(desired, &wanted, &registry.rows, &registry.reports);
    let (report, requeue) = standing(&steps, registry, &wanted, &progress, own.changed);
    let timer = wanted.next_end.map(|end| end.since(now).max(Duration::from_millis(1)));
    Plan {
        steps,
        report,
        id: Some(own.id),
        entries: progress.shown,
        ready_entries: Some(format!("{}/{}", progress.ready, progress.total)),
        requeue: timer.map_or(requeue, |timer| timer.min(requeue)),
    }
}

/// What generated Secrets need.
fn secrets(desired: &Tenant, observed: &Observed, now: Timestamp) -> Vec<Step> {
    let mut steps = Vec::new();
    for client in desired.spec.clients.iter().filter(|client| client.kind == ClientType::Confidential) {
        let name = client.name.clone();
        match observed.clients.get(&client.name) {
            Some(ClientSecret::Missing) => steps.push(Step::MakeSecret { client: name }),
            Some(ClientSecret::Generated(own)) => {
                let other_id = own.client_id != entries::client_id(desired, client);
                if !own.intact || own.rotate != own.rotated {
                    let overlap = entries::overlap(client).unwrap_or_default();
                    steps.push(Step::RotateSecret { client: name, until: now.plus(overlap) });
                } else if other_id || own.former.as_ref().is_some_and(|(_, end)| *end <= now) {
                    steps.push(Step::RefreshSecret { client: name });
                }
            }
            _ => {}
        }
    }
    steps
}

fn standing(
    steps: &[Step],
    registry: &Registry,
    wanted: &Wanted,
    progress: &Progress,
    changed: i64,
) -> (Report, Duration) {
    let pending = |message: String| (Report::reconciling("EntriesPending", message), SERVERS);
    if !progress.failed.is_empty() {
        let sources = wanted.problems.values().any(|problem| problem.reason == "SecretMissing");
        return (failed(&progress.failed), if sources { SOURCES } else { SLOW });
    }
    if !steps.is_empty() {
        return pending("its declared objects are being brought up to date".to_owned());
    }
    if registry.fresh.is_empty() || registry.quiet_for.is_some() {
        let message = "no process of the KMS or of Identity has been heard from lately; see the Realm's conditions";
        return (Report::reconciling("InstancesNotReady", message), SOON);
    }
    if !registry.versions.is_migrated(&registry.fresh) {
        let message = "the servers have not made the tenant's tables yet";
        return (Report::reconciling("NotMigrated", message), SERVERS);
    }
    if !all_seen(&registry.fresh, changed.max(registry.declared)) {
        return pending("not every server has taken in the last change yet".to_owned());
    }
    if progress.ready < progress.total {
        return pending(format!("{} of {} entries are as declared", progress.ready, progress.total));
    }
    // How far a removed entry is, nobody tells.
    let rests = progress.shown.iter().all(|entry| entry.state != EntryState::Pending);
    let message = format!("served; {} of {} entries are as declared", progress.ready, progress.total);
    (Report::ready(message), if rests { SLOW } else { SOON })
}

/// The first ones by name. A Secret that is not there yet passes, everything else wants a hand.
fn failed(failed: &[(String, String, String)]) -> Report {
    let missing = failed.iter().all(|(reason, ..)| reason == "SecretMissing");
    let first = failed.iter().take(3).map(|(reason, entry, message)| format!("{entry}: {reason}: {message}"));
    let mut text = first.collect::<Vec<_>>().join("; ");
    if failed.len() > 3 {
        text.push_str(&format!("; and {} more in status.entries", failed.len() - 3));
    }
    if missing { Report::reconciling("SecretMissing", text) } else { Report::stalled("EntriesFailed", text) }
}

/// Nobody knows whether there is such a Realm.
pub(super) fn not_watched(realm: &str, watched: &[String]) -> String {
    format!(
        "the Realm {realm} would be in a namespace that this operator does not look at: it looks at {}",
        watched.join(", ")
    )
}

/// The resource's UID.
pub(super) fn uid(tenant: &Tenant) -> &str {
    tenant.metadata.uid.as_deref().unwrap_or_default()
}

/// `namespace/name` of it.
pub(super) fn home(tenant: &Tenant) -> String {
    let meta = &tenant.metadata;
    format!("{}/{}", meta.namespace.as_deref().unwrap_or_default(), meta.name.as_deref().unwrap_or_default())
}

/// `namespace/name` of its Realm.
pub(super) fn realm_name(tenant: &Tenant) -> String {
    let own = tenant.metadata.namespace.as_deref().unwrap_or_default();
    let reference = &tenant.spec.realm_ref;
    format!("{}/{}", reference.namespace.as_deref().unwrap_or(own), reference.name)
}
