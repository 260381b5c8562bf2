//! The end of a realm: everything that it has in its database.

use keyrealm_base::Timestamp;

use super::{Registrar, RegistryError};
use crate::tables::{meta, tenants};

impl Registrar {
    /// Destroys all tenants, archives, the realm-level schemas, the control schema and the products' logins. The products must
    /// have ended. It can be repeated, and goes on where it was ended.
    ///
    /// # Errors
    /// When the database is another realm's, something of these names is not ours, or the database fails.
    pub async fn destroy_realm(&self, realm_uid: &str) -> Result<(), RegistryError> {
        let (own, all) = {
            let mut tx = self.database.control_read().await?;
            (meta::read(&mut tx).await?, tenants::list(&mut tx).await?)
        };
        let Some(own) = own else { return Ok(()) };
        super::realm::check_realm(&own, realm_uid)?;
        for tenant in all {
            if tenant.enabled {
                self.disable_tenant(tenant.id, &tenant.owner).await?;
            }
            self.destroy_and_drop(tenant.id, &tenant.owner).await?;
        }
        self.purge_archives(Timestamp::from_millis(i64::MAX)).await?;
        Ok(self.database.drop_realm().await?)
    }
}
