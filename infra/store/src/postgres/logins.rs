//! The products' logins: made by the registrar, with passwords that the server never sees.

use keyrealm_crypto::password::ScramVerifier;

use super::names::quoted;
use super::provision::alter_role;
use super::{Server, Transaction};
use crate::{Product, StoreError};

impl Server {
    /// Whether the product's login is there.
    pub(crate) async fn has_login(&self, tx: &mut Transaction, product: Product) -> Result<bool, StoreError> {
        self.is_ours(tx, "role", &self.login(product)?).await
    }

    /// Makes the product's login, or gives it another password. It can do nothing until it takes a tenant's role.
    pub(crate) async fn set_login(
        &self,
        tx: &mut Transaction,
        product: Product,
        password: &ScramVerifier,
    ) -> Result<(), StoreError> {
        let login = self.login(product)?;
        let (statement, comment) = if self.has_login(tx, product).await? {
            (alter_role(tx, &login).await?, String::new())
        } else {
            (format!("CREATE ROLE \"{login}\""), format!("; COMMENT ON ROLE \"{login}\" IS '{}'", self.roles()?.marker))
        };
        tx.raw(&format!("{statement} LOGIN NOINHERIT NOCREATEROLE PASSWORD '{password}'{comment}")).await
    }

    /// Lets the logins read and write these tables of the control schema, and no other. Writes nothing when they can.
    pub(crate) async fn grant_control(
        &self,
        tx: &mut Transaction,
        rights: &(dyn Fn(Product) -> Vec<(&'static str, &'static str)> + Sync),
    ) -> Result<(), StoreError> {
        for product in self.products() {
            let name = self.login(product)?;
            let login = quoted(&name);
            let mut statements = Vec::new();
            let may = "SELECT has_schema_privilege($1, 'keyrealm', 'USAGE')::text";
            if tx.scalar(may, &name).await?.as_deref() != Some("true") {
                statements.push(format!("GRANT USAGE ON SCHEMA keyrealm TO {login}"));
            }
            let store = ["epochs", "schema_versions"].map(|table| (table, "SELECT, INSERT, UPDATE"));
            for (table, wanted) in store.into_iter().chain(rights(product)) {
                if held(tx, &name, table).await? != wanted {
                    let table = quoted(table);
                    statements.push(format!("REVOKE ALL ON keyrealm.{table} FROM {login}"));
                    statements.push(format!("GRANT {wanted} ON keyrealm.{table} TO {login}"));
                }
            }
            if !statements.is_empty() {
                tx.raw(&statements.join("; ")).await?;
            }
        }
        Ok(())
    }
}

/// The rights that a login was given on a table, in the order of the statement that gives them.
async fn held(tx: &mut Transaction, login: &str, table: &str) -> Result<String, StoreError> {
    let query = format!(
        "SELECT string_agg(a.privilege_type, ', ' ORDER BY array_position(ARRAY['SELECT', 'INSERT', 'UPDATE', 'DELETE'], \
         a.privilege_type)) FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace, \
         aclexplode(c.relacl) a JOIN pg_catalog.pg_roles r ON r.oid = a.grantee \
         WHERE n.nspname = 'keyrealm' AND c.relname = '{table}' AND r.rolname = $1"
    );
    Ok(tx.scalar(&query, login).await?.unwrap_or_default())
}
