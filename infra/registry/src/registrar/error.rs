//! Why the registrar did nothing.

use keyrealm_base::{DeploymentId, TenantId};
use keyrealm_crypto::password::ScramPasswordError;
use keyrealm_store::{Passing, StoreError};

use crate::SlugError;

/// Why the registrar did nothing. What is refused has touched nothing.
#[derive(Debug, thiserror::Error)]
pub enum RegistryError {
    /// The slug is none.
    #[error(transparent)]
    Slug(#[from] SlugError),
    /// The database belongs to another realm.
    #[error(
        "this database (deployment {deployment_id}) belongs to the realm with UID `{found}`, not to `{own}`: one realm has \
         one database; a retained database is taken over by naming its deployment"
    )]
    OtherRealm {
        /// The UID in `meta`.
        found: String,
        /// The UID of this realm.
        own: String,
        /// Whose data it is.
        deployment_id: DeploymentId,
    },
    /// The database that shall be adopted is another one.
    #[error("this database is of the deployment {found}, not of {wanted}")]
    OtherDeployment {
        /// The deployment in `meta`.
        found: DeploymentId,
        /// The one that was named.
        wanted: DeploymentId,
    },
    /// A Secret that was used before has other content now.
    #[error(
        "{what} is not the one that this realm was set up with (known: {found}, given: {given}); restore the first one"
    )]
    OtherSecret {
        /// Which.
        what: &'static str,
        /// The hash or check value that was noted.
        found: String,
        /// The one that was given.
        given: String,
    },
    /// A password is none.
    #[error(transparent)]
    Password(#[from] ScramPasswordError),
    /// A tenant that is declared has an owner.
    #[error("the owner of tenant `{0}` is empty")]
    NoOwner(String),
    /// Another resource has a tenant of this slug. Id and owner are not for whoever asked for the slug.
    #[error("the slug `{slug}` belongs to a tenant of another owner; choose another slug")]
    SlugTaken {
        /// The slug.
        slug: String,
        /// The tenant that has it.
        id: TenantId,
        /// Whose it is; empty for one that no resource declares.
        owner: String,
    },
    /// Another tenant has this id.
    #[error("the id {id} belongs to the tenant `{slug}`; choose another one, or leave it out")]
    IdTaken {
        /// The id.
        id: TenantId,
        /// The tenant that has it.
        slug: String,
    },
    /// There is a tenant of this slug whose resource was deleted. Its id is not for whoever asked for the slug.
    #[error("there is a retained tenant `{slug}`; adopt it, or choose another slug")]
    Retained {
        /// The slug.
        slug: String,
        /// Its id.
        id: TenantId,
    },
    /// The owner has a tenant already.
    #[error("this owner has the tenant `{slug}` ({id}) already; slug and id of a tenant do not change")]
    OwnerHasTenant {
        /// Its slug.
        slug: String,
        /// Its id.
        id: TenantId,
    },
    /// There is a schema of this id without a tenant.
    #[error("there is a schema of the tenant {0} already, but no such tenant; choose another id")]
    Leftover(TenantId),
    /// The tenant is somebody else's.
    #[error("the tenant {id} is not of the owner `{owner}`")]
    NotOwner {
        /// The tenant.
        id: TenantId,
        /// Who asked.
        owner: String,
    },
    /// There is no such tenant.
    #[error("there is no tenant {0}")]
    NoTenant(TenantId),
    /// A tenant that is served is not destroyed.
    #[error("the tenant {0} is still enabled; disable it first")]
    StillEnabled(TenantId),
    /// Keys have a waiting period.
    #[error("key `{0}`: removing an entry orphans or disables its key; a key is deleted through the API")]
    KeyDelete(String),
    /// The database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Passing for RegistryError {
    fn is_passing(&self) -> bool {
        matches!(self, Self::Store(error) if error.is_passing())
    }
}
