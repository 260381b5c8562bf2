//! Names that stand in objects: labels, annotations, finalizers, field managers.

/// The group of the resources.
pub const GROUP: &str = "keyrealm.dev";
/// The version of the resources.
pub const VERSION: &str = "v1alpha1";

/// Keeps a Realm until its database is left as its policy says.
pub const FINALIZER: &str = "keyrealm.dev/cleanup";

/// Value of [`MANAGED_BY`] on everything that the operator makes.
pub const OPERATOR: &str = "keyrealm-operator";
/// The label by which the operator's watches select.
pub const MANAGED_BY: &str = "app.kubernetes.io/managed-by";
/// The label that names the Realm of a child.
pub const REALM_LABEL: &str = "keyrealm.dev/realm";
/// The label that names the Tenant of a child.
pub const TENANT_LABEL: &str = "keyrealm.dev/tenant";
/// The label that names the DemoEnvironment of a child.
pub const DEMO_LABEL: &str = "keyrealm.dev/demo-environment";
/// The UID of the resource for which an object without ownerReference was made.
pub const OWNER_UID: &str = "keyrealm.dev/owner-uid";
/// The hash of what was applied to a child.
pub const APPLIED_HASH: &str = "keyrealm.dev/applied-hash";
/// Set by people on a Realm (value: deployment id) or a Tenant (value: tenant id): takes what an earlier one left.
pub const ADOPT: &str = "keyrealm.dev/adopt";
/// Set by people on a client's Secret: a new value makes a new secret; the old one is valid until the overlap ends.
pub const ROTATE: &str = "keyrealm.dev/rotate";
