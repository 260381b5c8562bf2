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
use keyrealm_http::extract::Json;
use keyrealm_http::{Limits, Listener, Problem, Serving, Standard, standard};
use keyrealm_testkit::TestTls;
use keyrealm_tls::{ClientAuth, client_config, server_config};
use tokio::io::AsyncReadExt;
use tokio::net::{TcpListener, TcpStream};
use url::Url;

struct Up {
    tls: TestTls,
    serving: Serving,
    port: u16,
}

async fn up(limits: Limits) -> Up {
    let tls = TestTls::new();
    let router = Router::new()
        .route("/ok", get(async || "ok"))
        .route("/slow", get(async || tokio::time::sleep(Duration::from_millis(500)).await))
        .route("/stuck", get(async || tokio::time::sleep(Duration::from_secs(60)).await))
        .route("/panic", get(async || -> &'static str { panic!("on purpose") }))
        .route("/big", get(async || "x".repeat(100_000)))
        .route("/json", post(async |_: Json<serde_json::Value>| "ok"))
        .route("/redirect", get(async || (http::StatusCode::FOUND, [(header::LOCATION, "/ok")])))
        .route("/problem", get(async || Problem::new(ProblemCode::KeyState, "detail").with("extra", 7)));
    let shell =
        Standard { clock: Arc::new(SystemClock), randomness: Arc::new(SystemRandom), timeout: Duration::from_secs(2) };
    let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = socket.local_addr().unwrap().port();
    let config = server_config(&tls.identity, &ClientAuth::None).unwrap();
    let listener = Listener { name: "test", socket, tls: config, router: standard(router, shell) };
    Up { serving: Serving::start(vec![listener], limits), tls, port }
}

impl Up {
    fn url(&self, path: &str) -> Url {
        format!("https://localhost:{}{path}", self.port).parse().unwrap()
    }

    fn client(&self, options: ClientOptions) -> HttpsClient {
        HttpsClient::new(&client_config(&self.tls.trust, None).unwrap(), options)
    }
}

#[tokio::test]
async fn panics_and_stuck_handlers_become_problems_and_the_server_lives() {
    let up = up(Limits::default()).await;
    let client = up.tls.client();
    for (path, status, code) in [("/panic", 500, "internal"), ("/stuck", 504, "timeout"), ("/none", 404, "not-found")] {
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
    for path in ["/ok", "/none", "/panic"] {
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

    let server = up(Limits::default()).await;
    let (client, url) = (server.tls.client(), server.url("/stuck"));
    tokio::spawn(async move { client.get(&url).await });
    tokio::time::sleep(Duration::from_millis(150)).await;
    assert!(!server.serving.stop(Duration::from_millis(100)).await, "one had to be cut");
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
}
