//! The rows of the registry as plain types. They hold hashes and never secrets.

use keyrealm_base::{DeploymentId, InstanceId, TenantId, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// The deployment, one row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Meta {
    /// Minted once; bound into every sealed record.
    pub deployment_id: DeploymentId,
    /// The UID of the Realm that owns this database; empty outside a cluster.
    pub realm_uid: String,
}

/// A tenant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tenant {
    /// Drawn at random by the registrar.
    pub id: TenantId,
    /// The name that people use: a DNS label.
    pub slug: String,
    /// The name that pages show.
    pub display_name: String,
    /// A disabled tenant is not served.
    pub enabled: bool,
    /// The UID of the resource that declares it; empty for one that `--demo` made, or that was retained.
    pub owner: String,
    /// `namespace/name` of the resource that declares it or, once it is retained, that declared it last: from there it may be
    /// adopted. Empty when no resource ever did.
    pub home: String,
    /// The generation of the registry at which this row last changed.
    pub changed: i64,
}

impl Tenant {
    /// Whether its resource went and its data stayed: it waits to be adopted.
    #[must_use]
    pub fn is_retained(&self) -> bool {
        self.owner.is_empty() && !self.enabled
    }

    /// The namespace of [`Tenant::home`].
    #[must_use]
    pub fn home_namespace(&self) -> Option<&str> {
        self.home.split_once('/').map(|(namespace, _)| namespace)
    }
}

/// An object that shall exist in a tenant.
#[derive(Debug, Clone, PartialEq)]
pub struct DesiredEntry {
    /// The tenant.
    pub tenant: TenantId,
    /// `kms` or `identity`.
    pub product: String,
    /// `key`, `client`, `user`.
    pub kind: String,
    /// Unique for tenant, product and kind.
    pub name: String,
    /// What it shall be; the product knows the form.
    pub spec: Value,
    /// See [`spec_hash`].
    pub spec_hash: String,
    /// Rises with each change of the specification.
    pub generation: i64,
    /// When the entry was taken away.
    pub deleted_at: Option<Timestamp>,
    /// What becomes of the object when the entry is taken away.
    pub on_remove: OnRemove,
}

/// A client whose former secret is valid beside its present one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Overlap {
    /// The client's name in its tenant.
    pub client: String,
    /// SHA-256 of the former secret, hex.
    pub former_sha256: String,
    /// When it ends.
    pub until: Timestamp,
}

/// What becomes of an object when nobody declares it any more.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OnRemove {
    /// It stays as it is and belongs to the tenant.
    #[default]
    Orphan,
    /// It stays and does nothing until somebody enables it.
    Disable,
    /// It goes with all that it holds. Not for keys: they have a waiting period of their own.
    Delete,
}

impl OnRemove {
    /// The name in the table.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Orphan => "orphan",
            Self::Disable => "disable",
            Self::Delete => "delete",
        }
    }

    /// The value of this name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::Orphan, Self::Disable, Self::Delete].into_iter().find(|value| value.name() == name)
    }
}

/// How far the product is with an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DesiredStatus {
    /// The object is as declared.
    Ready,
    /// It cannot be made; the message says why.
    Failed,
    /// The entry was taken away and the object left.
    Orphaned,
    /// The entry was taken away and the object disabled.
    Disabled,
    /// The entry was taken away and the object with it.
    Deleted,
}

impl DesiredStatus {
    /// The name in the table.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ready => "ready",
            Self::Failed => "failed",
            Self::Orphaned => "orphaned",
            Self::Disabled => "disabled",
            Self::Deleted => "deleted",
        }
    }

    /// The status of this name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        let all = [Self::Ready, Self::Failed, Self::Orphaned, Self::Disabled, Self::Deleted];
        all.into_iter().find(|status| status.name() == name)
    }
}

/// What a product reports of an entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Observed {
    /// The specification that this is about.
    pub spec_hash: String,
    /// The object's id, once it exists.
    pub object_id: Option<String>,
    /// How far it is.
    pub status: DesiredStatus,
    /// A word for programs.
    pub reason: String,
    /// A sentence for people.
    pub message: String,
}

/// What a product reported of an entry, with the entry's place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObservedEntry {
    /// `kms` or `identity`.
    pub product: String,
    /// `key`, `client`, `user`.
    pub kind: String,
    /// The entry's name.
    pub name: String,
    /// The report.
    pub observed: Observed,
}

/// How far the products are with a tenant's entries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ObservedSummary {
    /// The tenant.
    pub tenant: TenantId,
    /// Entries that are declared.
    pub declared: i64,
    /// Those of them that are as declared.
    pub ready: i64,
    /// Entries, declared or taken away, that failed.
    pub failed: i64,
}

/// What of the irreplaceable Secrets was used: none of them is made anew from then on.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Used {
    /// SHA-256 of the root certificate, hex.
    pub root_sha256: Option<String>,
    /// The check value of the KMS' unseal key.
    pub kms_unseal: Option<String>,
    /// The check value of Identity's unseal key.
    pub identity_unseal: Option<String>,
}

/// Who owns an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ManagedBy {
    /// Declared; changes through the API are refused.
    Resource,
    /// Made through the API.
    Api,
}

impl ManagedBy {
    /// The name in tables and JSON.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Resource => "resource",
            Self::Api => "api",
        }
    }

    /// The owner of this name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::Resource, Self::Api].into_iter().find(|owner| owner.name() == name)
    }
}

/// A running process of a product.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Instance {
    /// Drawn at each start.
    pub id: InstanceId,
    /// `kms` or `identity`.
    pub product: String,
    /// Whether it serves.
    pub ready: bool,
    /// SHA-256 of the chain that it serves.
    pub chain_sha256: String,
    /// SHA-256 of the bundle that it trusts.
    pub bundle_sha256: String,
    /// The version of the tables that it knows.
    pub schema_version: i64,
    /// When it last said so, by its own clock.
    pub heartbeat: Timestamp,
    /// The generation of the registry up to which it has taken everything in.
    pub seen: i64,
}

/// What a revocation names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RevocationKind {
    /// One token.
    Jti,
    /// A log-in session.
    Sid,
    /// A refresh-token family.
    Family,
    /// A user, or a client of its own.
    Sub,
    /// A client.
    Client,
}

impl RevocationKind {
    const ALL: [Self; 5] = [Self::Jti, Self::Sid, Self::Family, Self::Sub, Self::Client];

    /// The name in the table.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Jti => "jti",
            Self::Sid => "sid",
            Self::Family => "family",
            Self::Sub => "sub",
            Self::Client => "client",
        }
    }

    /// The kind of this name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }
}

/// Tokens that are refused until they would have expired anyway.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Revocation {
    /// What is named.
    pub kind: RevocationKind,
    /// Its value.
    pub value: String,
    /// When the last token that it touches has expired.
    pub until: Timestamp,
}

/// A slug that is no DNS label.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("`{0}` is no slug: 1 to 40 lower-case letters, digits and hyphens, with a letter first and no hyphen last")]
pub struct SlugError(String);

/// Checks a tenant's slug.
///
/// # Errors
/// When it is no DNS label of at most 40 characters that begins with a letter.
pub fn check_slug(slug: &str) -> Result<(), SlugError> {
    let legal = slug.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-');
    let first = slug.bytes().next().is_some_and(|byte| byte.is_ascii_lowercase());
    if legal && first && slug.len() <= 40 && !slug.ends_with('-') {
        Ok(())
    } else {
        Err(SlugError(slug.chars().take(64).collect()))
    }
}

/// A hash of a specification that does not depend on the order of its members (serde_json keeps them sorted).
#[must_use]
pub fn spec_hash(spec: &Value, sha256_hex: impl Fn(&[u8]) -> String) -> String {
    sha256_hex(spec.to_string().as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slugs() {
        for good in ["a", "demo-1", &"x".repeat(40)] {
            assert_eq!(check_slug(good), Ok(()));
        }
        for bad in ["", "1a", "-a", "a-", "A", "a_b", "a.b", "ä", &"x".repeat(41)] {
            assert!(check_slug(bad).is_err(), "{bad}");
        }
    }
}
