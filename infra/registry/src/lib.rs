//! The contract between whoever declares tenants (the operator, `--demo`) and the products that serve them: plain types,
//! their tables and the registrar. Without the feature `store` the types alone.

pub mod seed;
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
    DesiredEntry, DesiredStatus, Instance, ManagedBy, Meta, Observed, Revocation, RevocationKind, SlugError, Tenant,
    check_slug, spec_hash,
};

#[cfg(feature = "store")]
pub use presence::{Condition, Presence, Vitals};
#[cfg(feature = "store")]
pub use registrar::{Registrar, RegistryError};
#[cfg(feature = "store")]
pub use tables::{MIGRATIONS, desired, instances, meta, observed, revocations, tenants};
