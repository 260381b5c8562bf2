//! The objects that the operator makes: what one shall be, what is there, and what follows from the two.

use std::collections::BTreeMap;
use std::fmt;

use serde_json::Value;

/// The kinds of objects that are made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ChildKind {
    /// `v1 Secret`.
    Secret,
    /// `v1 ConfigMap`.
    ConfigMap,
    /// `v1 Service`.
    Service,
    /// `v1 ServiceAccount`.
    ServiceAccount,
    /// `apps/v1 Deployment`.
    Deployment,
    /// `apps/v1 StatefulSet`.
    StatefulSet,
    /// `policy/v1 PodDisruptionBudget`.
    PodDisruptionBudget,
    /// `networking.k8s.io/v1 NetworkPolicy`.
    NetworkPolicy,
    /// Our own Realm, of a DemoEnvironment.
    Realm,
    /// Our own Tenant, of a DemoEnvironment.
    Tenant,
}

impl ChildKind {
    /// All of them.
    pub const ALL: [Self; 10] = [
        Self::Secret,
        Self::ConfigMap,
        Self::Service,
        Self::ServiceAccount,
        Self::Deployment,
        Self::StatefulSet,
        Self::PodDisruptionBudget,
        Self::NetworkPolicy,
        Self::Realm,
        Self::Tenant,
    ];

    /// `apiVersion`, `kind` and plural.
    #[must_use]
    pub const fn api(self) -> (&'static str, &'static str, &'static str) {
        match self {
            Self::Secret => ("v1", "Secret", "secrets"),
            Self::ConfigMap => ("v1", "ConfigMap", "configmaps"),
            Self::Service => ("v1", "Service", "services"),
            Self::ServiceAccount => ("v1", "ServiceAccount", "serviceaccounts"),
            Self::Deployment => ("apps/v1", "Deployment", "deployments"),
            Self::StatefulSet => ("apps/v1", "StatefulSet", "statefulsets"),
            Self::PodDisruptionBudget => ("policy/v1", "PodDisruptionBudget", "poddisruptionbudgets"),
            Self::NetworkPolicy => ("networking.k8s.io/v1", "NetworkPolicy", "networkpolicies"),
            Self::Realm => ("keyrealm.dev/v1alpha1", "Realm", "realms"),
            Self::Tenant => ("keyrealm.dev/v1alpha1", "Tenant", "tenants"),
        }
    }

    /// Whether others write to such an object all the time (a status), so that its resourceVersion says nothing, and its
    /// generation says that somebody changed what we declare.
    #[must_use]
    pub const fn has_generation(self) -> bool {
        matches!(
            self,
            Self::Deployment
                | Self::StatefulSet
                | Self::PodDisruptionBudget
                | Self::NetworkPolicy
                | Self::Realm
                | Self::Tenant
        )
    }
}

/// Where an object is.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ChildRef {
    /// Its kind.
    pub kind: ChildKind,
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

impl ChildRef {
    /// The object of this name.
    #[must_use]
    pub fn new(kind: ChildKind, namespace: &str, name: impl Into<String>) -> Self {
        Self { kind, namespace: namespace.to_owned(), name: name.into() }
    }
}

/// As people write it: `Secret acme/main-kms-tls`.
impl fmt::Display for ChildRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}/{}", self.kind.api().1, self.namespace, self.name)
    }
}

/// By what an object is known as ours.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ownership {
    /// By its controller reference: Kubernetes deletes it with the owner.
    Controller {
        /// `apiVersion` of the owner.
        api_version: &'static str,
        /// `kind` of the owner.
        kind: &'static str,
        /// Name of the owner.
        name: String,
        /// UID of the owner.
        uid: String,
    },
    /// By the annotation `keyrealm.dev/owner-uid`: it outlives the owner.
    Marker {
        /// UID of the owner.
        uid: String,
    },
}

impl Ownership {
    /// The UID of the owner.
    #[must_use]
    pub fn uid(&self) -> &str {
        match self {
            Self::Controller { uid, .. } | Self::Marker { uid } => uid,
        }
    }
}

/// An object that shall be there.
#[derive(Debug, Clone, PartialEq)]
pub struct Child {
    /// Where.
    pub at: ChildRef,
    /// Whose.
    pub ownership: Ownership,
    /// Labels besides `app.kubernetes.io/managed-by`.
    pub labels: BTreeMap<String, String>,
    /// Annotations besides our own marks.
    pub annotations: BTreeMap<String, String>,
    /// `spec`, `data` and so on: all but `apiVersion`, `kind` and `metadata`.
    pub body: Value,
}

/// What a watch or an answer says of an object: its metadata.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Seen {
    /// Its UID.
    pub uid: String,
    /// Its resourceVersion.
    pub resource_version: String,
    /// Its generation, where it has one.
    pub generation: Option<i64>,
    /// UID of its controller reference.
    pub controller: Option<String>,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// Its annotations.
    pub annotations: BTreeMap<String, String>,
    /// Whether it is being deleted.
    pub deleting: bool,
}

impl Seen {
    /// Whether it is that owner's.
    #[must_use]
    pub fn belongs_to(&self, ownership: &Ownership) -> bool {
        match ownership {
            Ownership::Controller { uid, .. } => self.controller.as_deref() == Some(uid),
            Ownership::Marker { uid } => {
                self.controller.is_none() && self.annotations.get(crds::OWNER_UID).map(String::as_str) == Some(uid)
            }
        }
    }
}

/// What is remembered of the last time that an object was applied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Applied {
    /// The object's UID.
    pub uid: String,
    /// [`Child`]'s hash.
    pub hash: String,
    /// What the object's [`Seen::version`] was afterwards.
    pub version: String,
}

impl Seen {
    /// What changes when somebody changes what we declare.
    #[must_use]
    pub fn version(&self, kind: ChildKind) -> String {
        match self.generation.filter(|_| kind.has_generation()) {
            Some(generation) => generation.to_string(),
            None => self.resource_version.clone(),
        }
    }
}

/// What follows for one object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChildAction {
    /// It is as it shall be.
    Keep,
    /// It is not there: make it by POST, so that nothing of others is overwritten.
    Create,
    /// It is ours and differs: server-side apply, with force.
    Apply,
    /// It is on its way out: once it has gone it is made anew.
    Wait,
    /// Somebody else's object has its name: nothing is done.
    Foreign,
}

/// What follows from what shall be, what is there and what was applied last. `hash` is that of the object as it would be
/// sent.
#[must_use]
pub fn decide(child: &Child, hash: &str, seen: Option<&Seen>, applied: Option<&Applied>) -> ChildAction {
    let Some(seen) = seen else { return ChildAction::Create };
    if !seen.belongs_to(&child.ownership) {
        return ChildAction::Foreign;
    }
    if seen.deleting {
        return ChildAction::Wait;
    }
    let marked = seen.annotations.get(crds::APPLIED_HASH).map(String::as_str) == Some(hash);
    let labelled = child.labels.iter().all(|(key, value)| seen.labels.get(key) == Some(value));
    let untouched = applied.is_some_and(|applied| {
        applied.uid == seen.uid && applied.hash == hash && applied.version == seen.version(child.at.kind)
    });
    if marked && labelled && untouched { ChildAction::Keep } else { ChildAction::Apply }
}
