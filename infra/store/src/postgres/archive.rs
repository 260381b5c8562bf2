//! Moving a tenant's schema aside, out of every login's reach, and dropping it later.

use super::names::quoted;
use super::{Server, Transaction};
use crate::{Product, Space, StoreError};
use keyrealm_base::TenantId;

impl Server {
    /// Renames the schema and its owner, drops the role that read and wrote it, and takes the owner from everybody but the
    /// registrar. `moment` is 14 digits. The answer is the new name, or `None` where there is no schema.
    pub(crate) async fn archive(
        &self,
        tx: &mut Transaction,
        product: Product,
        tenant: TenantId,
        moment: &str,
    ) -> Result<Option<String>, StoreError> {
        let space = Space::Tenant(product, tenant);
        if moment.len() != 14 || !moment.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(StoreError::Column("moment"));
        }
        let roles = self.roles()?;
        let user = roles.user(space);
        let (there, has_user) =
            (self.is_ours(tx, "schema", &space.to_string()).await?, self.is_ours(tx, "role", &user).await?);
        if there && has_user {
            // Only the owner can take what it gave.
            tx.raw(&format!(
                "SET LOCAL ROLE \"{}\"; REVOKE ALL ON ALL TABLES IN SCHEMA \"{space}\" FROM \"{user}\"; \
                 REVOKE ALL ON SCHEMA \"{space}\" FROM \"{user}\"; \
                 ALTER DEFAULT PRIVILEGES IN SCHEMA \"{space}\" REVOKE ALL ON TABLES FROM \"{user}\"; SET LOCAL ROLE NONE",
                roles.owner(space)
            ))
            .await?;
        }
        if has_user {
            self.drop_role(tx, &user).await?;
        }
        let moved = if there {
            let name = format!("zz_{space}_{moment}");
            let (owner, aside) = (roles.owner(space), roles.archive_owner(product, tenant, moment));
            let members = tx.names(
                "SELECT m.member::regrole::text FROM pg_catalog.pg_auth_members m \
                 JOIN pg_catalog.pg_roles r ON r.oid = m.roleid WHERE r.rolname = $1 AND m.member <> \
                 (SELECT oid FROM pg_catalog.pg_roles WHERE rolname = current_user)",
                &owner,
            );
            let mut statements = vec![format!("ALTER SCHEMA \"{space}\" RENAME TO \"{name}\"")];
            // `regrole` quotes what has to be.
            statements.extend(members.await?.iter().map(|member| format!("REVOKE \"{owner}\" FROM {member}")));
            statements.push(format!("ALTER ROLE \"{owner}\" RENAME TO \"{aside}\""));
            tx.raw(&statements.join("; ")).await?;
            Some(name)
        } else {
            None
        };
        self.forget(tx, product, tenant).await?;
        Ok(moved)
    }

    /// Drops a schema that was moved aside, with its owner. Only what carries our comment; what is gone is no error.
    pub(crate) async fn drop_archive(&self, tx: &mut Transaction, name: &str) -> Result<(), StoreError> {
        if !self.is_ours(tx, "schema", name).await? {
            return Ok(());
        }
        let owner = tx
            .scalar(
                "SELECT r.rolname::text FROM pg_catalog.pg_namespace n JOIN pg_catalog.pg_roles r ON r.oid = n.nspowner \
                 WHERE n.nspname = $1",
                name,
            )
            .await?
            .unwrap_or_default();
        let (schema, role) = (quoted(name), quoted(&owner));
        tx.raw(&format!("SET LOCAL ROLE {role}; DROP SCHEMA {schema} CASCADE; SET LOCAL ROLE NONE")).await?;
        if self.is_ours(tx, "role", &owner).await? {
            self.drop_role(tx, &owner).await?;
        }
        Ok(())
    }

    /// Takes a role's rights and the role.
    pub(super) async fn drop_role(&self, tx: &mut Transaction, role: &str) -> Result<(), StoreError> {
        tx.raw(&format!(
            "SET LOCAL ROLE \"{role}\"; DROP OWNED BY \"{role}\"; SET LOCAL ROLE NONE; DROP ROLE \"{role}\""
        ))
        .await
    }

    /// Takes out what the store knows of a tenant's schema.
    pub(super) async fn forget(
        &self,
        tx: &mut Transaction,
        product: Product,
        tenant: TenantId,
    ) -> Result<(), StoreError> {
        let space = Space::Tenant(product, tenant);
        tx.raw(&format!(
            "DELETE FROM keyrealm.schema_versions WHERE space = '{space}'; \
             DELETE FROM keyrealm.epochs WHERE product = '{product}' AND tenant = '{tenant}'"
        ))
        .await
    }
}
