//! Each printed success stands for a call whose answer was looked at: a proxy in front of both servers breaks one function
//! after the other, and the steps that are about it fail, and no others.

use std::collections::HashMap;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use clap::Parser;
use http::{HeaderMap, HeaderName, Method, header};
use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use keyrealm_base::{Clock, SystemClock};
use keyrealm_http::client::{Answer, ClientOptions, HttpsClient};
use keyrealm_jose::jws::Unverified;
use keyrealm_tls::{ClientAuth, Identity, IdentityFiles, ReloadingIdentity, TrustBundle, client_config, server_config};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use url::Url;

use crate::attached::host_port;
use crate::calls::Caller;
use crate::cli::{Cli, Command};
use crate::embedded::Embedded;
use crate::endpoints::{Endpoints, Files, Notes, Shell};
use crate::folder::Folder;
use crate::outcome::Outcome;
use crate::report::Reporter;
use crate::run::Run;
use crate::signals::Signals;
use crate::steps::{Step, World, steps_of};

/// What is broken: a method, and how the path ends.
#[derive(Clone)]
struct Broken {
    method: Method,
    path: &'static str,
    how: How,
    /// Only for tokens in whose claims this stands.
    claims: &'static str,
}

#[derive(Clone, Copy)]
enum How {
    /// The server is never asked; this is its answer.
    Instead(u16, fn() -> Value),
    /// Its answer is changed.
    Changed(fn(&mut Value)),
}

/// The servers, and what it takes to stand between.
struct Bed {
    embedded: Embedded,
    folder: Folder,
    cli: Cli,
    trust: TrustBundle,
    identity: Arc<ReloadingIdentity>,
}

impl Bed {
    async fn new() -> Self {
        let cli = Cli::parse_from(["demo", "all", "--json", "--quiet", "--retry", "0"]);
        let folder = Folder::open(None).unwrap();
        let embedded = Box::pin(Embedded::start(&cli, &folder)).await.unwrap();
        let file = |name: &str| folder.path().join(name);
        let trust = TrustBundle::from_file(&file("ca.pem"), SystemClock.now()).unwrap();
        let files = IdentityFiles { certificate: file("operator.pem"), key: file("operator-key.pem") };
        let identity = Identity::from_files(&files, &trust, SystemClock.now()).unwrap();
        Self { embedded, cli, trust, identity: ReloadingIdentity::new(identity), folder }
    }

    async fn end(self) {
        self.embedded.stop().await;
        self.folder.close().await;
    }

    fn client(&self, addresses: HashMap<String, SocketAddr>) -> HttpsClient {
        let options = ClientOptions { addresses, ..ClientOptions::default() };
        HttpsClient::new(&client_config(&self.trust, None).unwrap(), options)
    }

    /// A proxy in front of this server, at the server's own URL.
    async fn proxy(&self, server: &Url, broken: Broken) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let acceptor = TlsAcceptor::from(server_config(&self.identity, &ClientAuth::None).unwrap());
        let (client, server) = (self.client(HashMap::new()), server.clone());
        tokio::spawn(async move {
            loop {
                let (tcp, _) = listener.accept().await.unwrap();
                let (acceptor, client, server) = (acceptor.clone(), client.clone(), server.clone());
                let broken = broken.clone();
                tokio::spawn(async move {
                    let stream = acceptor.accept(tcp).await.unwrap();
                    let carry = service_fn(|request| {
                        let (client, server, broken) = (client.clone(), server.clone(), broken.clone());
                        async move { Ok::<_, Infallible>(carry(&client, &server, &broken, request).await) }
                    });
                    let http = hyper::server::conn::http1::Builder::new();
                    let _ = http.serve_connection(TokioIo::new(stream), carry).await;
                });
            }
        });
        address
    }

    /// The same servers, with something broken.
    async fn broken(&self, broken: Broken) -> Endpoints {
        let at = &self.embedded.endpoints;
        let mut addresses = HashMap::new();
        for server in [&at.issuer, &at.kms] {
            addresses.insert(host_port(server), self.proxy(server, broken.clone()).await);
        }
        let exchanges = Notes::exchanges();
        Endpoints {
            issuer: at.issuer.clone(),
            kms: at.kms.clone(),
            admin: at.admin.clone(),
            ca: at.ca.clone(),
            files: Files::Folder(self.folder.path().to_owned()),
            credentials: at.credentials.clone(),
            client: Caller::new(self.client(addresses), &exchanges),
            shell: Shell::default(),
            complaints: Notes::complaints(),
            exchanges,
        }
    }

    async fn run(&self, at: &Endpoints, command: Command, limit: Duration) -> Outcome {
        let steps: Vec<&Step> = steps_of(command).collect();
        let mut reporter = Reporter::new(&self.cli, steps.len());
        let mut signals = Signals::listen().unwrap();
        let mut world = World::new(at, Duration::from_secs(5));
        let mut run = Run { cli: &self.cli, reporter: &mut reporter, signals: &mut signals, limit, ended: false };
        Box::pin(run.all(&steps, &mut world, Instant::now())).await
    }
}

async fn carry(
    client: &HttpsClient,
    server: &Url,
    broken: &Broken,
    request: Request<Incoming>,
) -> Response<Full<Bytes>> {
    let (parts, body) = request.into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    let hit = parts.method == broken.method
        && parts.uri.path().ends_with(broken.path)
        && claims(&parts.headers).contains(broken.claims);
    if let (true, How::Instead(status, body)) = (hit, broken.how) {
        return Response::builder().status(status).body(Full::new(body().to_string().into())).unwrap();
    }
    let own = [header::HOST, header::CONTENT_LENGTH, header::CONNECTION];
    let carried = parts.headers.iter().filter(|(name, _)| !own.contains(name));
    let headers: Vec<(HeaderName, &str)> =
        carried.map(|(name, value)| (name.clone(), value.to_str().unwrap())).collect();
    let url = server.join(parts.uri.path_and_query().unwrap().as_str()).unwrap();
    let Answer { status, headers, mut body } = client.send(parts.method, &url, &headers, body).await.unwrap();
    if let (true, How::Changed(change)) = (hit, broken.how) {
        let mut json = serde_json::from_slice(&body).unwrap();
        change(&mut json);
        body = json.to_string().into();
    }
    let mut answer = Response::new(Full::new(body));
    *answer.status_mut() = status;
    for (name, value) in headers.iter().filter(|(name, _)| **name != header::CONTENT_LENGTH) {
        answer.headers_mut().append(name, value.clone());
    }
    answer
}

/// The claims of the request's token, if it has one.
fn claims(headers: &HeaderMap) -> String {
    let value = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let token = value.strip_prefix("Bearer ").and_then(|token| Unverified::parse(token).ok());
    token.map(|token| String::from_utf8_lossy(token.peek_payload()).into_owned()).unwrap_or_default()
}

fn failed(outcome: &Outcome) -> Vec<&str> {
    outcome.errors.iter().map(|error| error.step.as_str()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broken_function_fails_its_own_steps() {
    use Command::{Identity, Kms};
    use How::{Changed, Instead};
    const GET: Method = Method::GET;
    const POST: Method = Method::POST;

    let cases: [(Command, Method, &'static str, How, &[&str]); 9] = [
        (Identity, GET, "/userinfo", Changed(|body| body["sub"] = "somebody".into()), &["identity.userinfo"]),
        (Identity, POST, "/revoke", Instead(200, || Value::Null), &["identity.token.revoke"]),
        (Identity, POST, "/introspect", Instead(200, || json!({"active": true})), &["identity.token.revoke"]),
        (Identity, POST, "/introspect", Instead(200, || json!({"active": false})), &["identity.token.revoke"]),
        (Kms, POST, "/decrypt", Changed(|body| body["plaintext"] = "AAAA".into()), &["kms.decrypt", "kms.rotate"]),
        (Kms, POST, "/verify", Instead(200, || json!({"valid": true})), &["kms.verify"]),
        (Kms, POST, "/verify", Instead(400, || json!({"type": "/problems/signature-invalid"})), &["kms.verify"]),
        (Kms, POST, "/rotate", Instead(200, || json!({"latest_version": 2})), &["kms.rotate"]),
        (Kms, GET, "/api/v1/keys", Changed(|body| body["items"] = json!([])), &["kms.entities"]),
    ];
    let bed = Bed::new().await;
    for (command, method, path, how, steps) in cases {
        let at = bed.broken(Broken { method, path, how, claims: "" }).await;
        let outcome = bed.run(&at, command, Duration::from_mins(1)).await;
        assert_eq!(failed(&outcome), steps, "{path}: {:#?}", outcome.errors);
    }
    // The second tenant's keys are looked at as well as the first one's.
    let how = Changed(|body| body["items"][0]["state"] = "disabled".into());
    let at = bed.broken(Broken { method: GET, path: "/api/v1/keys", how, claims: "demo-2." }).await;
    let outcome = bed.run(&at, Kms, Duration::from_mins(1)).await;
    assert_eq!(failed(&outcome), ["kms.entities"], "{:#?}", outcome.errors);
    assert_eq!(outcome.errors[0].message, "the key demo-encryption-aes256 of demo-2 is disabled");
    bed.end().await;
}

/// Steps that the time limit does not reach are skipped; the one that it comes into has failed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_time_limit_ends_a_run() {
    let bed = Bed::new().await;
    let at = &bed.embedded.endpoints;
    let total = steps_of(Command::All).count();
    let none = bed.run(at, Command::All, Duration::ZERO).await;
    assert_eq!((none.passed_steps, none.failed_steps, none.skipped_steps), (0, 0, total));
    assert_eq!(none.exit_code(), 2);
    // Nobody sees a dozen log-ins in this time.
    let some = bed.run(at, Command::All, Duration::from_millis(150)).await;
    assert_eq!((some.failed_steps, some.exit_code()), (1, 1), "{some:#?}");
    assert!(some.errors[0].message.contains("time limit") && some.skipped_steps > 10, "{some:#?}");
    bed.end().await;
}
