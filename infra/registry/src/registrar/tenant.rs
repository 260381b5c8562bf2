//! Making tenants, and keeping their schemas as they shall be.

use keyrealm_base::TenantId;
use keyrealm_store::{ControlTx, Product, Space, StoreError};

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
        let created = self.create_tenants(std::slice::from_ref(new)).await?;
        created.into_iter().next().ok_or(RegistryError::Store(StoreError::Column("id")))
    }

    /// As [`Registrar::create_tenant`] for many, in the same order: all of them or none. Each change of a role's members has
    /// every connection look up all that it may take once more, so that many at once cost little more than one.
    ///
    /// # Errors
    /// As [`Registrar::create_tenant`], whichever of them it is.
    pub async fn create_tenants(&self, new: &[NewTenant]) -> Result<Vec<Created>, RegistryError> {
        for one in new {
            check_slug(&one.slug)?;
            if one.owner.is_empty() {
                return Err(RegistryError::NoOwner(one.slug.clone()));
            }
        }
        let found = find_all(&mut self.database.control_read().await?, new).await?;
        if let Some(found) = found.into_iter().collect() {
            return Ok(found);
        }
        let mut tx = self.database.registry().await?;
        let (mut created, mut made) = (Vec::new(), Vec::new());
        let changed = change(&mut tx, &Product::ALL).await?;
        for one in new {
            // Somebody may have been faster.
            if let Some(found) = find(&mut tx, one).await? {
                created.push(found);
                continue;
            }
            let tenant = self.insert(&mut tx, one, changed).await?;
            made.extend(spaces(tenant.id));
            created.push(Created { tenant, is_new: true });
        }
        if made.is_empty() {
            return Ok(created);
        }
        if self.database.makes_logins() {
            let new = self.database.ensure_schemas(&mut tx, &made).await?;
            // Only an id that was given can have one.
            if let Some(Space::Tenant(_, id)) = made.iter().find(|space| !new.contains(space)) {
                return Err(RegistryError::Leftover(*id));
            }
        }
        tx.commit().await?;
        Ok(created)
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
        let changed = change(&mut tx, &Product::ALL).await?;
        let tenant = self.insert(&mut tx, &NewTenant { slug, display_name, id: None, owner, home }, changed).await?;
        tx.commit().await?;
        Ok(tenant)
    }

    async fn insert(&self, tx: &mut ControlTx, new: &NewTenant, changed: i64) -> Result<Tenant, RegistryError> {
        let tenant = Tenant {
            id: new.id.unwrap_or_else(|| TenantId::new(self.random.as_ref())),
            slug: new.slug.clone(),
            display_name: new.display_name.clone(),
            enabled: true,
            owner: new.owner.clone(),
            home: new.home.clone(),
            changed,
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

async fn find_all(tx: &mut ControlTx, new: &[NewTenant]) -> Result<Vec<Option<Created>>, RegistryError> {
    let mut found = Vec::with_capacity(new.len());
    for one in new {
        found.push(find(tx, one).await?);
    }
    Ok(found)
}

async fn find(tx: &mut ControlTx, new: &NewTenant) -> Result<Option<Created>, RegistryError> {
    let own = tenants::by_owner(tx, &new.owner).await?;
    let of_slug = tenants::by_slug(tx, &new.slug).await?;
    let of_id = match new.id {
        Some(id) => tenants::by_id(tx, id).await?,
        None => None,
    };
    let found = decide(new, own, of_slug, of_id)?;
    Ok(found.map(|tenant| Created { tenant, is_new: false }))
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
