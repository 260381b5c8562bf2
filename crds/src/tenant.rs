//! Tenant: a schema of its own in both servers, with keys, clients and users as code.

use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::condition::Condition;
use crate::rules;
use crate::scopes;
use crate::shared::KeySelector;

/// A tenant of a realm: isolated schemas, and keys, clients and users as code.
#[derive(CustomResource, Debug, Clone, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[kube(
    group = "keyrealm.dev",
    version = "v1alpha1",
    kind = "Tenant",
    plural = "tenants",
    shortname = "tnt",
    category = "keyrealm",
    namespaced,
    status = "TenantStatus",
    derive = "PartialEq",
    selectable = ".spec.realmRef.name",
    doc = "A tenant of a realm: isolated schemas in the identity server and the key management service, with keys, clients and users as code.",
    printcolumn(name = "Ready", type_ = "string", json_path = ".status.conditions[?(@.type=='Ready')].status"),
    printcolumn(name = "Reason", type_ = "string", json_path = ".status.conditions[?(@.type=='Ready')].reason"),
    printcolumn(name = "Realm", type_ = "string", json_path = ".spec.realmRef.name"),
    printcolumn(name = "Tenant", type_ = "string", json_path = ".status.tenantId", priority = 1),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    validation = rules::name_length(40),
    validation = rules::name_or_slug()
)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = rules::fixed_optional("id", "spec.id", "give it at creation, or make a new Tenant"))]
#[x_kube(validation = rules::fixed_optional("slug", "spec.slug", "log-ins and client ids hold it; make a new Tenant"))]
pub struct TenantSpec {
    /// The Realm that the tenant is in. It cannot change.
    #[x_kube(validation = rules::fixed("realmRef", "make a new Tenant"))]
    pub realm_ref: RealmRef,
    /// The name in log-ins and client ids, unique in the realm; the resource's name unless given. It cannot change.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 40))]
    #[x_kube(validation = rules::slug("spec.slug"))]
    pub slug: Option<String>,
    /// The name that pages show; the slug unless given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 100))]
    #[x_kube(validation = rules::shown("spec.displayName"))]
    pub display_name: Option<String>,
    /// The tenant's id, a UUIDv4; drawn unless given at creation. `status.tenantId` is the one in force.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 36, max = 36))]
    #[x_kube(validation = Rule::new("self.matches('^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$')").message("spec.id: give a UUIDv4 in lower case, as uuidgen makes one"))]
    pub id: Option<String>,
    /// What becomes of the data when the Tenant is deleted. `Retain`: the schemas stay, nobody serves them, and a new Tenant can
    /// adopt them. `Archive`: they are renamed and locked away, and dropped after 30 days. `Delete`: the tenant's root key is
    /// destroyed and the schemas are dropped; nothing can be decrypted afterwards.
    #[serde(default)]
    pub deletion_policy: TenantDeletionPolicy,
    /// Keys of the key management service.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 200))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    pub keys: Vec<TenantKey>,
    /// Clients of the identity server.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 100))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    #[x_kube(validation = Rule::new("self.all(a, !has(a.clientId) || self.exists_one(b, has(b.clientId) && b.clientId == a.clientId))").message("clients: two have the same clientId: give each its own"))]
    pub clients: Vec<TenantClient>,
    /// Users of the identity server.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 200))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    pub users: Vec<TenantUser>,
}

/// The realm of a tenant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct RealmRef {
    /// Its name.
    #[schemars(length(min = 1, max = 40))]
    #[x_kube(validation = rules::slug("realmRef.name"))]
    pub name: String,
    /// Its namespace; the Tenant's own unless given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63))]
    #[x_kube(validation = rules::namespace("realmRef.namespace"))]
    pub namespace: Option<String>,
}

/// What becomes of the data of a deleted Tenant.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum TenantDeletionPolicy {
    /// The schemas stay, and nobody serves them; a new Tenant can adopt them.
    #[default]
    Retain,
    /// The schemas are renamed and locked away, and dropped after 30 days.
    Archive,
    /// The tenant's root key is destroyed and its schemas are dropped. Nothing can be decrypted afterwards.
    Delete,
}

/// What becomes of an object whose entry is removed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum OnRemove {
    /// It stays, and is changed through the API from then on.
    #[default]
    Orphan,
    /// It is disabled.
    Disable,
    /// It is deleted.
    Delete,
}

/// What becomes of a key whose entry is removed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum OnRemoveKey {
    /// It stays, and is changed through the API from then on.
    #[default]
    Orphan,
    /// It is disabled.
    Disable,
}

/// What a key is made for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum KeyAlgorithm {
    /// Encrypts; each message has a key of its own, wrapped by this one.
    #[serde(rename = "A256GCM/A256KW")]
    A256Kw,
    /// Encrypts directly.
    #[serde(rename = "A256GCM/dir")]
    Dir,
    /// Signs: ECDSA on P-256.
    #[serde(rename = "ES256")]
    Es256,
    /// Signs: RSA, 2048 bits.
    #[serde(rename = "RS256")]
    Rs256,
    /// Signs: Ed25519.
    #[serde(rename = "EdDSA")]
    EdDsa,
}

/// How a client gets tokens (RFC 6749).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Grant {
    /// By a user's log-in, section 4.1.
    AuthorizationCode,
    /// By a refresh token, section 6.
    RefreshToken,
    /// For itself, section 4.4.
    ClientCredentials,
}

/// What a user may do with the tenant's keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    /// Everything.
    Admin,
    /// Make, change and use keys.
    TenantAdmin,
    /// Use keys and see them.
    User,
    /// Use keys.
    Service,
}

/// A key of the KMS.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct TenantKey {
    /// Its name, unique in the tenant.
    #[schemars(length(min = 1, max = 63))]
    #[x_kube(validation = Rule::new("self.matches('^[A-Za-z0-9][A-Za-z0-9._-]*$')").message("keys.name: begin with a letter or digit; then letters, digits, '-', '_' and '.'"))]
    pub name: String,
    /// What it is made for. `A256GCM/A256KW` encrypts, each message with a key of its own; `A256GCM/dir` encrypts directly;
    /// `ES256`, `RS256` and `EdDSA` sign. It cannot change.
    #[x_kube(validation = rules::fixed("keys.algorithm", "a key is made for one; add a key with another name"))]
    pub algorithm: KeyAlgorithm,
    /// What it is for.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(length(max = 255))]
    #[x_kube(validation = rules::shown("keys.description"))]
    pub description: String,
    /// What becomes of the key when this entry is removed: it stays and is changed through the API (`orphan`), or is disabled.
    #[serde(default)]
    pub on_remove: OnRemoveKey,
}

/// Whether a client can keep a secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ClientType {
    /// It cannot: an app on somebody's device.
    Public,
    /// It can: a server.
    Confidential,
}

/// Whether the code flow demands PKCE (RFC 7636).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Pkce {
    /// Always.
    #[default]
    Required,
    /// If the request has a challenge; for confidential clients only.
    IfSent,
}

/// A client of Identity. Its id is `<slug>.<name>` unless given.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("self.type == 'confidential' || !has(self.secret)").message("clients.secret is for confidential clients: leave it away, or set type: confidential"))]
#[x_kube(validation = Rule::new("self.type == 'confidential' || !('client_credentials' in self.grants)").message("clients.grants: client_credentials needs a client that keeps a secret: set type: confidential"))]
#[x_kube(validation = Rule::new("self.type == 'confidential' || self.pkce == 'required'").message("clients.pkce: ifSent is for confidential clients: set required, or type: confidential"))]
#[x_kube(validation = Rule::new("!('authorization_code' in self.grants) || size(self.redirectUris) > 0").message("clients.redirectUris: authorization_code needs at least one: give it, or take the grant away"))]
pub struct TenantClient {
    /// Its name, unique in the tenant.
    #[schemars(length(min = 1, max = 50))]
    #[x_kube(validation = Rule::new("self.matches('^[a-z0-9]([a-z0-9-]*[a-z0-9])?$')").message("clients.name: lower-case letters, digits and hyphens, no hyphen first or last"))]
    pub name: String,
    /// The id that it uses, unique in the realm, without a dot; `<slug>.<name>` unless given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 100))]
    #[x_kube(validation = Rule::new("self.matches('^[A-Za-z0-9_-]+$')").message("clients.clientId: letters, digits, '-' and '_'; ids with a dot are those that begin with a slug"))]
    pub client_id: Option<String>,
    /// The name that people are shown.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(length(max = 100))]
    #[x_kube(validation = rules::shown("clients.displayName"))]
    pub display_name: String,
    /// Whether it can keep a secret: `confidential` (a server) or `public` (an app on somebody's device).
    #[serde(rename = "type")]
    pub kind: ClientType,
    /// Its secret, for confidential clients; generated unless given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret: Option<SecretSource>,
    /// Where log-ins return to: https, or http on localhost; without a fragment.
    #[serde(default)]
    #[schemars(length(max = 20), inner(length(min = 1, max = 400)))]
    #[x_kube(merge_strategy = ListMerge::Set)]
    #[x_kube(validation = rules::redirects("clients.redirectUris"))]
    pub redirect_uris: Vec<String>,
    /// Where log-outs return to: https, or http on localhost; without a fragment.
    #[serde(default)]
    #[schemars(length(max = 20), inner(length(min = 1, max = 400)))]
    #[x_kube(merge_strategy = ListMerge::Set)]
    #[x_kube(validation = rules::redirects("clients.postLogoutRedirectUris"))]
    pub post_logout_redirect_uris: Vec<String>,
    /// How it gets tokens (RFC 6749): by a user's log-in, by a refresh token, for itself.
    #[schemars(length(min = 1, max = 3))]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub grants: Vec<Grant>,
    /// Scopes that it may ask for.
    #[schemars(length(min = 1, max = 40), inner(length(max = 64)), transform = scopes::only_known)]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub scopes: Vec<String>,
    /// Whether the code flow demands PKCE (RFC 7636): always, or if the request has a challenge (`ifSent`; confidential clients).
    #[serde(default)]
    pub pkce: Pkce,
    /// A disabled client gets nothing.
    #[serde(default = "yes")]
    pub enabled: bool,
    /// What becomes of the client when this entry is removed: it stays and is changed through the API (`orphan`), is disabled, or
    /// is deleted.
    #[serde(default)]
    pub on_remove: OnRemove,
}

/// Where a client's secret comes from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct SecretSource {
    /// A Secret of your own: at least 32 characters. A generated one lies in `<tenant>-client-<name>`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_ref: Option<KeySelector>,
    /// How long the old secret is valid after a new one, from `0s` to `720h` (30 days).
    #[serde(default = "a_day")]
    #[schemars(length(min = 2, max = 20))]
    #[x_kube(validation = rules::duration("clients.secret.overlap", "0s", "720h"))]
    pub overlap: String,
}

fn a_day() -> String {
    "24h".to_owned()
}

/// A user of Identity.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct TenantUser {
    /// The user name, unique in the tenant.
    #[schemars(length(min = 1, max = 100))]
    #[x_kube(validation = Rule::new("self.matches('^[^\\\\s\\\\p{Z}\\\\p{Cc}@]+$')").message("users.name: leave white space and '@' away"))]
    pub name: String,
    /// The address.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(length(max = 254))]
    #[x_kube(validation = Rule::new("self.matches('^([^\\\\s\\\\p{Z}\\\\p{Cc}@]+@[^\\\\s\\\\p{Z}\\\\p{Cc}@]+)?$')").message("users.email: give one address, as ann@example.com"))]
    pub email: String,
    /// The name that people are shown.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(length(max = 100))]
    #[x_kube(validation = rules::shown("users.displayName"))]
    pub display_name: String,
    /// The entry of a Secret that has the password, or its hash (then it begins with `$pbkdf2-sha256$`).
    pub password_secret_ref: KeySelector,
    /// What the user may do with keys: `admin` everything; `tenant-admin` make, change and use them; `user` use and see them;
    /// `service` use them.
    #[serde(default)]
    #[schemars(length(max = 4))]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub roles: Vec<Role>,
    /// A disabled user cannot log in.
    #[serde(default = "yes")]
    pub enabled: bool,
    /// What becomes of the user when this entry is removed: it stays and is changed through the API (`orphan`), is disabled, or
    /// is deleted.
    #[serde(default)]
    pub on_remove: OnRemove,
}

fn yes() -> bool {
    true
}

/// What the operator found and did.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct TenantStatus {
    /// The generation that was looked at.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub observed_generation: Option<i64>,
    /// Ready, Reconciling, Stalled.
    #[schemars(length(max = 8))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    #[serde(default)]
    pub conditions: Vec<Condition>,
    /// The tenant's id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 36))]
    pub tenant_id: Option<String>,
    /// The slug in force.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 40))]
    pub slug: Option<String>,
    /// What became of each entry that is not simply ready, and of those that were removed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 100))]
    pub entries: Vec<EntryStatus>,
    /// How many entries are as declared, of how many: `7/8`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 20))]
    pub ready_entries: Option<String>,
}

/// How far the server is with an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum EntryState {
    /// Not reported on yet.
    Pending,
    /// As declared.
    Ready,
    /// It cannot be made; the message says why.
    Failed,
    /// The entry was removed, the object stays.
    Orphaned,
    /// The entry was removed, the object is disabled.
    Disabled,
}

/// What became of an entry.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct EntryStatus {
    /// `key`, `client` or `user`.
    #[schemars(length(max = 16))]
    pub kind: String,
    /// The entry's name.
    #[schemars(length(max = 100))]
    pub name: String,
    /// How far it is.
    pub state: EntryState,
    /// The object's id in the server.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub id: Option<String>,
    /// Why, and how to mend it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(length(max = 1024))]
    pub message: String,
}
