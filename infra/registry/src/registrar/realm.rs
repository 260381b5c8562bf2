//! What a realm has above its tenants: the deployment, the products' logins and schemas, and what was used.

use keyrealm_base::DeploymentId;
use keyrealm_crypto::password::ScramVerifier;
use keyrealm_crypto::{SecretBytes, sha256_hex};
use keyrealm_store::{ControlTx, Product, Space, StoreError};

use super::{Registrar, RegistryError};
use crate::tables::{MIGRATIONS, logins, meta, rights};
use crate::{Meta, Used};

impl Registrar {
    /// Makes the control schema and mints the deployment's id, unless both are there. A process that is no registrar reads
    /// them. A database of another realm is not touched.
    ///
    /// # Errors
    /// When the database fails or belongs to another realm, or the registrar was not here yet.
    pub async fn ensure_deployment(&self, realm_uid: &str) -> Result<Meta, RegistryError> {
        let meta = if self.database.is_registrar() {
            self.mint(realm_uid).await?
        } else {
            read(&mut self.database.control_read().await?).await?
        };
        self.database.bind(meta.deployment_id)?;
        Ok(meta)
    }

    async fn mint(&self, realm_uid: &str) -> Result<Meta, RegistryError> {
        match self.found().await {
            Ok(found) => check_realm(&found, realm_uid)?,
            Err(RegistryError::Store(StoreError::NoRegistrar | StoreError::NotPrepared { .. })) => {}
            Err(error) => return Err(error),
        }
        self.database.migrate(Space::Control, MIGRATIONS).await?;
        let mut tx = self.database.registry().await?;
        // The operator makes the logins later, and gives them their rights then.
        if !self.database.makes_logins() {
            self.database.grant_control(&mut tx, rights).await?;
        }
        let deployment_id = DeploymentId::new(self.clock.as_ref(), self.random.as_ref());
        let own = Meta { deployment_id, realm_uid: realm_uid.to_owned() };
        meta::insert(&mut tx, &own).await?;
        let found = meta::read(&mut tx).await?.unwrap_or(own);
        check_realm(&found, realm_uid)?;
        tx.commit().await?;
        Ok(found)
    }

    /// Under the registrar's login: the product's may have no rights yet.
    async fn found(&self) -> Result<Meta, RegistryError> {
        read(&mut self.database.registry().await?).await
    }

    /// Gives a database that was retained to another realm, which must name its deployment. Before
    /// [`Registrar::ensure_deployment`].
    ///
    /// # Errors
    /// When the database fails or is of another deployment.
    pub async fn adopt(&self, realm_uid: &str, deployment_id: DeploymentId) -> Result<(), RegistryError> {
        let found = self.found().await?;
        if found.deployment_id != deployment_id {
            return Err(RegistryError::OtherDeployment { found: found.deployment_id, wanted: deployment_id });
        }
        if found.realm_uid == realm_uid {
            return Ok(());
        }
        let mut tx = self.database.registry().await?;
        if !meta::adopt(&mut tx, realm_uid, deployment_id).await? {
            return Err(RegistryError::OtherDeployment { found: found.deployment_id, wanted: deployment_id });
        }
        Ok(tx.commit().await?)
    }

    /// Makes the products' logins with these passwords and gives them their rights in the control schema; the answer is their
    /// names. A password is set when it is another one than last time, as a SCRAM verifier: the server never sees it. Before
    /// any schema is made.
    ///
    /// # Errors
    /// When the database fails, a role of this name is not ours, or a password has other than printable ASCII characters.
    pub async fn ensure_logins(
        &self,
        passwords: &[(Product, SecretBytes)],
    ) -> Result<Vec<(Product, String)>, RegistryError> {
        let mut tx = self.database.registry().await?;
        for (product, password) in passwords {
            let hash = sha256_hex(password.expose());
            let known = logins::password_sha256(&mut tx, *product).await?;
            if self.database.has_login(&mut tx, *product).await? && known.as_ref() == Some(&hash) {
                continue;
            }
            let verifier = ScramVerifier::create(password, self.random.as_ref())?;
            self.database.set_login(&mut tx, *product, &verifier).await?;
            logins::put(&mut tx, *product, &hash).await?;
        }
        self.database.grant_control(&mut tx, rights).await?;
        tx.commit().await?;
        self.login_names()
    }

    /// The names of the products' logins.
    ///
    /// # Errors
    /// Before [`Registrar::ensure_deployment`].
    pub fn login_names(&self) -> Result<Vec<(Product, String)>, RegistryError> {
        let mut names = Vec::new();
        for product in Product::ALL {
            names.extend(self.database.login(product)?.map(|name| (product, name)));
        }
        Ok(names)
    }

    /// Makes the products' realm-level schemas with their owners, or gives back what somebody took from them; the answer is
    /// whether there was anything to do. The products make the tables.
    ///
    /// # Errors
    /// When the database fails, or a schema or role of this name is not ours.
    pub async fn ensure_realm_schemas(&self) -> Result<bool, RegistryError> {
        let spaces = Product::ALL.map(Space::Realm);
        if self.database.drift(&mut self.database.control_read().await?, &spaces).await?.is_empty() {
            return Ok(false);
        }
        let mut tx = self.database.registry().await?;
        self.database.ensure_schemas(&mut tx, &spaces).await?;
        tx.commit().await?;
        Ok(true)
    }

    /// What was used so far.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn used(&self) -> Result<Used, RegistryError> {
        Ok(meta::used(&mut self.database.control_read().await?).await?)
    }

    /// Notes what is used from now on, before it is: what is `None` stays as it is.
    ///
    /// # Errors
    /// When the database fails, or another one was used before.
    pub async fn mark_used(&self, used: &Used) -> Result<(), RegistryError> {
        let before = self.used().await?;
        if merge(&before, used)? == before {
            return Ok(());
        }
        let mut tx = self.database.registry().await?;
        let merged = merge(&meta::used(&mut tx).await?, used)?;
        meta::mark_used(&mut tx, &merged).await?;
        Ok(tx.commit().await?)
    }
}

async fn read(tx: &mut ControlTx) -> Result<Meta, RegistryError> {
    let found = match meta::read(tx).await {
        // Somebody has to make the table first.
        Err(StoreError::NotPrepared { .. }) => return Err(StoreError::NoRegistrar.into()),
        found => found?,
    };
    found.ok_or(RegistryError::Store(StoreError::NoRegistrar))
}

pub(super) fn check_realm(found: &Meta, own: &str) -> Result<(), RegistryError> {
    if found.realm_uid == own {
        return Ok(());
    }
    let deployment_id = found.deployment_id;
    Err(RegistryError::OtherRealm { found: found.realm_uid.clone(), own: own.to_owned(), deployment_id })
}

fn merge(before: &Used, now: &Used) -> Result<Used, RegistryError> {
    let one = |what, before: &Option<String>, now: &Option<String>| match (before, now) {
        (Some(found), Some(given)) if found != given => {
            Err(RegistryError::OtherSecret { what, found: found.clone(), given: given.clone() })
        }
        (before, now) => Ok(before.clone().or_else(|| now.clone())),
    };
    Ok(Used {
        root_sha256: one("the root certificate", &before.root_sha256, &now.root_sha256)?,
        kms_unseal: one("the KMS' unseal key", &before.kms_unseal, &now.kms_unseal)?,
        identity_unseal: one("Identity's unseal key", &before.identity_unseal, &now.identity_unseal)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_used_is_kept_and_another_one_is_refused() {
        let with = |root: Option<&str>, kms: Option<&str>| Used {
            root_sha256: root.map(str::to_owned),
            kms_unseal: kms.map(str::to_owned),
            identity_unseal: None,
        };
        assert_eq!(merge(&with(Some("r"), None), &with(None, Some("k"))).unwrap(), with(Some("r"), Some("k")));
        let refused = merge(&with(Some("r"), None), &with(Some("s"), None)).unwrap_err().to_string();
        assert!(refused.contains("root certificate") && refused.contains("known: r, given: s"), "{refused}");
    }
}
