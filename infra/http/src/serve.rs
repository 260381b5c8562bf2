//! The accept loop: TLS with a time limit, bounded connections, the peer's certificate for whoever asks, orderly ends.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use rustls::ServerConfig;
use rustls_pki_types::CertificateDer;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::Service;

/// A socket, what it shows in the handshake, and what it serves.
pub struct Listener {
    /// For the log.
    pub name: &'static str,
    /// Bound already.
    pub socket: TcpListener,
    /// From `keyrealm-tls`.
    pub tls: Arc<ServerConfig>,
    /// The routes.
    pub router: Router,
}

/// Bounds of a listener.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// The longest handshake.
    pub handshake: Duration,
    /// The longest wait for the headers of a request.
    pub headers: Duration,
    /// The most connections at a time; more wait in the kernel.
    pub connections: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { handshake: Duration::from_secs(10), headers: Duration::from_secs(10), connections: 4096 }
    }
}

/// Who is at the other end; in the extensions of every request.
#[derive(Debug, Clone)]
pub struct Peer {
    /// The address.
    pub address: SocketAddr,
    /// The verified client certificate and its chain, if one was shown.
    pub certificates: Option<Arc<[CertificateDer<'static>]>>,
}

/// Running listeners.
pub struct Serving {
    stop: CancellationToken,
    tasks: TaskTracker,
}

/// Headers of one request, in bytes.
const MAX_HEADERS: usize = 32 * 1024;
const MAX_STREAMS: u32 = 128;

impl Serving {
    /// Starts to serve.
    #[must_use]
    pub fn start(listeners: Vec<Listener>, limits: Limits) -> Self {
        let (stop, tasks) = (CancellationToken::new(), TaskTracker::new());
        for listener in listeners {
            tasks.spawn(accept(listener, limits, stop.clone(), tasks.clone()));
        }
        Self { stop, tasks }
    }

    /// Takes no more connections, lets the requests under way end, and cuts what is left after `grace`. The answer is
    /// whether all ended by themselves.
    pub async fn stop(self, grace: Duration) -> bool {
        self.stop.cancel();
        self.tasks.close();
        tokio::time::timeout(grace, self.tasks.wait()).await.is_ok()
    }
}

async fn accept(listener: Listener, limits: Limits, stop: CancellationToken, tasks: TaskTracker) {
    let acceptor = TlsAcceptor::from(listener.tls);
    let connections = Arc::new(Semaphore::new(limits.connections));
    loop {
        let permit = tokio::select! {
            () = stop.cancelled() => return,
            permit = Arc::clone(&connections).acquire_owned() => permit,
        };
        let accepted = tokio::select! {
            () = stop.cancelled() => return,
            accepted = listener.socket.accept() => accepted,
        };
        let (Ok(permit), Ok((socket, address))) = (permit, accepted) else {
            // Out of file descriptors, mostly: others will be closed meanwhile.
            tracing::warn!(listener = listener.name, "cannot accept a connection");
            tokio::time::sleep(Duration::from_millis(50)).await;
            continue;
        };
        let (acceptor, router, stop) = (acceptor.clone(), listener.router.clone(), stop.clone());
        tasks.spawn(async move {
            let _permit = permit;
            if let Err(reason) = connection(acceptor, socket, address, router, limits, stop).await {
                tracing::debug!(%address, reason, "connection ended");
            }
        });
    }
}

async fn connection(
    acceptor: TlsAcceptor,
    socket: TcpStream,
    address: SocketAddr,
    router: Router,
    limits: Limits,
    stop: CancellationToken,
) -> Result<(), String> {
    let _ = socket.set_nodelay(true);
    let handshake = tokio::select! {
        () = stop.cancelled() => return Ok(()),
        done = tokio::time::timeout(limits.handshake, acceptor.accept(socket)) => done,
    };
    let stream = handshake.map_err(|_| "the handshake took too long".to_owned())?.map_err(|error| error.to_string())?;
    let certificates = stream.get_ref().1.peer_certificates().map(|chain| {
        chain.iter().map(|certificate| certificate.clone().into_owned()).collect::<Arc<[CertificateDer<'static>]>>()
    });
    let peer = Peer { address, certificates };
    let service = hyper::service::service_fn(move |request: http::Request<hyper::body::Incoming>| {
        let mut request = request.map(Body::new);
        request.extensions_mut().insert(peer.clone());
        router.clone().call(request)
    });
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.headers)
        .max_buf_size(MAX_HEADERS.max(64 * 1024));
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_header_list_size(u32::try_from(MAX_HEADERS).unwrap_or(u32::MAX))
        .max_concurrent_streams(MAX_STREAMS)
        .keep_alive_interval(Duration::from_secs(30))
        .keep_alive_timeout(Duration::from_secs(10));
    let connection = builder.serve_connection(TokioIo::new(stream), service);
    tokio::pin!(connection);
    tokio::select! {
        done = connection.as_mut() => return done.map_err(|error| error.to_string()),
        () = stop.cancelled() => connection.as_mut().graceful_shutdown(),
    }
    connection.await.map_err(|error| error.to_string())
}
