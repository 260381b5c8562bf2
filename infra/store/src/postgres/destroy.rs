//! The end of a realm in its database.

use super::names::quoted;
use super::{Server, Transaction};
use crate::tx::Mode;
use crate::{Product, Space, StoreError};

impl Server {
    /// Drops the realm-level schemas, the control schema and the products' logins, all of it or nothing. Only what carries
    /// our comment; what is gone already is no error. Tenants are dropped before.
    pub(crate) async fn drop_realm(&self) -> Result<(), StoreError> {
        let roles = self.roles()?.clone();
        let mut tx = self.begin(Space::Control, Mode::Registrar).await?;
        for product in Product::ALL {
            let space = Space::Realm(product);
            let owner = roles.owner(space);
            if self.is_ours(&mut tx, "schema", &space.to_string()).await? {
                tx.raw(&format!("SET LOCAL ROLE \"{owner}\"; DROP SCHEMA \"{space}\" CASCADE; SET LOCAL ROLE NONE"))
                    .await?;
            }
            if self.is_ours(&mut tx, "role", &owner).await? {
                self.drop_role(&mut tx, &owner).await?;
            }
        }
        tx.raw("DROP SCHEMA IF EXISTS keyrealm CASCADE").await?;
        for product in Product::ALL {
            let login = self.login(product)?;
            if self.is_ours(&mut tx, "role", &login).await? {
                self.drop_login(&mut tx, &login).await?;
            }
        }
        tx.commit().await.map_err(|error| StoreError::from_sqlx(Space::Control, "the commit", &error))
    }

    /// Who takes a role's rights must be a member of it.
    async fn drop_login(&self, tx: &mut Transaction, login: &str) -> Result<(), StoreError> {
        tx.raw(&format!("GRANT {} TO CURRENT_USER", quoted(login))).await?;
        self.drop_role(tx, login).await
    }
}
