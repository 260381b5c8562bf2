//! DemoEnvironment: a realm with tenants, users, clients and keys, from one resource.

use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::condition::Condition;
use crate::realm::{Database, Hostnames, NetworkPolicySettings, Tls, Tokens, Workload};
use crate::rules;

/// A realm with tenants, users, clients and keys to try out: expands into one Realm, Tenants and Secrets.
#[derive(CustomResource, Debug, Clone, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[kube(
    group = "keyrealm.dev",
    version = "v1alpha1",
    kind = "DemoEnvironment",
    plural = "demoenvironments",
    shortname = "demo",
    category = "keyrealm",
    namespaced,
    status = "DemoEnvironmentStatus",
    derive = "PartialEq",
    doc = "A realm with tenants, users, clients and keys to try out, from one resource.",
    printcolumn(name = "Ready", type_ = "string", json_path = ".status.conditions[?(@.type=='Ready')].status"),
    printcolumn(name = "Reason", type_ = "string", json_path = ".status.conditions[?(@.type=='Ready')].reason"),
    printcolumn(name = "Tenants", type_ = "integer", json_path = ".spec.tenants"),
    printcolumn(name = "Expires", type_ = "string", json_path = ".status.expires"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    validation = rules::name_length(36),
    validation = rules::name_form()
)]
#[serde(rename_all = "camelCase")]
pub struct DemoEnvironmentSpec {
    /// What differs from the defaults of its Realm.
    #[serde(default)]
    pub realm: DemoRealm,
    /// How many tenants; more or fewer at any time. Those that go take their data with them.
    #[serde(default = "two")]
    #[schemars(range(min = 1, max = 20))]
    pub tenants: i32,
    /// What the tenants hold: the demo's users, clients and keys (`demo`), or nothing (`none`).
    #[serde(default)]
    pub seed: SeedSet,
    /// It deletes itself this long after its creation, from `1m` to `8760h`; never unless given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 2, max = 20))]
    #[x_kube(validation = rules::duration("ttl", "1m", "8760h"))]
    pub ttl: Option<String>,
    /// A new value deletes the tenants and makes them anew, with new ids and passwords.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 64))]
    pub reset_token: Option<String>,
}

fn two() -> i32 {
    2
}

/// What differs from the defaults of a demonstration's Realm.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = rules::stays("hostnames", "realm.hostnames", "tokens and clients hold them; make a new DemoEnvironment"))]
#[x_kube(validation = rules::stays("database", "realm.database", "the data lies there; make a new DemoEnvironment"))]
#[x_kube(validation = rules::stays("tls", "realm.tls", "the CAs are made once; make a new DemoEnvironment"))]
pub struct DemoRealm {
    /// `kms.<name>.localhost:8081` and `id.<name>.localhost:8082` unless given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hostnames: Option<Hostnames>,
    /// A managed one unless given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub database: Option<Database>,
    /// Certificates, as of a Realm.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<Tls>,
    /// The key management service.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kms: Option<Workload>,
    /// The identity server.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub identity: Option<Workload>,
    /// How long tokens and sessions live.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tokens: Option<Tokens>,
    /// Who may reach the pods.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub network_policy: Option<NetworkPolicySettings>,
}

/// What the tenants of a demonstration hold.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum SeedSet {
    /// The demo's users, clients and keys.
    #[default]
    Demo,
    /// Nothing.
    None,
}

/// What the operator found and did.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct DemoEnvironmentStatus {
    /// The generation that was looked at.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub observed_generation: Option<i64>,
    /// Ready, Reconciling, Stalled.
    #[schemars(length(max = 8))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    #[serde(default)]
    pub conditions: Vec<Condition>,
    /// Where the servers are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub endpoints: Option<DemoEndpoints>,
    /// The Secret whose `credentials.json` has the users' passwords and the clients' secrets.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 253))]
    pub credentials_secret: Option<String>,
    /// It deletes itself then, RFC 3339.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 40))]
    pub expires: Option<String>,
    /// The reset token that was carried out last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub reset_token: Option<String>,
}

/// Where the servers of a demonstration are.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct DemoEndpoints {
    /// The issuer's URL.
    #[schemars(length(max = 300))]
    pub issuer: String,
    /// The KMS's URL.
    #[schemars(length(max = 300))]
    pub kms: String,
    /// The ConfigMap whose `ca.crt` clients trust.
    #[schemars(length(max = 253))]
    pub trust_bundle: String,
    /// The Service of Identity.
    #[schemars(length(max = 253))]
    pub identity_service: String,
    /// The Service of the KMS.
    #[schemars(length(max = 253))]
    pub kms_service: String,
}
