//! PostgreSQL: a schema for each space with roles of its own, over TLS 1.3 only.

mod connect;
mod listen;
mod migrate;
mod names;
mod provision;
mod transaction;
mod values;

use std::sync::{Arc, OnceLock};

use keyrealm_base::DeploymentId;
use keyrealm_config::{Login, Postgres};
use sqlx::PgPool;
use tokio::sync::broadcast;
use tokio::task::JoinHandle;

pub(crate) use names::Roles;
pub(crate) use transaction::Transaction;

use crate::tx::Mode;
use crate::{Notice, Product, Space, StoreError};

/// The connections of one process.
pub(crate) struct Server {
    pub(crate) pool: PgPool,
    registrar: Option<PgPool>,
    login: String,
    product: Product,
    roles: OnceLock<Roles>,
    lease: Arc<listen::Lease>,
    listener: JoinHandle<()>,
}

impl Server {
    /// `registrar` is the login that creates schemas and roles, unless somebody else (the operator) does that.
    pub(crate) async fn open(
        settings: &Postgres,
        registrar: Option<&Login>,
        product: Product,
        notices: broadcast::Sender<Notice>,
    ) -> Result<Self, StoreError> {
        let pool = connect::product_pool(settings).await?;
        let registrar = match registrar {
            Some(login) => Some(connect::registrar_pool(settings, login).await?),
            None => None,
        };
        let lease = Arc::new(listen::Lease::new(settings.lease_seconds));
        let listener = tokio::spawn(listen::follow(settings.clone(), notices, Arc::clone(&lease)));
        let login = settings.user.clone();
        Ok(Self { pool, registrar, login, product, roles: OnceLock::new(), lease, listener })
    }

    /// From now on the names of roles are known.
    pub(crate) fn bind(&self, deployment: DeploymentId) -> Result<(), StoreError> {
        let roles = Roles::of(deployment);
        match self.roles.get_or_init(|| roles.clone()) {
            bound if *bound == roles => Ok(()),
            _ => Err(StoreError::OtherDeployment),
        }
    }

    pub(crate) fn roles(&self) -> Result<&Roles, StoreError> {
        self.roles.get().ok_or(StoreError::NotBound)
    }

    pub(crate) fn is_registrar(&self) -> bool {
        self.registrar.is_some()
    }

    pub(crate) fn product(&self) -> Product {
        self.product
    }

    /// Whether what was told of changes is still complete.
    pub(crate) fn is_fresh(&self) -> bool {
        self.lease.holds()
    }

    pub(crate) async fn begin(&self, space: Space, mode: Mode) -> Result<Transaction, StoreError> {
        // The registry is written by whoever creates tenants, where that is this process.
        let pool = match (&self.registrar, mode) {
            (Some(registrar), Mode::Registrar) => registrar,
            (None, Mode::Registrar) => return Err(StoreError::NoRegistrar),
            _ => &self.pool,
        };
        Transaction::begin(pool, self.roles.get(), space, mode).await
    }

    pub(crate) async fn close(&self) {
        self.listener.abort();
        self.pool.close().await;
        if let Some(registrar) = &self.registrar {
            registrar.close().await;
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.listener.abort();
    }
}
