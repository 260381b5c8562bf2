//! Making tenants, and keeping their schemas as they shall be.

use keyrealm_base::TenantId;
use keyrealm_store::{ControlTx, Product, Space};

use super::{Registrar, RegistryError, change};
use crate::tables::tenants;
use crate::{Tenant, check_slug};

/// A tenant to be made for a resource.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewTenant {
    /// The name that people use.
    pub slug: String,
    /// The name that pages show.
    pub display_name: String,
    /// Drawn at random where it is not given.
    pub id: Option<TenantId>,
    /// The UID of the resource.
    pub owner: String,
    /// `namespace/name` of the resource.
    pub home: String,
}

/// A tenant that is there now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Created {
    /// The tenant.
    pub tenant: Tenant,
    /// Whether it was made just now.
    pub is_new: bool,
}

/// The schemas of a tenant.
pub(super) fn spaces(tenant: TenantId) -> [Space; 2] {
    Product::ALL.map(|product| Space::Tenant(product, tenant))
}

impl Registrar {
    /// The tenant of this resource: found, or made with its schemas, all of it or nothing. An existing one is left as it is.
    ///
    /// # Errors
    /// When the slug is none, slug or id are another one's, a retained tenant waits to be adopted, or the database fails.
    pub async fn create_tenant(&self, new: &NewTenant) -> Result<Created, RegistryError> {
        check_slug(&new.slug)?;
        if new.owner.is_empty() {
            return Err(RegistryError::NoOwner(new.slug.clone()));
        }
        if let Some(tenant) = find(&mut self.database.control_read().await?, new).await? {
            return Ok(Created { tenant, is_new: false });
        }
        let mut tx = self.database.registry().await?;
        // Somebody may have been faster.
        if let Some(tenant) = find(&mut tx, new).await? {
            return Ok(Created { tenant, is_new: false });
        }
        let tenant = self.insert(&mut tx, new).await?;
        if self.database.makes_logins() {
            let spaces = spaces(tenant.id);
            // Only an id that was given can have one.
            if self.database.ensure_schemas(&mut tx, &spaces).await? != spaces {
                return Err(RegistryError::Leftover(tenant.id));
            }
        }
        tx.commit().await?;
        Ok(Created { tenant, is_new: true })
    }

    /// The tenant of this slug, whoever owns it. Who inserts first draws the id, everybody else reads it.
    ///
    /// # Errors
    /// When the slug is none or the database fails.
    pub async fn ensure_tenant(&self, slug: &str, display_name: &str) -> Result<Tenant, RegistryError> {
        check_slug(slug)?;
        let mut tx = self.database.registry().await?;
        if let Some(found) = tenants::by_slug(&mut tx, slug).await? {
            return Ok(found);
        }
        let (slug, display_name) = (slug.to_owned(), display_name.to_owned());
        let (owner, home) = (String::new(), String::new());
        let tenant = self.insert(&mut tx, &NewTenant { slug, display_name, id: None, owner, home }).await?;
        tx.commit().await?;
        Ok(tenant)
    }

    async fn insert(&self, tx: &mut ControlTx, new: &NewTenant) -> Result<Tenant, RegistryError> {
        let tenant = Tenant {
            id: new.id.unwrap_or_else(|| TenantId::new(self.random.as_ref())),
            slug: new.slug.clone(),
            display_name: new.display_name.clone(),
            enabled: true,
            owner: new.owner.clone(),
            home: new.home.clone(),
            changed: change(tx, &Product::ALL).await?,
        };
        tenants::insert(tx, &tenant, self.clock.now()).await?;
        Ok(tenant)
    }

    /// Makes the tenant's schemas and roles, or gives back what somebody took from them; the answer is whether there was
    /// anything to do. The products make the tables.
    ///
    /// # Errors
    /// When the database fails, a schema or role of this name is not ours, or a schema that had tables is gone.
    pub async fn ensure_tenant_schemas(&self, tenant: TenantId) -> Result<bool, RegistryError> {
        let spaces = spaces(tenant);
        if self.database.drift(&mut self.database.control_read().await?, &spaces).await?.is_empty() {
            return Ok(false);
        }
        let mut tx = self.database.registry().await?;
        let changed = !self.database.ensure_schemas(&mut tx, &spaces).await?.is_empty();
        if changed {
            change(&mut tx, &Product::ALL).await?;
            tx.commit().await?;
        }
        Ok(changed)
    }

    /// Changes the name that pages show; the answer is whether it was another one.
    ///
    /// # Errors
    /// When the tenant is not this owner's or the database fails.
    pub async fn set_display_name(&self, id: TenantId, owner: &str, name: &str) -> Result<bool, RegistryError> {
        let current = owned(&mut self.database.control_read().await?, id, owner).await?;
        if current.display_name == name {
            return Ok(false);
        }
        let mut tx = self.database.registry().await?;
        let mut tenant = owned(&mut tx, id, owner).await?;
        name.clone_into(&mut tenant.display_name);
        tenant.changed = change(&mut tx, &[Product::Identity]).await?;
        tenants::update(&mut tx, &tenant).await?;
        tx.commit().await?;
        Ok(true)
    }
}

/// The tenant, if it is this owner's.
pub(super) async fn owned(tx: &mut ControlTx, id: TenantId, owner: &str) -> Result<Tenant, RegistryError> {
    match tenants::by_id(tx, id).await? {
        None => Err(RegistryError::NoTenant(id)),
        Some(tenant) if tenant.owner == owner => Ok(tenant),
        Some(_) => Err(RegistryError::NotOwner { id, owner: owner.to_owned() }),
    }
}

async fn find(tx: &mut ControlTx, new: &NewTenant) -> Result<Option<Tenant>, RegistryError> {
    let own = tenants::by_owner(tx, &new.owner).await?;
    let of_slug = tenants::by_slug(tx, &new.slug).await?;
    let of_id = match new.id {
        Some(id) => tenants::by_id(tx, id).await?,
        None => None,
    };
    decide(new, own, of_slug, of_id)
}

/// Whether there is the tenant already; or why it cannot be made.
fn decide(
    new: &NewTenant,
    own: Option<Tenant>,
    of_slug: Option<Tenant>,
    of_id: Option<Tenant>,
) -> Result<Option<Tenant>, RegistryError> {
    if let Some(own) = own {
        if own.slug == new.slug && new.id.is_none_or(|id| id == own.id) {
            return Ok(Some(own));
        }
        return Err(RegistryError::OwnerHasTenant { slug: own.slug, id: own.id });
    }
    match of_slug {
        Some(other) if other.is_retained() => return Err(RegistryError::Retained { slug: other.slug, id: other.id }),
        Some(other) => {
            return Err(RegistryError::SlugTaken { slug: other.slug, id: other.id, owner: other.owner });
        }
        None => {}
    }
    match of_id {
        Some(other) => Err(RegistryError::IdTaken { id: other.id, slug: other.slug }),
        None => Ok(None),
    }
}
