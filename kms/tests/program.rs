//! The program itself: its settings, and how it ends.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "helpers of tests fail the test")]

use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use keyrealm_barrier::UnsealKey;
use keyrealm_base::{SharedClock, SystemClock};
use keyrealm_crypto::SystemRandom;
use keyrealm_store::Product;
use keyrealm_testkit::{On, Program, TestDatabase, TestIssuer, TestTls, free_port, on_each_database};
use keyrealm_tls::client_config;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

const AUDIENCE: &str = "https://kms.keyrealm.local";
/// Of the server, between SIGTERM and the cut.
const GRACE: Duration = Duration::from_secs(5);

struct Kms {
    tls: TestTls,
    issuer: TestIssuer,
    _test: TestDatabase,
    config: PathBuf,
    port: u16,
}

impl Kms {
    async fn new(on: On) -> Self {
        let (tls, test) = (TestTls::new(), TestDatabase::new(on).await);
        let clock: SharedClock = Arc::new(SystemClock);
        let issuer = TestIssuer::start(&tls, clock, AUDIENCE).await;
        let (port, admin) = (free_port(), free_port());
        let local = |port: u16| json!({"address": format!("127.0.0.1:{port}")});
        let config = tls.path("kms.yml");
        let unseal = tls.private_file("unseal", UnsealKey::generate(&SystemRandom).expose());
        let files = json!({"certificate": tls.path("cert.pem"), "key": tls.path("key.pem"), "ca": tls.path("ca.pem")});
        // JSON is YAML.
        let text = json!({
            "server": {"public_url": AUDIENCE, "public": local(port), "mtls": local(0), "admin": local(admin)},
            "tls": files, "database": test.settings(Product::Kms), "barrier": {"unseal_key_file": unseal},
            "auth": {"issuers": [{"issuer": issuer.issuer, "jwks_url": issuer.jwks_url}]},
        });
        std::fs::write(&config, text.to_string()).unwrap();
        Self { tls, issuer, _test: test, config, port }
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_kms"));
        command.arg("--config").arg(&self.config).args(arguments).stdin(Stdio::null());
        command
    }

    async fn serve(&self) -> Program {
        let mut process = Program::start(&mut self.command(&["serve", "--demo"]), self.tls.path("log"));
        process.until(&mut self.command(&["ready"]), Duration::from_secs(60)).await;
        process
    }

    /// A request whose body is announced and not sent yet: it is under way for as long as the test wants.
    async fn begin_request(&self) -> TlsStream<TcpStream> {
        let socket = TcpStream::connect(("127.0.0.1", self.port)).await.unwrap();
        let config = client_config(&self.tls.trust, None).unwrap();
        let mut config = (*config).clone();
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        let name = "localhost".try_into().unwrap();
        let mut stream = TlsConnector::from(Arc::new(config)).connect(name, socket).await.unwrap();
        let tenant = "3f0e8b52-6f0e-4d9c-9b55-0d9f1f1d2a11".parse().unwrap();
        let head = format!(
            "POST /api/v1/keys HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {}\r\ncontent-type: application/json\r\n\
             content-length: 2\r\n\r\n{{",
            self.issuer.token(tenant, "kms:admin")
        );
        stream.write_all(head.as_bytes()).await.unwrap();
        tokio::time::sleep(Duration::from_millis(500)).await;
        stream
    }
}

/// SIGTERM while a request is under way: it is answered when it ends in time, and the program ends with 0.
async fn an_orderly_end_waits_for_requests(on: On) {
    let program = Kms::new(on).await;
    let mut process = program.serve().await;
    let mut request = program.begin_request().await;
    process.terminate();
    tokio::time::sleep(Duration::from_millis(700)).await;
    assert!(process.ended().is_none(), "it waits");
    assert!(TcpStream::connect(("127.0.0.1", program.port)).await.is_err(), "nothing new is taken");
    request.write_all(b"}").await.unwrap();
    let mut answer = Vec::new();
    let _ = tokio::time::timeout(Duration::from_secs(5), request.read_to_end(&mut answer)).await.unwrap();
    let answer = String::from_utf8_lossy(&answer).into_owned();
    assert!(answer.starts_with("HTTP/1.1 400") && answer.contains("invalid-field"), "{answer}");
    assert!(process.end(GRACE).await.success());
}

/// One that does not end is cut after the grace; the program ends all the same, and in order.
async fn an_orderly_end_does_not_wait_for_ever(on: On) {
    let program = Kms::new(on).await;
    let mut process = program.serve().await;
    let mut request = program.begin_request().await;
    let began = Instant::now();
    process.terminate();
    let mut answer = Vec::new();
    let _ = tokio::time::timeout(GRACE + Duration::from_secs(5), request.read_to_end(&mut answer)).await.unwrap();
    assert!(began.elapsed() > GRACE - Duration::from_millis(500), "{:?}", began.elapsed());
    assert!(answer.is_empty(), "{}", String::from_utf8_lossy(&answer));
    assert!(process.end(Duration::from_secs(5)).await.success());
    let log = process.log();
    assert!(log.contains("requests were cut off"), "{log}");
}

/// Flags over environment over files; what is no setting is named, whoever gives it.
#[tokio::test]
async fn settings_come_from_flags_and_the_environment() {
    let program = Kms::new(On::Sqlite).await;
    let check = |variables: &[(&str, &str)], flags: &[&str]| {
        let mut command = program.command(&["check-config"]);
        for flag in flags {
            command.args(["--set", flag]);
        }
        let output = command.envs(variables.iter().copied()).output().unwrap();
        (output.status.code().unwrap(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    assert_eq!(check(&[], &[]), (0, String::new()));
    let bad = [("KEYREALM_KMS__SERVER__PUBLIC_URL", "http://x")];
    let (code, text) = check(&bad, &[]);
    assert!(code == 2 && text.contains("server.public_url"), "{text}");
    assert_eq!(check(&bad, &["server.public_url=https://x", "telemetry.level=debug"]).0, 0);
    for (variables, flags, expected) in [
        (&[("KEYREALM_KMS_SERVER__PUBLIC_URL", "https://x")][..], &[][..], "KEYREALM_KMS_SERVER__PUBLIC_URL"),
        (&[], &["server.pubic_url=https://x"], "--set server.pubic_url"),
        (&[], &["server.public.address=nowhere"], "server.public.address"),
        (&[], &["telemetry.level=kms=loud"], "telemetry.level"),
        (&[], &["nothing"], "key=value"),
    ] {
        let (code, text) = check(variables, flags);
        assert!(code == 2 && text.contains(expected), "{expected}: {text}");
    }
    use std::os::unix::ffi::OsStrExt;
    let mut command = program.command(&["check-config"]);
    let bytes = std::ffi::OsStr::from_bytes(b"\xff");
    assert!(command.env("SOMEBODY", bytes).output().unwrap().status.success(), "others' variables do no harm");
    let output = command.env("KEYREALM_KMS__TELEMETRY__LEVEL", bytes).output().unwrap();
    assert!(String::from_utf8_lossy(&output.stderr).contains("KEYREALM_KMS__TELEMETRY__LEVEL"));
}

on_each_database!(an_orderly_end_waits_for_requests, an_orderly_end_does_not_wait_for_ever);
