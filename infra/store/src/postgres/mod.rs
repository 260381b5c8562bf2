//! PostgreSQL: a schema for each space with roles of its own, over TLS 1.3 only.

mod archive;
mod connect;
mod destroy;
mod drift;
mod listen;
mod logins;
mod migrate;
mod names;
mod pool;
mod provision;
mod transaction;
mod values;

use std::sync::{Arc, OnceLock};

use keyrealm_base::DeploymentId;
use keyrealm_config::{Login, Postgres};
use tokio::sync::broadcast;
use tokio::task::JoinHandle;

use connect::Access;
pub(crate) use names::Roles;
use pool::Pool;
pub(crate) use transaction::Transaction;

use crate::tx::Mode;
use crate::{Notice, Product, RegistrarAccess, Space, StoreError};

/// Creating tenants is rare; one waits for the other.
const REGISTRAR_CONNECTIONS: u32 = 2;
/// A process that is nothing but registrar reads, too.
const OPERATOR_CONNECTIONS: u32 = 4;
/// How long the operator believes what it has heard, in seconds.
const OPERATOR_LEASE: u32 = 10;

/// The connections of one process.
pub(crate) struct Server {
    pool: Arc<Pool>,
    registrar: Option<Arc<Pool>>,
    side: Side,
    roles: OnceLock<Roles>,
    lease: Arc<listen::Lease>,
    listener: JoinHandle<()>,
}

/// Whose process it is, and so which logins get rights.
enum Side {
    /// A product's, under its own login.
    Product(Product, String),
    /// The operator's: the products' logins are made by it.
    Registrar,
}

impl Server {
    /// `registrar` is the login that creates schemas and roles, unless somebody else (the operator) does that.
    pub(crate) async fn open(
        settings: &Postgres,
        registrar: Option<&Login>,
        product: Product,
        notices: broadcast::Sender<Notice>,
    ) -> Result<Self, StoreError> {
        let access = Access::product(settings);
        connect::check_product(&access).await?;
        let pool = Pool::new(access.clone(), settings.connections)?;
        let registrar = match registrar {
            Some(login) => {
                let access = Access::Files(Arc::new(settings.clone()), login.clone());
                connect::check_registrar(&access).await?;
                Some(Pool::new(access, REGISTRAR_CONNECTIONS)?)
            }
            None => None,
        };
        let side = Side::Product(product, settings.user.clone());
        Ok(Self::start(pool, registrar, side, access, settings.lease_seconds, notices))
    }

    /// With the registrar's login alone.
    pub(crate) async fn open_registrar(
        access: RegistrarAccess,
        notices: broadcast::Sender<Notice>,
    ) -> Result<Self, StoreError> {
        let access = Access::Memory(Arc::new(access));
        connect::check_registrar(&access).await?;
        let pool = Pool::new(access.clone(), OPERATOR_CONNECTIONS)?;
        Ok(Self::start(Arc::clone(&pool), Some(pool), Side::Registrar, access, OPERATOR_LEASE, notices))
    }

    fn start(
        pool: Arc<Pool>,
        registrar: Option<Arc<Pool>>,
        side: Side,
        access: Access,
        lease_seconds: u32,
        notices: broadcast::Sender<Notice>,
    ) -> Self {
        let lease = Arc::new(listen::Lease::new(lease_seconds));
        let pools = std::iter::once(&pool).chain(&registrar).cloned().collect();
        let listener = tokio::spawn(listen::follow(access, pools, notices, Arc::clone(&lease)));
        Self { pool, registrar, side, roles: OnceLock::new(), lease, listener }
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

    pub(crate) fn makes_logins(&self) -> bool {
        matches!(self.side, Side::Registrar)
    }

    /// The products whose logins get their rights from this process.
    pub(crate) fn products(&self) -> Vec<Product> {
        match &self.side {
            Side::Product(product, _) => vec![*product],
            Side::Registrar => Product::ALL.to_vec(),
        }
    }

    /// The login of a product.
    pub(crate) fn login(&self, product: Product) -> Result<String, StoreError> {
        match &self.side {
            Side::Product(_, own) => Ok(own.clone()),
            Side::Registrar => Ok(self.roles()?.login(product)),
        }
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
        let (own, roles) = (pool.get(), self.roles.get());
        match Transaction::begin((pool, &own), roles, space, mode).await {
            // Its connections were given up while this one waited for one of them, or that one was wrong and has ended.
            Err(error) if own.is_closed() || matches!(error, StoreError::Denied { .. }) => {
                Transaction::begin((pool, &pool.get()), roles, space, mode).await
            }
            begun => begun,
        }
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
