//! The accept loop: TLS with a time limit, bounded connections, the peer's certificate for whoever asks, orderly ends.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use http::header::{self, HeaderValue};
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

use crate::pace::{Pace, Paced, Silence};

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
    /// The longest wait for the headers of a request, the first one included.
    pub headers: Duration,
    /// The longest wait for the next request.
    pub idle: Duration,
    /// The most connections at a time; more wait in the kernel.
    pub connections: usize,
}

impl Default for Limits {
    fn default() -> Self {
        let (handshake, headers, idle) = (Duration::from_secs(10), Duration::from_secs(10), Duration::from_secs(120));
        Self { handshake, headers, idle, connections: 4096 }
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
    ends: Ends,
    tasks: TaskTracker,
}

/// How the listeners are told to end.
#[derive(Clone, Default)]
struct Ends {
    /// Take no more connections; answer, and say with the answer that the connection ends.
    leave: CancellationToken,
    /// Take no more requests, finish what is under way.
    stop: CancellationToken,
    /// Leave at once.
    cut: CancellationToken,
}

/// Header lists of HTTP/2, in bytes.
const MAX_HEADERS: u32 = 32 * 1024;
/// What HTTP/1 may hold of a head, in bytes: a head and what was sent behind it.
const MAX_BUFFER: usize = 64 * 1024;
const MAX_STREAMS: u32 = 128;
/// How long callers are given to hear that their connections end. Who calls without a pause hears it with the next answer.
const FAREWELL: Duration = Duration::from_millis(500);

impl Serving {
    /// Starts to serve.
    #[must_use]
    pub fn start(listeners: Vec<Listener>, limits: Limits) -> Self {
        let (ends, tasks) = (Ends::default(), TaskTracker::new());
        for listener in listeners {
            tasks.spawn(accept(listener, limits, ends.clone(), tasks.clone()));
        }
        Self { ends, tasks }
    }

    /// Takes no more connections and lets every open one end with its next answer, which says so (`Connection: close`, RFC
    /// 9112, section 9.6; GOAWAY on HTTP/2): a caller does not send into a connection that is being closed. Then lets the
    /// requests under way end, and cuts what is left after `grace`. The answer is whether all ended by themselves.
    pub async fn stop(self, grace: Duration) -> bool {
        self.ends.leave.cancel();
        self.tasks.close();
        let _ = tokio::time::timeout(FAREWELL, self.tasks.wait()).await;
        self.ends.stop.cancel();
        let in_time = tokio::time::timeout(grace, self.tasks.wait()).await.is_ok();
        self.ends.cut.cancel();
        self.tasks.wait().await;
        in_time
    }
}

async fn accept(listener: Listener, limits: Limits, ends: Ends, tasks: TaskTracker) {
    let acceptor = TlsAcceptor::from(listener.tls);
    let connections = Arc::new(Semaphore::new(limits.connections));
    loop {
        let permit = tokio::select! {
            () = ends.leave.cancelled() => return,
            permit = Arc::clone(&connections).acquire_owned() => permit,
        };
        let accepted = tokio::select! {
            () = ends.leave.cancelled() => return,
            accepted = listener.socket.accept() => accepted,
        };
        let (Ok(permit), Ok((socket, address))) = (permit, accepted) else {
            // Out of file descriptors, mostly: others will be closed meanwhile.
            tracing::warn!(listener = listener.name, "cannot accept a connection");
            tokio::time::sleep(Duration::from_millis(50)).await;
            continue;
        };
        let (acceptor, router, ends) = (acceptor.clone(), listener.router.clone(), ends.clone());
        tasks.spawn(async move {
            let _permit = permit;
            let cut = ends.cut.clone();
            let ended = tokio::select! {
                ended = connection(acceptor, socket, address, router, limits, ends) => ended,
                () = cut.cancelled() => Err("it was cut off".to_owned()),
            };
            if let Err(reason) = ended {
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
    ends: Ends,
) -> Result<(), String> {
    let Ends { leave, stop, .. } = ends;
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
    // What was agreed on in the handshake: to find out by the first bytes would mean to wait for them without a limit.
    let http2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
    let pace = Pace::start(&limits, !http2);
    let (paced, leaving) = (pace.clone(), leave.clone());
    let service = hyper::service::service_fn(move |request: http::Request<hyper::body::Incoming>| {
        let under_way = paced.begin();
        let mut request = request.map(Body::new);
        request.extensions_mut().insert(peer.clone());
        let (answer, leaving) = (router.clone().call(request), leaving.clone());
        async move {
            let mut answer = answer.await?.map(|body| under_way.with(body));
            if !http2 && leaving.is_cancelled() {
                answer.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
            }
            Ok::<_, Infallible>(answer)
        }
    });
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder = if http2 { builder.http2_only() } else { builder.http1_only() };
    builder.http1().timer(TokioTimer::new()).header_read_timeout(None).max_buf_size(MAX_BUFFER);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_header_list_size(MAX_HEADERS)
        .max_concurrent_streams(MAX_STREAMS)
        .keep_alive_interval(Duration::from_secs(30))
        .keep_alive_timeout(Duration::from_secs(10));
    let connection = builder.serve_connection(TokioIo::new(Paced::new(stream, pace.clone())), service);
    tokio::pin!(connection);
    tokio::select! {
        done = connection.as_mut() => return done.map_err(|error| error.to_string()),
        () = stop.cancelled() => connection.as_mut().graceful_shutdown(),
        () = leave.cancelled(), if http2 => connection.as_mut().graceful_shutdown(),
        silence = pace.broken() => match silence {
            Silence::Head => return Err("no request came".to_owned()),
            Silence::Idle => connection.as_mut().graceful_shutdown(),
        }
    }
    tokio::select! {
        done = connection => done.map_err(|error| error.to_string()),
        _ = pace.broken() => Err("it did not end".to_owned()),
    }
}
