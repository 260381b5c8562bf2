//! The contract between whoever declares tenants (the operator, `--demo`) and the products that serve them: plain types,
//! their tables and the registrar. Without the feature `store` the types alone.

pub mod seed;
pub mod specs;
mod types;

#[cfg(feature = "store")]
mod demo;
#[cfg(feature = "store")]
mod presence;
#[cfg(feature = "store")]
mod registrar;
#[cfg(feature = "store")]
mod tables;

pub use types::{
    DesiredEntry, DesiredStatus, Instance, ManagedBy, Meta, Observed, ObservedEntry, ObservedSummary, OnRemove,
    Overlap, Revocation, RevocationKind, SlugError, Tenant, Used, check_slug, spec_hash,
};

#[cfg(feature = "store")]
pub use presence::{Condition, Presence, Seen, Vitals};
#[cfg(feature = "store")]
pub use registrar::{Created, Declared, NewTenant, Registrar, RegistryError, Versions, all_seen};
#[cfg(feature = "store")]
pub use tables::{MIGRATIONS, archives, desired, instances, meta, observed, overlaps, revocations, tenants};
