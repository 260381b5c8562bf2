//! The three listeners of a product: `public` asks for no certificate, `mtls` demands one, `admin` takes one if shown.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::routing::get;
use keyrealm_tls::{ClientAuth, ReloadingIdentity, TlsError, TrustBundle, server_config};
use tokio::net::TcpListener;

use crate::{Health, Limits, Listener, Serving, Standard, health_router, problem_docs, standard};

/// Bound sockets: their addresses are known before the server starts.
pub struct Sockets {
    public: TcpListener,
    mtls: TcpListener,
    admin: TcpListener,
}

/// Where the sockets are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Addresses {
    /// For everybody.
    pub public: SocketAddr,
    /// For callers with a certificate.
    pub mtls: SocketAddr,
    /// For probes and operators.
    pub admin: SocketAddr,
}

/// An address that cannot be bound.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address} (server.{listener}.address): {reason}")]
pub struct BindError {
    listener: &'static str,
    address: String,
    reason: std::io::Error,
}

impl Sockets {
    /// Binds the three addresses.
    ///
    /// # Errors
    /// Naming the address and its setting.
    pub async fn bind(public: &str, mtls: &str, admin: &str) -> Result<Self, BindError> {
        Ok(Self {
            public: bind("public", public).await?,
            mtls: bind("mtls", mtls).await?,
            admin: bind("admin", admin).await?,
        })
    }

    /// Where they are.
    ///
    /// # Errors
    /// When the system does not say.
    pub fn addresses(&self) -> Result<Addresses, std::io::Error> {
        Ok(Addresses {
            public: self.public.local_addr()?,
            mtls: self.mtls.local_addr()?,
            admin: self.admin.local_addr()?,
        })
    }

    /// Serves a router on each.
    ///
    /// # Errors
    /// When rustls refuses the material.
    pub fn serve(
        self,
        identity: &Arc<ReloadingIdentity>,
        trust: &TrustBundle,
        routers: Routers,
        limits: Limits,
    ) -> Result<Serving, TlsError> {
        let listener = |name, socket, clients: ClientAuth<'_>, router| {
            Ok::<_, TlsError>(Listener { name, socket, tls: server_config(identity, &clients)?, router })
        };
        let listeners = vec![
            listener("public", self.public, ClientAuth::None, routers.public)?,
            listener("mtls", self.mtls, ClientAuth::Required(trust), routers.mtls)?,
            listener("admin", self.admin, ClientAuth::Optional(trust), routers.admin)?,
        ];
        Ok(Serving::start(listeners, limits))
    }
}

/// What each listener serves.
pub struct Routers {
    /// For everybody.
    pub public: Router,
    /// For callers with a certificate.
    pub mtls: Router,
    /// Probes and what operators need.
    pub admin: Router,
}

/// Handlers that are ready to be served. Nothing can be added to them any more.
pub struct Api(Router);

impl Api {
    /// Handlers that check their callers themselves. `ProtectedRouter` of keyrealm-auth makes one whose handlers need not.
    #[must_use]
    pub fn open(handlers: Router) -> Self {
        Self(handlers)
    }
}

impl Routers {
    /// The API on public (with the documentation of problems and the OpenAPI document) and mtls, the probes on admin.
    #[must_use]
    pub fn new(Api(api): Api, document: String, health: Health, shell: Standard) -> Self {
        let document = get(async move || ([("content-type", "application/json")], document.clone()));
        let public = api.clone().merge(problem_docs()).route("/openapi.json", document);
        Self {
            public: standard(public, shell.clone()),
            mtls: standard(api, shell.clone()),
            admin: health_router(health, shell),
        }
    }
}

async fn bind(listener: &'static str, address: &str) -> Result<TcpListener, BindError> {
    TcpListener::bind(address).await.map_err(|reason| BindError { listener, address: address.to_owned(), reason })
}
