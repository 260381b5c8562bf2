//! The server and the client over real TLS: limits, faults, ends.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "helpers of tests fail the test")]

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::routing::{get, post};
use http::{Method, header};
use keyrealm_base::{ProblemCode, SystemClock};
use keyrealm_crypto::SystemRandom;
use keyrealm_http::client::{ClientOptions, HttpsClient};
use keyrealm_http::extract::{Empty, Json};
use keyrealm_http::{Limits, Listener, Problem, Serving, Standard, probe, standard};
use keyrealm_testkit::TestTls;
use keyrealm_tls::{ClientAuth, client_config, server_config};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use url::Url;

struct Up {
    tls: TestTls,
    serving: Serving,
    port: u16,
}

async fn up(limits: Limits) -> Up {
    up_at("127.0.0.1:0", limits).await
}

async fn up_at(address: &str, limits: Limits) -> Up {
    let tls = TestTls::new();
    let router = Router::new()
        .route("/ok", get(async || "ok"))
        .route("/slow", get(async || tokio::time::sleep(Duration::from_millis(500)).await))
        .route("/stuck", get(async || tokio::time::sleep(Duration::from_secs(60)).await))
        .route("/panic", get(async || -> &'static str { panic!("on purpose") }))
        .route("/big", get(async || "x".repeat(100_000)))
        .route("/livez", get(async || "ok"))
        .route("/none", post(async |_: Empty| "ok"))
        .route("/json", post(async |_: Json<serde_json::Value>| "ok"))
        .route("/redirect", get(async || (http::StatusCode::FOUND, [(header::LOCATION, "/ok")])))
        .route("/problem", get(async || Problem::new(ProblemCode::KeyState, "detail").with("extra", 7)));
    let shell =
        Standard { clock: Arc::new(SystemClock), randomness: Arc::new(SystemRandom), timeout: Duration::from_secs(2) };
    let socket = TcpListener::bind(address).await.unwrap();
    let port = socket.local_addr().unwrap().port();
    let config = server_config(&tls.identity, &ClientAuth::None).unwrap();
    let listener = Listener { name: "test", socket, tls: config, router: standard(router, shell) };
    Up { serving: Serving::start(vec![listener], limits), tls, port }
}

impl Up {
    fn url(&self, path: &str) -> Url {
        format!("https://localhost:{}{path}", self.port).parse().unwrap()
    }

    /// A connection on which the test speaks itself.
    async fn raw(&self, protocol: &[u8]) -> TlsStream<TcpStream> {
        let mut config = rustls::ClientConfig::clone(&client_config(&self.tls.trust, None).unwrap());
        config.alpn_protocols = vec![protocol.to_vec()];
        let socket = TcpStream::connect(("127.0.0.1", self.port)).await.unwrap();
        let name = "localhost".try_into().unwrap();
        TlsConnector::from(Arc::new(config)).connect(name, socket).await.unwrap()
    }

    fn client(&self, options: ClientOptions) -> HttpsClient {
        HttpsClient::new(&client_config(&self.tls.trust, None).unwrap(), options)
    }
}

#[tokio::test]
async fn panics_and_stuck_handlers_become_problems_and_the_server_lives() {
    let up = up(Limits::default()).await;
    let client = up.tls.client();
    for (path, status, code) in
        [("/panic", 500, "internal"), ("/stuck", 504, "timeout"), ("/nowhere", 404, "not-found")]
    {
        let answer = client.get(&up.url(path)).await.unwrap();
        assert_eq!(answer.status, status, "{path}");
        let body = answer.json();
        assert_eq!(body["type"], format!("/problems/{code}"));
        assert_eq!(body["instance"], path);
        assert_eq!(body["request_id"], answer.header(&"x-request-id".parse().unwrap()));
        assert!(!answer.text().contains("on purpose"), "the cause stays in the log");
    }
    assert_eq!(client.get(&up.url("/ok")).await.unwrap().text(), "ok");
    let problem = client.get(&up.url("/problem")).await.unwrap();
    assert_eq!((problem.status.as_u16(), problem.json()["extra"].as_u64()), (409, Some(7)));
}

#[tokio::test]
async fn safe_headers_stand_on_every_answer_and_our_request_id_on_top() {
    let up = up(Limits::default()).await;
    let id = header::HeaderName::from_static("x-request-id");
    for path in ["/ok", "/nowhere", "/panic"] {
        let sent = [(id.clone(), "mine")];
        let answer = up.tls.client().send(Method::GET, &up.url(path), &sent, "".into()).await.unwrap();
        for (name, value) in [
            (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
            (header::X_FRAME_OPTIONS, "DENY"),
            (header::CACHE_CONTROL, "no-store"),
            (header::REFERRER_POLICY, "no-referrer"),
        ] {
            assert_eq!(answer.header(&name), value, "{path}");
        }
        let held = answer.header(&header::STRICT_TRANSPORT_SECURITY);
        assert_eq!(held, "", "whatever else listens on localhost stays reachable without TLS");
        assert_eq!(answer.header(&id).len(), 36, "the caller's id is not taken over");
    }
    let name = format!("service.keyrealm.local:{}", up.port);
    let addresses = HashMap::from([(name.clone(), ([127, 0, 0, 1], up.port).into())]);
    let client = up.client(ClientOptions { addresses, ..ClientOptions::default() });
    let answer = client.get(&format!("https://{name}/ok").parse().unwrap()).await.unwrap();
    assert!(answer.header(&header::STRICT_TRANSPORT_SECURITY).contains("max-age"));
}

/// Who connects and says nothing is let go, and does not keep others out.
#[tokio::test]
async fn silent_connections_are_cut() {
    let up = up(Limits { handshake: Duration::from_millis(300), ..Limits::default() }).await;
    let mut silent = TcpStream::connect(("127.0.0.1", up.port)).await.unwrap();
    assert_eq!(up.tls.client().get(&up.url("/ok")).await.unwrap().status, 200);
    let mut byte = [0];
    let cut = tokio::time::timeout(Duration::from_secs(5), silent.read(&mut byte)).await;
    assert!(matches!(cut, Ok(Ok(0) | Err(_))), "the server closed it");
}

/// Whether the server ends the connection within this time; what it sends before is thrown away.
async fn ends_within(stream: &mut TlsStream<TcpStream>, seconds: f32) -> bool {
    let mut sink = Vec::new();
    tokio::time::timeout(Duration::from_secs_f32(seconds), stream.read_to_end(&mut sink)).await.is_ok()
}

/// After the handshake there is a deadline, too, for either protocol, and for a head that comes byte by byte.
#[tokio::test]
async fn silence_after_the_handshake_is_cut() {
    let limits = Limits { headers: Duration::from_millis(500), ..Limits::default() };
    let up = up(limits).await;
    for protocol in ["http/1.1", "h2"] {
        let mut silent = up.raw(protocol.as_bytes()).await;
        assert!(ends_within(&mut silent, 5.0).await, "{protocol}: nothing was sent");
    }
    let mut half = up.raw(b"h2").await;
    half.write_all(b"PRI * HTTP/2.0").await.unwrap();
    assert!(ends_within(&mut half, 5.0).await, "half a preface");
    let mut slow = up.raw(b"http/1.1").await;
    let began = std::time::Instant::now();
    for byte in std::iter::once(b'G').chain(std::iter::repeat(b'x')) {
        if slow.write_all(&[byte]).await.is_err() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
        assert!(began.elapsed() < Duration::from_secs(5), "a head of single bytes is taken for ever");
    }
}

/// Between requests there is more time than within one.
#[tokio::test]
async fn a_connection_may_rest_between_requests_but_not_for_ever() {
    let limits =
        Limits { headers: Duration::from_millis(300), idle: Duration::from_millis(2_500), ..Limits::default() };
    let up = up(limits).await;
    let mut stream = up.raw(b"http/1.1").await;
    for _ in 0..2 {
        stream.write_all(b"GET /ok HTTP/1.1\r\nhost: localhost\r\n\r\n").await.unwrap();
        let mut answer = [0; 2048];
        let read = stream.read(&mut answer).await.unwrap();
        assert!(answer[..read].starts_with(b"HTTP/1.1 200"), "the connection was kept");
        tokio::time::sleep(Duration::from_millis(900)).await;
    }
    stream.write_all(b"GET /slow HTTP/1.1\r\nhost: localhost\r\n\r\n").await.unwrap();
    let mut answer = [0; 2048];
    assert!(stream.read(&mut answer).await.unwrap() > 0, "a handler may take longer than a head");
    assert!(ends_within(&mut stream, 6.0).await, "nothing more was asked");
    let mut begun = up.raw(b"http/1.1").await;
    begun.write_all(b"GET /ok HTTP/1.1\r\nhost: localhost\r\n\r\nG").await.unwrap();
    assert!(ends_within(&mut begun, 6.0).await, "a second head that does not go on");
}

#[tokio::test]
async fn an_orderly_end_lets_requests_finish_and_a_short_one_cuts_them() {
    let server = up(Limits::default()).await;
    let (client, url) = (server.tls.client(), server.url("/slow"));
    let under_way = tokio::spawn(async move { client.get(&url).await });
    tokio::time::sleep(Duration::from_millis(150)).await;
    let next = server.url("/ok");
    assert!(server.serving.stop(Duration::from_secs(5)).await, "all ended by themselves");
    assert_eq!(under_way.await.unwrap().unwrap().status, 200);
    assert!(server.tls.client().get(&next).await.is_err(), "nobody listens any more");

    for protocol in ["http/1.1", "h2"] {
        let server = up(Limits::default()).await;
        let mut stuck = server.raw(protocol.as_bytes()).await;
        if protocol == "h2" {
            // The preface, empty SETTINGS, and a stream that is opened: GET /stuck, literally.
            stuck.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").await.unwrap();
            stuck.write_all(b"\0\0\x15\x01\x05\0\0\0\x01\x82\x87\x04\x06/stuck\x01\x09localhost").await.unwrap();
        } else {
            stuck.write_all(b"GET /stuck HTTP/1.1\r\nhost: localhost\r\n\r\n").await.unwrap();
        }
        tokio::time::sleep(Duration::from_millis(300)).await;
        let began = std::time::Instant::now();
        assert!(!server.serving.stop(Duration::from_millis(100)).await, "{protocol}: one had to be cut");
        assert!(ends_within(&mut stuck, 1.0).await, "{protocol}: it was cut");
        assert!(began.elapsed() < Duration::from_millis(1_500), "{protocol}: before the handler came to its end");
    }
}

/// As at a rolling restart: whoever calls without a pause is told and never left without an answer.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_end_loses_no_request_of_busy_connections() {
    let server = up(Limits::default()).await;
    let callers: Vec<_> = (0..8)
        .map(|_| {
            let (client, url) = (server.tls.client(), server.url("/ok"));
            tokio::spawn(async move {
                let mut answered = 0;
                loop {
                    match client.get(&url).await {
                        Ok(answer) if answer.status == 200 => answered += 1,
                        Ok(answer) => return (answered, format!("status {}", answer.status)),
                        Err(error) => return (answered, error.to_string()),
                    }
                }
            })
        })
        .collect();
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(server.serving.stop(Duration::from_secs(5)).await);
    for caller in callers {
        let (answered, last) = caller.await.unwrap();
        // Nobody takes new connections any more; the old ones ended between two requests.
        assert!(answered > 3 && last.contains("(Connect)"), "{answered}: {last}");
    }
}

#[tokio::test]
async fn the_client_keeps_its_bounds() {
    let up = up(Limits::default()).await;
    let small = up.client(ClientOptions { max_answer: 1000, ..ClientOptions::default() });
    assert!(small.get(&up.url("/big")).await.is_err(), "too large");
    let hasty = up.client(ClientOptions { timeout: Duration::from_millis(200), ..ClientOptions::default() });
    let late = hasty.get(&up.url("/stuck")).await.unwrap_err().to_string();
    assert!(late.contains("no answer within 0.2 s"), "{late}");
    let plain = up.tls.client();
    assert_eq!(plain.get(&up.url("/redirect")).await.unwrap().status, 302, "redirects are not followed");
    let http = format!("http://localhost:{}/ok", up.port).parse().unwrap();
    assert!(plain.get(&http).await.unwrap_err().to_string().contains("only https"));
    let stranger = TestTls::new().client();
    let untrusted = stranger.get(&up.url("/ok")).await.unwrap_err().to_string();
    assert!(untrusted.contains("UnknownIssuer") || untrusted.contains("certificate"), "{untrusted}");
    let secret = format!("https://localhost:{}/ok?token=canary", up.port);
    let told = stranger.get(&secret.parse().unwrap()).await.unwrap_err().to_string();
    assert!(!told.contains("canary"), "queries are not told: {told}");
    // Another address behind the same name: URL, SNI and Host stay.
    let addresses = HashMap::from([("service.keyrealm.local:443".to_owned(), ([127, 0, 0, 1], up.port).into())]);
    let mapped = up.client(ClientOptions { addresses, ..ClientOptions::default() });
    assert_eq!(mapped.get(&"https://service.keyrealm.local/ok".parse().unwrap()).await.unwrap().status, 200);
    let other = up.client(ClientOptions {
        addresses: HashMap::from([("other.keyrealm.local:443".to_owned(), ([127, 0, 0, 1], up.port).into())]),
        ..ClientOptions::default()
    });
    assert!(other.get(&"https://other.keyrealm.local/ok".parse().unwrap()).await.is_err(), "the name is checked");
}

#[tokio::test]
async fn bodies_are_bounded_also_without_a_declared_length() {
    let up = up(Limits::default()).await;
    let send = async |body: Vec<u8>| {
        let headers = [(header::CONTENT_TYPE, "application/json; charset=utf-8")];
        up.tls.client().send(Method::POST, &up.url("/json"), &headers, body.into()).await.unwrap()
    };
    assert_eq!(send(b"{}".to_vec()).await.status, 200);
    assert_eq!(send(vec![b' '; keyrealm_http::MAX_BODY + 1]).await.status, 413);
    let most = [vec![b' '; keyrealm_http::MAX_BODY - 2], b"{}".to_vec()].concat();
    assert_eq!(send(most).await.status, 200, "the limit itself is allowed");
    // In chunks: nobody says beforehand how many.
    let mut stream = up.raw(b"http/1.1").await;
    let head = "POST /json HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n\
                transfer-encoding: chunked\r\nconnection: close\r\n\r\n";
    stream.write_all(head.as_bytes()).await.unwrap();
    let chunk = [b"10000\r\n".to_vec(), vec![b' '; 0x10000], b"\r\n".to_vec()].concat();
    for _ in 0..=keyrealm_http::MAX_BODY / 0x10000 {
        stream.write_all(&chunk).await.unwrap();
    }
    stream.write_all(b"0\r\n\r\n").await.unwrap();
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer).await;
    let answer = String::from_utf8_lossy(&answer).into_owned();
    assert!(answer.starts_with("HTTP/1.1 413") && answer.contains("Send at most 2 MiB"), "{answer}");
}

#[tokio::test]
async fn calls_without_a_body_take_none() {
    let up = up(Limits::default()).await;
    let send = async |content_type: &str, body: &str| {
        let headers = [(header::CONTENT_TYPE, content_type)];
        up.tls.client().send(Method::POST, &up.url("/none"), &headers, body.to_owned().into()).await.unwrap()
    };
    assert_eq!(send("text/plain", "").await.status, 200);
    assert_eq!(send("application/json", "{}").await.status, 200);
    for (content_type, body, expected) in [
        ("application/json", "{\"reason\":1}", "invalid-field"),
        ("application/json", "[]", "invalid-json"),
        ("application/json", "{", "invalid-json"),
        ("text/plain", "{}", "unsupported-media-type"),
    ] {
        let answer = send(content_type, body).await;
        assert_eq!(answer.json()["type"], format!("/problems/{expected}"), "{body}");
    }
}

/// A server on one address is asked there and nowhere else.
#[tokio::test]
async fn the_probe_asks_the_configured_address() {
    let up = up_at("127.0.0.2:0", Limits::default()).await;
    probe(&up.tls.trust, &format!("127.0.0.2:{}", up.port), "livez").await.unwrap();
    assert!(probe(&up.tls.trust, &format!("127.0.0.1:{}", up.port), "livez").await.is_err());
    let error = probe(&up.tls.trust, "127.0.0.1", "livez").await.unwrap_err().to_string();
    assert!(error.contains("server.admin.address `127.0.0.1`"), "{error}");
}
