//! Realm: one issuer, one KMS and one Identity, one trust root, one database.

use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::condition::Condition;
use crate::rules;
use crate::shared::{LabelSelector, Resources, SecretRef};

/// A realm: an issuer with its identity server and key management service, their certificates and their database.
#[derive(CustomResource, Debug, Clone, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[kube(
    group = "keyrealm.dev",
    version = "v1alpha1",
    kind = "Realm",
    plural = "realms",
    shortname = "rlm",
    category = "keyrealm",
    namespaced,
    status = "RealmStatus",
    derive = "PartialEq",
    selectable = ".spec.profile",
    doc = "A realm: one issuer, one identity server and one key management service with their certificates and database.",
    printcolumn(name = "Ready", type_ = "string", json_path = ".status.conditions[?(@.type=='Ready')].status"),
    printcolumn(name = "Reason", type_ = "string", json_path = ".status.conditions[?(@.type=='Ready')].reason"),
    printcolumn(name = "Tenants", type_ = "integer", json_path = ".status.tenants"),
    printcolumn(name = "Expires", type_ = "date", json_path = ".status.expires", description = "the first leaf certificate"),
    printcolumn(name = "Issuer", type_ = "string", json_path = ".status.issuer", priority = 1),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    validation = rules::name_length(40),
    validation = rules::name_form()
)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("self.profile != 'prod' || !has(self.database.managed)").message("database.managed is for dev, demo and ci: give database.external, or take another profile"))]
pub struct RealmSpec {
    /// What the realm is for. `dev`, `demo` and `ci` run one pod of each server unless told otherwise; `prod` runs two and
    /// needs a database of your own.
    #[serde(default)]
    pub profile: Profile,
    /// The names that callers know, as `host` or `host:port`. Tokens and clients hold them: they cannot change.
    pub hostnames: Hostnames,
    /// The PostgreSQL database of this realm alone: either `external` or `managed`.
    pub database: Database,
    /// The realm's own certificates. Durations in hours, minutes and seconds: `2160h`, `90m`.
    #[serde(default)]
    pub tls: Tls,
    /// The key management service.
    #[serde(default)]
    pub kms: Workload,
    /// The identity server.
    #[serde(default)]
    pub identity: Workload,
    /// How long tokens and sessions live, in seconds.
    #[serde(default)]
    pub tokens: Tokens,
    /// Which namespaces may have Tenants of this realm.
    #[serde(default)]
    pub allowed_tenants: AllowedTenants,
    /// Who may reach the pods.
    #[serde(default)]
    pub network_policy: NetworkPolicySettings,
    /// What becomes of the data when the Realm is deleted. `Retain`: database, unseal keys, root CA and role passwords stay, and
    /// a new Realm can adopt them. `Delete`: the schemas, roles and Secrets go; nothing can be decrypted afterwards.
    #[serde(default)]
    pub deletion_policy: RealmDeletionPolicy,
}

/// What a realm is for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Profile {
    /// Development: one replica unless given.
    #[default]
    Dev,
    /// Demonstration: as dev.
    Demo,
    /// Tests: as dev.
    Ci,
    /// Production: two replicas unless given, no managed database.
    Prod,
}

/// The names that callers know, as `host` or `host:port`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = rules::fixed("hostnames", "tokens and clients hold them; make a new resource"))]
#[x_kube(validation = Rule::new("self.kms != self.identity").message("hostnames: kms and identity must differ: give each a name or a port of its own"))]
pub struct Hostnames {
    /// The KMS: `https://<kms>` is the audience of access tokens.
    #[schemars(length(min = 1, max = 259))]
    #[x_kube(validation = rules::host("hostnames.kms"))]
    #[x_kube(validation = rules::port("hostnames.kms"))]
    pub kms: String,
    /// The identity server: `https://<identity>` is the issuer.
    #[schemars(length(min = 1, max = 259))]
    #[x_kube(validation = rules::host("hostnames.identity"))]
    #[x_kube(validation = rules::port("hostnames.identity"))]
    pub identity: String,
}

/// Where the data lies: give one of the two.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("has(self.external) != has(self.managed)").message("database: give either external or managed, not both"))]
#[x_kube(validation = Rule::new("has(self.external) == has(oldSelf.external)").message("database: external and managed cannot be exchanged after creation: make a new Realm"))]
pub struct Database {
    /// A PostgreSQL database of your own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub external: Option<ExternalDatabase>,
    /// One PostgreSQL that the operator runs, for development and demonstration.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub managed: Option<ManagedDatabase>,
}

/// A PostgreSQL database of your own.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ExternalDatabase {
    /// A Secret with `host`, `port`, `database`, `user`, `password` and `ca.crt`. The user has CREATEROLE, CREATE on the
    /// database, and is used by the operator alone.
    pub secret_ref: SecretRef,
}

/// One PostgreSQL that the operator runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = rules::fixed_optional("storageClassName", "database.managed.storageClassName", "the volume is made once"))]
pub struct ManagedDatabase {
    /// The size of its volume, from `256Mi` to `16Ti`. It cannot change.
    #[serde(default = "one_gi")]
    #[schemars(length(min = 1, max = 20))]
    #[x_kube(validation = rules::storage("database.managed.storage"))]
    #[x_kube(validation = rules::fixed("database.managed.storage", "the volume is made once"))]
    pub storage: String,
    /// The class of its volume; the cluster's default unless given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    #[x_kube(validation = rules::subdomain("database.managed.storageClassName"))]
    pub storage_class_name: Option<String>,
    /// Its image; the operator's default unless given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 512))]
    pub image: Option<String>,
}

fn one_gi() -> String {
    "1Gi".to_owned()
}

const MADE_ONCE: &str = "the CAs are made once";

/// Certificates. Durations in hours, minutes and seconds: `2160h`, `90m`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = rules::shorter("tls", "renewBefore", "leafLifetime"))]
#[x_kube(validation = rules::shorter("tls", "leafLifetime", "caLifetime"))]
#[x_kube(validation = rules::fixed_optional("root", "tls.root", MADE_ONCE))]
pub struct Tls {
    /// How many certificates from the root to the leaf, both counted. It cannot change.
    #[serde(default = "three")]
    #[schemars(range(min = 2, max = 8))]
    #[x_kube(validation = rules::fixed("tls.chainLength", MADE_ONCE))]
    pub chain_length: i32,
    /// How the CAs are named: `fqdn` (`root.ca.<realm>.<namespace>`) or `descriptive` (`<realm> Root CA`). It cannot change.
    #[serde(default)]
    #[x_kube(validation = rules::fixed("tls.nameStyle", MADE_ONCE))]
    pub name_style: NameStyle,
    /// Curve and hash of all keys: P-256 with SHA-256, P-384 with SHA-384 or P-521 with SHA-512. It cannot change.
    #[serde(default)]
    #[x_kube(validation = rules::fixed("tls.algorithm", MADE_ONCE))]
    pub algorithm: TlsAlgorithm,
    /// Life of the CAs, from `24h` to `219000h` (25 years). It cannot change.
    #[serde(default = "ten_years")]
    #[schemars(length(min = 2, max = 20))]
    #[x_kube(validation = rules::duration("tls.caLifetime", "24h", "219000h"))]
    #[x_kube(validation = rules::fixed("tls.caLifetime", MADE_ONCE))]
    pub ca_lifetime: String,
    /// Life of the leaf certificates, from `1h` to `9552h` (398 days), shorter than that of the CAs.
    #[serde(default = "ninety_days")]
    #[schemars(length(min = 2, max = 20))]
    #[x_kube(validation = rules::duration("tls.leafLifetime", "1h", "9552h"))]
    pub leaf_lifetime: String,
    /// How long before its end a leaf is renewed, from `1m` on, shorter than its life.
    #[serde(default = "thirty_days")]
    #[schemars(length(min = 2, max = 20))]
    #[x_kube(validation = rules::duration("tls.renewBefore", "1m", "9552h"))]
    pub renew_before: String,
    /// Where the CAs come from; generated unless given. It cannot change.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub root: Option<RootSource>,
}

fn three() -> i32 {
    3
}

fn ten_years() -> String {
    "87600h".to_owned()
}

fn ninety_days() -> String {
    "2160h".to_owned()
}

fn thirty_days() -> String {
    "720h".to_owned()
}

impl Default for Tls {
    fn default() -> Self {
        Self {
            chain_length: three(),
            name_style: NameStyle::default(),
            algorithm: TlsAlgorithm::default(),
            ca_lifetime: ten_years(),
            leaf_lifetime: ninety_days(),
            renew_before: thirty_days(),
            root: None,
        }
    }
}

/// How CAs are named.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum NameStyle {
    /// `root.ca.<realm>.<namespace>`.
    #[default]
    Fqdn,
    /// `<realm> Root CA`.
    Descriptive,
}

/// Curve and hash of the keys.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum TlsAlgorithm {
    /// P-256 with SHA-256.
    #[default]
    P256,
    /// P-384 with SHA-384.
    P384,
    /// P-521 with SHA-512.
    P521,
}

/// A CA of your own.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RootSource {
    /// A Secret with `tls.crt` (CA certificates, root first) and `tls.key` (key of the last one).
    pub secret_ref: SecretRef,
}

/// One of the two servers.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Workload {
    /// How many pods; by the profile unless given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 20))]
    pub replicas: Option<i32>,
    /// The image; the operator's default unless given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 512))]
    pub image: Option<String>,
    /// Requests and limits; measured defaults unless given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resources: Option<Resources>,
}

/// How long tokens and sessions live, in seconds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Tokens {
    /// Access tokens.
    #[schemars(range(min = 1, max = 86_400))]
    pub access_seconds: i32,
    /// Refresh tokens, from the log-in on.
    #[schemars(range(min = 1, max = 31_536_000))]
    pub refresh_seconds: i32,
    /// id_tokens.
    #[schemars(range(min = 1, max = 86_400))]
    pub id_seconds: i32,
    /// Authorization codes.
    #[schemars(range(min = 1, max = 60))]
    pub code_seconds: i32,
    /// Log-in sessions.
    #[schemars(range(min = 1, max = 2_592_000))]
    pub session_seconds: i32,
    /// Log-in sessions that nobody uses.
    #[schemars(range(min = 1, max = 2_592_000))]
    pub idle_seconds: i32,
}

impl Default for Tokens {
    fn default() -> Self {
        Self {
            access_seconds: 900,
            refresh_seconds: 86_400,
            id_seconds: 3_600,
            code_seconds: 60,
            session_seconds: 28_800,
            idle_seconds: 1_800,
        }
    }
}

/// Which namespaces may have Tenants of this realm: the own one unless a selector is given.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct AllowedTenants {
    /// Labels of namespaces; an empty selector takes all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub namespace_selector: Option<LabelSelector>,
}

/// Who may reach the pods.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct NetworkPolicySettings {
    /// Whether NetworkPolicies are made: they deny all but the needed flows.
    pub enabled: bool,
    /// Labels of namespaces whose pods may reach the public listeners; all unless given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub clients: Option<LabelSelector>,
}

impl Default for NetworkPolicySettings {
    fn default() -> Self {
        Self { enabled: true, clients: None }
    }
}

/// What becomes of the data of a deleted Realm.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum RealmDeletionPolicy {
    /// Database, unseal keys, root CA and role passwords stay; a new Realm can adopt them.
    #[default]
    Retain,
    /// The realm's schemas and roles are dropped and its Secrets deleted. Nothing can be decrypted afterwards.
    Delete,
}

/// What the operator found and did.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct RealmStatus {
    /// The generation that was looked at.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub observed_generation: Option<i64>,
    /// Ready, Reconciling, Stalled.
    #[schemars(length(max = 8))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    #[serde(default)]
    pub conditions: Vec<Condition>,
    /// The id that every sealed record is bound to; needed to adopt a retained database.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 36))]
    pub deployment_id: Option<String>,
    /// The issuer's URL.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 300))]
    pub issuer: Option<String>,
    /// The KMS's URL.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 300))]
    pub kms_url: Option<String>,
    /// The ConfigMap whose `ca.crt` clients trust.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 253))]
    pub trust_bundle: Option<String>,
    /// Certificates.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pki: Option<PkiStatus>,
    /// When the first leaf certificate ends, RFC 3339.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("format" = "date-time"), length(max = 40))]
    pub expires: Option<String>,
    /// Tenants that are served.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub tenants: Option<i64>,
    /// The KMS's pods.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kms: Option<WorkloadStatus>,
    /// Identity's pods.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub identity: Option<WorkloadStatus>,
}

/// Certificates of a realm.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct PkiStatus {
    /// SHA-256 of the root certificate, hex.
    #[schemars(length(max = 64))]
    pub root_sha256: String,
    /// The CAs end then, RFC 3339.
    #[schemars(length(max = 40))]
    pub not_after: String,
    /// The leaves.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8))]
    pub leaves: Vec<CertificateTimes>,
}

/// A leaf certificate's times.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct CertificateTimes {
    /// The Secret that holds it.
    #[schemars(length(max = 253))]
    pub secret: String,
    /// It ends then, RFC 3339.
    #[schemars(length(max = 40))]
    pub not_after: String,
    /// It is renewed then, RFC 3339.
    #[schemars(length(max = 40))]
    pub renewal: String,
}

/// The pods of one server.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct WorkloadStatus {
    /// Wanted.
    #[schemars(range(min = 0))]
    pub replicas: i32,
    /// Of the newest kind, and available.
    #[schemars(range(min = 0))]
    pub available: i32,
    /// That say themselves that they are ready, with the newest certificates.
    #[schemars(range(min = 0))]
    pub serving: i32,
}
