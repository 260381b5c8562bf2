//! What is to be done for a Realm: a pure function of what is wanted, what is there and the time.

use std::collections::BTreeMap;
use std::time::Duration;

use crds::Realm;
use keyrealm_base::Timestamp;

use super::facts::{DatabaseFacts, DatabaseState, Kept, LeafSeen, Observed, RootFacts};
use super::ready;
use super::wanted::Wanted;
use crate::child::{Child, ChildKind, ChildRef};
use crate::children::{
    Home, Part, config_map, deployment, network_policy, pod_disruption_budget, secret, service, service_account,
    stateful_set,
};
use crate::report::{Report, State};

/// A look at everything, even if nobody says that something changed.
pub const RESYNC: Duration = Duration::from_mins(10);
/// While something that passes is in the way.
const SOON: Duration = Duration::from_secs(5);
/// While the servers start.
const WATCHED: Duration = Duration::from_secs(30);

/// Reasons for which somebody changes what is not watched: a database, or an object of others.
const UNWATCHED: [&str; 6] =
    ["DatabaseSecretMissing", "DatabaseRefused", "DatabaseInUse", "DatabaseEmpty", "SecretMissing", "ForeignObject"];

/// One thing to be done.
#[derive(Debug, Clone, PartialEq)]
pub enum Step {
    /// Sees to it that the Realm is not gone before its data is left as its policy says.
    AddFinalizer,
    /// Takes a Secret that an earlier Realm of this name left.
    AdoptSecret(ChildRef),
    /// Makes the operator's login of the managed database.
    CreateAdmin,
    /// Makes the CAs.
    CreateRoot,
    /// Makes a server's unseal key.
    CreateUnseal(Part),
    /// Makes the password of a server's login.
    CreateRole(Part),
    /// Makes logins and realm-level schemas.
    PrepareDatabase,
    /// Notes which irreplaceable Secrets are used from now on.
    MarkUsed,
    /// Issues a certificate, for this reason.
    IssueLeaf(Part, &'static str),
    /// Makes an object, or makes it again as it shall be.
    Ensure(Box<Child>),
    /// Takes away what is not wanted any more.
    Remove(ChildRef),
    /// Drops everything of the realm in its database.
    DropDatabase,
    /// Deletes a Secret that outlives Realms otherwise.
    RemoveSecret(ChildRef),
    /// Lets the Realm go; the text says what could not be taken away.
    Release(Option<String>),
}

impl Step {
    /// The names of all steps.
    pub const NAMES: &[&str] = &[
        "realm.add-finalizer",
        "realm.adopt-secret",
        "realm.create-admin",
        "realm.create-root-ca",
        "realm.create-unseal-key",
        "realm.create-database-role",
        "realm.prepare-database",
        "realm.mark-used",
        "realm.issue-leaf",
        "realm.ensure-config-map",
        "realm.ensure-service",
        "realm.ensure-service-account",
        "realm.ensure-deployment",
        "realm.ensure-stateful-set",
        "realm.ensure-pod-disruption-budget",
        "realm.ensure-network-policy",
        "realm.remove-child",
        "realm.drop-database",
        "realm.remove-secret",
        "realm.release",
    ];

    /// Its name, for logs, metrics and failpoints.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::AddFinalizer => "realm.add-finalizer",
            Self::AdoptSecret(_) => "realm.adopt-secret",
            Self::CreateAdmin => "realm.create-admin",
            Self::CreateRoot => "realm.create-root-ca",
            Self::CreateUnseal(_) => "realm.create-unseal-key",
            Self::CreateRole(_) => "realm.create-database-role",
            Self::PrepareDatabase => "realm.prepare-database",
            Self::MarkUsed => "realm.mark-used",
            Self::IssueLeaf(..) => "realm.issue-leaf",
            Self::Ensure(child) => match child.at.kind {
                ChildKind::Service => "realm.ensure-service",
                ChildKind::ServiceAccount => "realm.ensure-service-account",
                ChildKind::Deployment => "realm.ensure-deployment",
                ChildKind::StatefulSet => "realm.ensure-stateful-set",
                ChildKind::PodDisruptionBudget => "realm.ensure-pod-disruption-budget",
                ChildKind::NetworkPolicy => "realm.ensure-network-policy",
                _ => "realm.ensure-config-map",
            },
            Self::Remove(_) => "realm.remove-child",
            Self::DropDatabase => "realm.drop-database",
            Self::RemoveSecret(_) => "realm.remove-secret",
            Self::Release(_) => "realm.release",
        }
    }
}

/// What is to be done, and how things stand.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    /// In this order. When there are none, the Realm is as far as it can be.
    pub steps: Vec<Step>,
    /// Objects that shall be as they are here; each is written only where it differs.
    pub children: Vec<Child>,
    /// How the Realm stands.
    pub report: Report,
    /// When to look again at the latest.
    pub requeue: Duration,
}

/// What follows for a Realm.
#[must_use]
pub fn plan(realm: &Realm, observed: &Observed, now: Timestamp) -> Plan {
    let Some(home) = Home::of(realm) else {
        return Plan::only(Report::reconciling("RolloutInProgress", "the Realm is not stored yet"), SOON);
    };
    if let Some(deletion) = &observed.deletion {
        return super::deletion::plan(&home, observed, deletion, now);
    }
    let wanted = match Wanted::of(&home) {
        Ok(wanted) => wanted,
        Err(wrong) => return Plan::only(Report::stalled("InvalidSpec", wrong), RESYNC),
    };
    // Before the finalizer: who loses leaves nothing behind, and its deletion touches nothing of the winner's.
    if let Some(other) = &observed.conflict {
        let message = format!(
            "the database of Secret {} is that of the Realm {other}, which is older: one realm has one database; give this \
             one another database",
            home.spec.database.external.as_ref().map_or("?", |external| external.secret_ref.name.as_str())
        );
        return Plan::only(Report::stalled("DatabaseInUse", message), WATCHED);
    }
    let mut work = Work { home, observed, now, wanted, steps: Vec::new(), children: Vec::new(), problems: Vec::new() };
    // The database itself says whose it is, whichever Realm looks older.
    let is_in_use = matches!(&observed.database, DatabaseState::Failed(report) if report.reason == "DatabaseInUse");
    if !observed.finalizer && !is_in_use {
        work.steps.push(Step::AddFinalizer);
    }
    work.realm();
    work.finish()
}

impl Plan {
    pub(super) fn only(report: Report, requeue: Duration) -> Self {
        Self { steps: Vec::new(), children: Vec::new(), report, requeue }
    }
}

struct Work<'a> {
    home: Home<'a>,
    observed: &'a Observed,
    now: Timestamp,
    wanted: Wanted,
    steps: Vec<Step>,
    children: Vec<Child>,
    problems: Vec<Report>,
}

impl Work<'_> {
    fn realm(&mut self) {
        let observed = self.observed;
        // First of all: whose data it is says more than what its Secrets are.
        self.problems.extend(observed.database.report());
        let root = self.root();
        if let Some(root) = &root {
            self.children.push(config_map::trust_bundle(&self.home, &root.bundle_pem));
        }
        if self.home.is_managed() {
            self.managed(root.as_ref());
        }
        if let DatabaseState::Ready(database) = &observed.database {
            self.servers(root.as_ref(), database);
        }
    }

    /// The CAs, once there is nothing wrong with them.
    fn root(&mut self) -> Option<RootFacts> {
        let own = self.home.at(ChildKind::Secret, secret::root_ca::SUFFIX);
        let used = self.observed.used().and_then(|used| used.root_sha256.clone());
        if let Some(source) = &self.home.spec.tls.root {
            let at = ChildRef::new(ChildKind::Secret, self.home.namespace, &source.secret_ref.name);
            return match &self.observed.root {
                Kept::There(root) => self.fit_root(root, used.as_deref(), &at),
                Kept::Unusable(why) => self.stall("InvalidSpec", format!("tls.root: {at} cannot be used: {why}")),
                _ => self.stall(
                    "SecretMissing",
                    format!("tls.root: {at} is not there; it has tls.crt (CA certificates, root first) and tls.key"),
                ),
            };
        }
        // Whether a lost one was used the registry says; of a managed database that cannot be asked, its set does.
        let may_be_made = match self.observed.used() {
            Some(used) => used.root_sha256.is_none(),
            None => self.home.is_managed() && !self.observed.has_history(),
        };
        match &self.observed.root {
            Kept::There(root) => self.fit_root(root, used.as_deref(), &own),
            Kept::Missing if may_be_made => {
                self.steps.push(Step::CreateRoot);
                None
            }
            // An external database says it in a moment.
            Kept::Missing if self.observed.used().is_none() && !self.home.is_managed() => None,
            other => {
                self.lost("RootKeyMissing", &own, other);
                None
            }
        }
    }

    fn fit_root(&mut self, root: &RootFacts, used: Option<&str>, at: &ChildRef) -> Option<RootFacts> {
        if used.is_some_and(|used| used != root.sha256) {
            return self.stall(
                "RootKeyMissing",
                format!("{at} holds another root CA than the one that the realm was set up with; {}", restore(at)),
            );
        }
        if root.not_after <= self.now.plus(Duration::from_hours(1)) {
            return self.stall("InvalidSpec", format!("the CA of {at} ends at {}; give a new one", root.not_after));
        }
        Some(root.clone())
    }

    /// The managed database: its login, its certificate, its pod.
    fn managed(&mut self, root: Option<&RootFacts>) {
        let Some(managed) = self.home.spec.database.managed.clone() else { return };
        let home = self.home;
        let admin = home.at(ChildKind::Secret, secret::admin::SUFFIX);
        match &self.observed.admin {
            Kept::There(()) => {}
            Kept::Missing if !self.observed.has_history() => return self.steps.push(Step::CreateAdmin),
            other => return self.lost("RoleSecretMissing", &admin, other),
        }
        let Some(root) = root else { return };
        self.children.extend([config_map::postgres(&home), service::postgres(&home)]);
        self.children.push(service_account::of(&home, Part::Postgres));
        self.policy(Part::Postgres);
        if self.leaf(Part::Postgres, root) {
            self.children.push(stateful_set::of(&home, &managed, &self.observed.images));
        }
    }

    /// KMS and Identity. Nothing that is irreplaceable is made once the registry says that it was used.
    fn servers(&mut self, root: Option<&RootFacts>, database: &DatabaseFacts) {
        let home = self.home;
        let mut complete = root.is_some();
        for part in Part::SERVERS {
            complete &= self.unseal(part, database) & self.role(part, database);
        }
        if complete && !database.prepared {
            self.steps.push(Step::PrepareDatabase);
        }
        let mark = complete && database.prepared && !database.used.is_complete();
        if mark {
            self.steps.push(Step::MarkUsed);
        }
        let mut hashes = BTreeMap::new();
        for part in Part::SERVERS {
            let (config, hash) = config_map::server(&home, part, &database.connection, database.login(part));
            hashes.insert(part, hash);
            self.children.extend([config, service::server(&home, part), service_account::of(&home, part)]);
            self.children.extend(pod_disruption_budget::of(&home, part));
            self.policy(part);
        }
        for (part, hash) in hashes {
            let certified = root.is_some_and(|root| self.leaf(part, root));
            if certified && complete && database.prepared && !mark {
                self.children.push(deployment::of(&home, part, &self.observed.images, &hash));
            }
        }
        self.unwanted();
        if let Some(failure) = &database.failure {
            let message = format!("the database does not answer: {failure}; the servers go on with what they know");
            self.problems.push(Report::reconciling("DatabaseUnreachable", message));
        }
        if complete && database.prepared && self.steps.is_empty() {
            self.problems.extend(ready::problem(&home, self.observed, database));
        }
    }

    fn unseal(&mut self, part: Part, database: &DatabaseFacts) -> bool {
        let at = self.home.at(ChildKind::Secret, &secret::unseal::suffix(part));
        let used = database.used.unseal(part);
        match self.observed.unseal.get(&part).unwrap_or(&Kept::Missing) {
            Kept::There(check) if used.is_none_or(|used| used == check) => return true,
            Kept::There(_) => {
                self.stall::<()>(
                    "UnsealKeyMissing",
                    format!("{at} holds another key than the one that the data was sealed with; {}", restore(&at)),
                );
            }
            Kept::Missing if used.is_none() => self.steps.push(Step::CreateUnseal(part)),
            other => self.lost("UnsealKeyMissing", &at, other),
        }
        false
    }

    fn role(&mut self, part: Part, database: &DatabaseFacts) -> bool {
        let at = self.home.at(ChildKind::Secret, &secret::role::suffix(part));
        match self.observed.roles.get(&part).unwrap_or(&Kept::Missing) {
            Kept::There(()) => return true,
            // The marks are written after the logins are made, and before anybody uses them.
            Kept::Missing if database.used.is_empty() => self.steps.push(Step::CreateRole(part)),
            other => self.lost("RoleSecretMissing", &at, other),
        }
        false
    }

    /// Whether there is a certificate that the part can use; issues one where it is time.
    fn leaf(&mut self, part: Part, root: &RootFacts) -> bool {
        let spec = secret::leaf::spec(&self.home, part, self.wanted.leaf_lifetime);
        let wanted = secret::leaf::names_hash(&spec, self.wanted.chain.algorithm, &root.sha256);
        let at = self.home.at(ChildKind::Secret, &secret::leaf::suffix(part));
        let reason = match self.observed.leaves.get(&part).unwrap_or(&LeafSeen::Missing) {
            LeafSeen::Missing => Some("there is none"),
            LeafSeen::Foreign => {
                self.foreign(&at);
                return false;
            }
            LeafSeen::Ending => return false,
            LeafSeen::Ours(leaf) if !leaf.intact => Some("somebody changed it"),
            LeafSeen::Ours(leaf) if leaf.names_hash != wanted => Some("other names or another CA are wanted"),
            LeafSeen::Ours(leaf) if leaf.bundle_sha256 != root.bundle_sha256 => Some("there is another trust bundle"),
            LeafSeen::Ours(leaf) if leaf.renewal <= self.now => Some("it ends soon"),
            LeafSeen::Ours(_) => None,
        };
        if let Some(reason) = reason {
            self.steps.push(Step::IssueLeaf(part, reason));
        }
        // What is there is used until the new one is.
        matches!(self.observed.leaves.get(&part), Some(LeafSeen::Ours(leaf)) if leaf.intact)
    }

    fn policy(&mut self, part: Part) {
        let port = self.observed.database.port();
        self.children.extend(network_policy::of(&self.home, part, &self.observed.operator_namespace, port));
    }

    /// Objects that the Realm wanted before and does not want any more.
    fn unwanted(&mut self) {
        let wanted: Vec<&ChildRef> = self.children.iter().map(|child| &child.at).collect();
        let optional = [ChildKind::PodDisruptionBudget, ChildKind::NetworkPolicy];
        let unwanted = |at: &&ChildRef| optional.contains(&at.kind) && !wanted.contains(at);
        let unwanted: Vec<Step> = self.observed.optional.iter().filter(unwanted).cloned().map(Step::Remove).collect();
        self.steps.extend(unwanted);
    }

    /// An irreplaceable Secret that is not as it was.
    fn lost<T>(&mut self, reason: &'static str, at: &ChildRef, kept: &Kept<T>) {
        match kept {
            Kept::There(_) => {}
            Kept::Left if self.observed.adopts => self.steps.push(Step::AdoptSecret(at.clone())),
            Kept::Left => {
                let message = format!(
                    "{at} was left by an earlier Realm of this name; to take over its data, annotate this Realm with {}: \
                     <status.deploymentId of the earlier one>; else move the Secret away",
                    crds::ADOPT
                );
                self.problems.push(Report::stalled("ForeignObject", message));
            }
            Kept::Foreign => self.foreign(at),
            Kept::Ending => {
                let message = format!("{at} is being deleted; remove what holds it, then restore it from a backup");
                self.problems.push(Report::reconciling(reason, message));
            }
            Kept::Unusable(why) => {
                self.problems.push(Report::stalled(reason, format!("{at} cannot be used: {why}; {}", restore(at))));
            }
            Kept::Missing => {
                let message = format!("{at} is gone and was used, so it is not made anew; {}", restore(at));
                self.problems.push(Report::stalled(reason, message));
            }
        }
    }

    fn foreign(&mut self, at: &ChildRef) {
        let message = format!("{at} is there and not of this Realm; rename or delete it, or rename the Realm");
        self.problems.push(Report::stalled("ForeignObject", message));
    }

    fn stall<T>(&mut self, reason: &'static str, message: String) -> Option<T> {
        self.problems.push(Report::stalled(reason, message));
        None
    }

    fn finish(self) -> Plan {
        let stalled = self.problems.iter().find(|problem| problem.state == State::Stalled);
        let first = stalled.or_else(|| self.problems.first()).cloned();
        let report = match first {
            Some(report) => report,
            None if self.steps.is_empty() => {
                Report::ready(format!("issuer {} is served", self.home.url(Part::Identity)))
            }
            None => Report::reconciling("RolloutInProgress", "the realm's objects are being made"),
        };
        let renewals = self.observed.leaves.values().filter_map(LeafSeen::renewal);
        let renewal = renewals.map(|renewal| renewal.since(self.now)).min().unwrap_or(RESYNC);
        let wait = match (&report.state, report.reason) {
            (State::Reconciling, "RolloutInProgress" | "InstancesNotReady") => WATCHED,
            (State::Reconciling, _) => SOON,
            // What people mend there no watch shows.
            (State::Stalled, reason) if UNWATCHED.contains(&reason) => WATCHED,
            _ => RESYNC,
        };
        let requeue = wait.min(renewal.max(Duration::from_secs(1)));
        Plan { steps: self.steps, children: self.children, report, requeue }
    }
}

/// The command that brings a Secret back.
fn restore(at: &ChildRef) -> String {
    format!(
        "restore it from a backup: kubectl apply --namespace {} --filename <backup of Secret {}>",
        at.namespace, at.name
    )
}
