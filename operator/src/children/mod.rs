//! The Kubernetes objects of a realm, one file each: pure functions from the Realm to what shall be there.

pub mod config_map;
pub mod deployment;
pub mod network_policy;
pub mod pod_disruption_budget;
pub mod secret;
pub mod service;
pub mod service_account;
pub mod stateful_set;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use crds::{Realm, RealmSpec, Workload};
use keyrealm_store::Product;
use serde_json::{Value, json};

use crate::child::{Child, ChildKind, ChildRef, Ownership};

/// The label that says which program an object belongs to.
pub const APP_NAME: &str = "app.kubernetes.io/name";
/// The label that names the Realm, as charts do it.
pub const APP_INSTANCE: &str = "app.kubernetes.io/instance";
/// The account of the servers' images.
const ACCOUNT: u32 = 65_532;
/// The account of the PostgreSQL image.
const POSTGRES_ACCOUNT: u32 = 999;
/// The port of PostgreSQL.
pub const POSTGRES_PORT: u16 = 5432;

/// A program of a realm.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Part {
    /// The key management service.
    Kms,
    /// The identity server.
    Identity,
    /// The managed database.
    Postgres,
}

impl Part {
    /// The two servers.
    pub const SERVERS: [Self; 2] = [Self::Identity, Self::Kms];

    /// Its name, in labels and names of objects.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Kms => "kms",
            Self::Identity => "identity",
            Self::Postgres => "postgres",
        }
    }

    /// The server of a product.
    #[must_use]
    pub const fn of(product: Product) -> Self {
        match product {
            Product::Kms => Self::Kms,
            Product::Identity => Self::Identity,
        }
    }

    /// The port of the public listener in the pod.
    #[must_use]
    pub const fn public_port(self) -> u16 {
        match self {
            Self::Kms => 8080,
            Self::Identity => 8082,
            Self::Postgres => POSTGRES_PORT,
        }
    }

    /// The port of the listener for callers with a certificate, in the pod and at the Service.
    #[must_use]
    pub const fn mtls_port(self) -> u16 {
        match self {
            Self::Kms => 8443,
            Self::Identity => 8444,
            Self::Postgres => POSTGRES_PORT,
        }
    }
}

/// The realm whose objects are made.
#[derive(Debug, Clone, Copy)]
pub struct Home<'a> {
    /// Its name.
    pub name: &'a str,
    /// Its namespace.
    pub namespace: &'a str,
    /// Its UID.
    pub uid: &'a str,
    /// What it shall be.
    pub spec: &'a RealmSpec,
}

impl<'a> Home<'a> {
    /// Of a Realm that an API server gave; another one has no UID.
    #[must_use]
    pub fn of(realm: &'a Realm) -> Option<Self> {
        let metadata = &realm.metadata;
        Some(Self {
            name: metadata.name.as_deref()?,
            namespace: metadata.namespace.as_deref()?,
            uid: metadata.uid.as_deref()?,
            spec: &realm.spec,
        })
    }

    /// Where an object is whose name is the realm's with this behind it.
    #[must_use]
    pub fn at(&self, kind: ChildKind, suffix: &str) -> ChildRef {
        ChildRef::new(kind, self.namespace, format!("{}-{suffix}", self.name))
    }

    /// The name inside the cluster under which callers reach a part.
    #[must_use]
    pub fn service_name(&self, part: Part) -> String {
        format!("{}-{}.{}.svc", self.name, part.name(), self.namespace)
    }

    /// `host:port` or `host` of the resource, taken apart.
    #[must_use]
    pub fn hostname(&self, part: Part) -> (&'a str, u16) {
        let text = match part {
            Part::Identity => &self.spec.hostnames.identity,
            _ => &self.spec.hostnames.kms,
        };
        match text.rsplit_once(':') {
            Some((host, port)) => (host, port.parse().unwrap_or(443)),
            None => (text, 443),
        }
    }

    /// The URL that callers know.
    #[must_use]
    pub fn url(&self, part: Part) -> String {
        let (host, port) = self.hostname(part);
        if port == 443 { format!("https://{host}") } else { format!("https://{host}:{port}") }
    }

    /// What the resource says of a server.
    #[must_use]
    pub fn workload(&self, part: Part) -> &'a Workload {
        if part == Part::Identity { &self.spec.identity } else { &self.spec.kms }
    }

    /// How many pods of a server there shall be.
    #[must_use]
    pub fn replicas(&self, part: Part) -> i32 {
        let by_profile = if self.spec.profile == crds::Profile::Prod { 2 } else { 1 };
        self.workload(part).replicas.unwrap_or(by_profile)
    }

    /// Whether the operator runs the database.
    #[must_use]
    pub fn is_managed(&self) -> bool {
        self.spec.database.managed.is_some()
    }

    fn labels(&self, part: Option<Part>) -> BTreeMap<String, String> {
        let mut labels = BTreeMap::from([
            (crds::REALM_LABEL.to_owned(), self.name.to_owned()),
            (APP_INSTANCE.to_owned(), self.name.to_owned()),
        ]);
        if let Some(part) = part {
            labels.insert(APP_NAME.to_owned(), part.name().to_owned());
        }
        labels
    }

    /// What selects the pods of a part. It never changes: a Deployment's selector cannot.
    #[must_use]
    pub fn selector(&self, part: Part) -> Value {
        json!({APP_NAME: part.name(), APP_INSTANCE: self.name})
    }

    /// An object that goes with the Realm.
    fn child(&self, kind: ChildKind, suffix: &str, part: Option<Part>, body: Value) -> Child {
        let ownership = Ownership::Controller {
            api_version: "keyrealm.dev/v1alpha1",
            kind: "Realm",
            name: self.name.to_owned(),
            uid: self.uid.to_owned(),
        };
        self.owned(self.at(kind, suffix), ownership, part, body)
    }

    /// An object that outlives the Realm.
    fn keepsake(&self, suffix: &str, part: Option<Part>, body: Value) -> Child {
        let ownership = Ownership::Marker { uid: self.uid.to_owned() };
        self.owned(self.at(ChildKind::Secret, suffix), ownership, part, body)
    }

    fn owned(&self, at: ChildRef, ownership: Ownership, part: Option<Part>, body: Value) -> Child {
        Child { at, ownership, labels: self.labels(part), annotations: BTreeMap::new(), body }
    }
}

/// What the pods of all parts have in common.
fn pod_security(account: u32) -> Value {
    json!({
        "runAsNonRoot": true, "runAsUser": account, "runAsGroup": account, "fsGroup": account,
        "fsGroupChangePolicy": "OnRootMismatch",
        "seccompProfile": {"type": "RuntimeDefault"},
    })
}

/// What all containers have in common.
fn container_security() -> Value {
    json!({
        "allowPrivilegeEscalation": false, "readOnlyRootFilesystem": true, "capabilities": {"drop": ["ALL"]},
    })
}

/// A Secret as a volume that only the pod's group may read.
fn secret_volume(name: &str, secret: &str) -> Value {
    json!({"name": name, "secret": {"secretName": secret, "defaultMode": 0o440}})
}
