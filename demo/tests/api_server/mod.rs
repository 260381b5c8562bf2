//! As much of an API server as the demo needs: objects, lists of Services and pods, and WebSockets to ports of "pods",
//! which are servers of this machine. TLS with a client certificate, and a bearer token.

use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::{Arc, Mutex};

use futures_util::{SinkExt, StreamExt};
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode, header};
use hyper_util::rt::TokioIo;
use keyrealm_testkit::TestTls;
use keyrealm_tls::{ClientAuth, server_config};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::Role;

/// The token that its one user has.
const TOKEN: &str = "a-token";

/// What the cluster holds.
#[derive(Default)]
pub(crate) struct State {
    /// Path of a list, and its items.
    pub(crate) lists: HashMap<String, Vec<Value>>,
    /// Path of an object or list, and what it answers; these may change while it runs.
    pub(crate) objects: Mutex<HashMap<String, Value>>,
    /// Pod and port, and the port of this machine behind it; none where nobody listens.
    pub(crate) ports: HashMap<(String, u16), Option<u16>>,
    /// Pods whose port-forwards were opened.
    pub(crate) opened: Mutex<Vec<String>>,
}

/// Starts it; the answer is a kubeconfig for it.
pub(crate) async fn start(tls: &TestTls, state: Arc<State>) -> Value {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let acceptor = TlsAcceptor::from(server_config(&tls.identity, &ClientAuth::Required(&tls.trust)).unwrap());
    tokio::spawn(async move {
        loop {
            let (tcp, _) = listener.accept().await.unwrap();
            let (acceptor, state) = (acceptor.clone(), Arc::clone(&state));
            tokio::spawn(async move {
                let Ok(stream) = acceptor.accept(tcp).await else { return };
                let answer =
                    service_fn(move |request| std::future::ready(Ok::<_, Infallible>(answer(&state, request))));
                let http = hyper::server::conn::http1::Builder::new();
                let _ = http.serve_connection(TokioIo::new(stream), answer).with_upgrades().await;
            });
        }
    });
    json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "test",
        "clusters": [{"name": "c", "cluster":
            {"server": format!("https://localhost:{port}"), "certificate-authority": tls.path("ca.pem")}}],
        "users": [{"name": "u", "user":
            {"token": TOKEN, "client-certificate": tls.path("cert.pem"), "client-key": tls.path("key.pem")}}],
        "contexts": [{"name": "test", "context": {"cluster": "c", "user": "u"}}],
    })
}

type Answer = Response<Full<Bytes>>;

fn answer(state: &State, request: Request<Incoming>) -> Answer {
    let json = |status: StatusCode, body: Value| {
        let text = Full::new(Bytes::from(body.to_string()));
        Response::builder().status(status).header(header::CONTENT_TYPE, "application/json").body(text).unwrap()
    };
    let status = |code: StatusCode, message: &str| {
        json(
            code,
            json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": "Test",
            "code": code.as_u16(), "message": message}),
        )
    };
    let bearer = request.headers().get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    if bearer != Some(&format!("Bearer {TOKEN}")) {
        return status(StatusCode::UNAUTHORIZED, "Unauthorized");
    }
    let path = request.uri().path().to_owned();
    if let Some(items) = state.lists.get(&path) {
        let items: Vec<&Value> = items.iter().filter(|item| selected(item, request.uri().query())).collect();
        return json(StatusCode::OK, json!({"kind": "List", "apiVersion": "v1", "metadata": {}, "items": items}));
    }
    if let Some(object) = state.objects.lock().unwrap().get(&path) {
        return json(StatusCode::OK, object.clone());
    }
    let query = request.uri().query().unwrap_or_default().to_owned();
    let port = query.split('&').find_map(|pair| pair.strip_prefix("ports="));
    match (path.strip_suffix("/portforward"), port) {
        (Some(pod), Some(port)) => {
            let (pod, port) = (pod.rsplit('/').next().unwrap().to_owned(), port.parse().unwrap());
            forward(state, request, pod, port)
        }
        _ => status(StatusCode::FORBIDDEN, "User \"u\" cannot do this"),
    }
}

/// Whether the labels are those of the query; only `key=value` is known.
fn selected(item: &Value, query: Option<&str>) -> bool {
    let mut pairs = url::form_urlencoded::parse(query.unwrap_or_default().as_bytes());
    let selector = pairs.find(|(name, _)| name == "labelSelector").map(|(_, value)| value.into_owned());
    let selector = selector.unwrap_or_default();
    let mut wanted = selector.split(',').filter_map(|one| one.split_once('='));
    wanted.all(|(label, value)| item["metadata"]["labels"][label] == value)
}

fn forward(state: &State, mut request: Request<Incoming>, pod: String, port: u16) -> Answer {
    let key = request.headers().get(header::SEC_WEBSOCKET_KEY).unwrap().clone();
    let upgrade = hyper::upgrade::on(&mut request);
    let behind = state.ports.get(&(pod.clone(), port)).copied().flatten();
    state.opened.lock().unwrap().push(pod);
    tokio::spawn(async move {
        let stream = TokioIo::new(upgrade.await.unwrap());
        let mut socket = WebSocketStream::from_raw_socket(stream, Role::Server, None).await;
        let [low, high] = port.to_le_bytes();
        for channel in [0, 1] {
            let _ = socket.send(Message::binary(vec![channel, low, high])).await;
        }
        let tcp = match behind {
            Some(behind) => TcpStream::connect(("127.0.0.1", behind)).await.ok(),
            None => None,
        };
        match tcp {
            Some(tcp) => carry(socket, tcp).await,
            None => {
                let _ = socket.send(Message::binary([&[1][..], b"connect: connection refused"].concat())).await;
                let _ = socket.close(None).await;
                // What the client has sent meanwhile is read to its answer: closed over unread bytes, a socket is reset, and
                // the reset may overtake the message.
                while let Some(Ok(_)) = socket.next().await {}
            }
        }
    });
    Response::builder()
        .status(StatusCode::SWITCHING_PROTOCOLS)
        .header(header::CONNECTION, "Upgrade")
        .header(header::UPGRADE, "websocket")
        .header(header::SEC_WEBSOCKET_ACCEPT, derive_accept_key(key.as_bytes()))
        .header(header::SEC_WEBSOCKET_PROTOCOL, "v4.channel.k8s.io")
        .body(Full::default())
        .unwrap()
}

async fn carry(socket: WebSocketStream<TokioIo<hyper::upgrade::Upgraded>>, tcp: TcpStream) {
    let ((mut sink, mut stream), (mut from, mut to)) = (socket.split(), tcp.into_split());
    let into_pod = async {
        while let Some(Ok(Message::Binary(bytes))) = stream.next().await {
            if bytes.first() == Some(&0) && to.write_all(&bytes[1..]).await.is_err() {
                return;
            }
        }
    };
    let from_pod = async {
        let mut buffer = vec![0; 16 * 1024];
        while let Ok(count @ 1..) = from.read(&mut buffer).await {
            if sink.send(Message::binary([&[0][..], &buffer[..count]].concat())).await.is_err() {
                return;
            }
        }
        let _ = sink.close().await;
    };
    tokio::select! { () = into_pod => {}, () = from_pod => {} }
}
