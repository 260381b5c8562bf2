//! The resources of Keyrealm: Realm, Tenant and DemoEnvironment, group `keyrealm.dev`, version `v1alpha1`. What they accept
//! is written here once; `crds/*.yaml` is made from it by `cargo xtask crds`.
#![allow(unreachable_pub, reason = "KubeSchema puts a copy of each type into a function")]

#[cfg(feature = "client")]
pub mod client;
mod condition;
mod demo_environment;
mod names;
mod realm;
mod rules;
mod scopes;
#[cfg(feature = "client")]
mod sent;
mod shared;
mod tenant;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    CustomResourceDefinition, JSONSchemaProps, JSONSchemaPropsOrArray, JSONSchemaPropsOrBool,
};
use kube::CustomResourceExt as _;

pub use condition::{Condition, ConditionStatus, READY, RECONCILING, STALLED};
pub use demo_environment::{
    DemoEndpoints, DemoEnvironment, DemoEnvironmentSpec, DemoEnvironmentStatus, DemoRealm, SeedSet,
};
pub use names::*;
pub use realm::{
    AllowedTenants, CertificateTimes, Database, ExternalDatabase, Hostnames, ManagedDatabase, NameStyle,
    NetworkPolicySettings, PkiStatus, Profile, Realm, RealmDeletionPolicy, RealmSpec, RealmStatus, RootSource, Tls,
    TlsAlgorithm, Tokens, Workload, WorkloadStatus,
};
pub use scopes::SCOPES;
pub use shared::{BoundedText, KeySelector, LabelSelector, ObjectRef, Resources, SecretRef};
pub use tenant::{
    ClientType, EntryState, EntryStatus, Grant, KeyAlgorithm, OnRemove, OnRemoveKey, Pkce, RealmRef, Role,
    SecretSource, Tenant, TenantClient, TenantDeletionPolicy, TenantKey, TenantSpec, TenantStatus, TenantUser,
};

/// All definitions, in the order in which they are applied.
#[must_use]
pub fn definitions() -> Vec<CustomResourceDefinition> {
    let mut definitions = vec![Realm::crd(), Tenant::crd(), DemoEnvironment::crd()];
    for version in definitions.iter_mut().flat_map(|definition| &mut definition.spec.versions) {
        if let Some(schema) = version.schema.as_mut().and_then(|schema| schema.open_api_v3_schema.as_mut()) {
            join_lines(schema);
        }
    }
    definitions
}

/// Descriptions are paragraphs: `kubectl explain` breaks their lines itself.
fn join_lines(schema: &mut JSONSchemaProps) {
    if let Some(text) = &mut schema.description {
        *text = text.replace('\n', " ");
    }
    schema.properties.iter_mut().flat_map(|properties| properties.values_mut()).for_each(join_lines);
    if let Some(JSONSchemaPropsOrArray::Schema(items)) = &mut schema.items {
        join_lines(items);
    }
    if let Some(JSONSchemaPropsOrBool::Schema(values)) = &mut schema.additional_properties {
        join_lines(values);
    }
}
