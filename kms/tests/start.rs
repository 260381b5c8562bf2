//! The program starts on a PostgreSQL that others start on, too, or that is slow, full or away for a while.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "helpers of tests fail the test")]

use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use keyrealm_barrier::UnsealKey;
use keyrealm_base::SystemClock;
use keyrealm_crypto::SystemRandom;
use keyrealm_store::Product;
use keyrealm_testkit::{On, Program, SilentProxy, TestDatabase, TestIssuer, TestTls, free_port};
use serde_json::json;
use sqlx::Connection as _;

/// A machine that compiles beside is slow.
const READY: Duration = Duration::from_secs(180);
/// Longer than a connection is waited for at one go.
const AWAY: Duration = Duration::from_secs(7);

const AUDIENCE: &str = "https://kms.keyrealm.local";

struct Kms {
    tls: TestTls,
    test: TestDatabase,
    issuer: TestIssuer,
}

impl Kms {
    async fn new() -> Self {
        let (tls, test) = (TestTls::new(), TestDatabase::new(On::Postgres).await);
        let _ = tls.private_file("unseal", UnsealKey::generate(&SystemRandom).expose());
        let issuer = TestIssuer::start(&tls, Arc::new(SystemClock), AUDIENCE).await;
        Self { tls, test, issuer }
    }

    /// A process of its own with the given port of the database.
    fn start(&self, port: Option<u16>) -> (Program, Command) {
        let mut settings = self.test.settings(Product::Kms);
        if let (Some(port), Some(postgres)) = (port, &mut settings.postgres) {
            postgres.port = port;
        }
        let local = |port: u16| json!({"address": format!("127.0.0.1:{port}")});
        let files = json!({
            "certificate": self.tls.path("cert.pem"), "key": self.tls.path("key.pem"), "ca": self.tls.path("ca.pem"),
        });
        let admin = free_port();
        // JSON is YAML.
        let text = json!({
            "server": {"public_url": AUDIENCE, "public": local(0), "mtls": local(0), "admin": local(admin)},
            "tls": files, "database": settings, "barrier": {"unseal_key_file": self.tls.path("unseal")},
            "auth": {"issuers": [{"issuer": self.issuer.issuer, "jwks_url": self.issuer.jwks_url}]},
        });
        let config = self.tls.path(&format!("{admin}.yml"));
        std::fs::write(&config, text.to_string()).unwrap();
        let command = |arguments: &[&str]| {
            let mut command = Command::new(env!("CARGO_BIN_EXE_kms"));
            command.arg("--config").arg(&config).args(arguments);
            command
        };
        let log = self.tls.path(&format!("{admin}.log"));
        (Program::start(&mut command(&["serve", "--demo"]), log), command(&["ready"]))
    }
}

/// Six at once on a new database, then six on the one that these left when they were killed; a few times.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_start_at_once() {
    for _ in 0..3 {
        let kms = Kms::new().await;
        for _ in 0..2 {
            let mut programs: Vec<_> = (0..6).map(|_| kms.start(None)).collect();
            for (program, ready) in &mut programs {
                program.until(ready, READY).await;
            }
            for (program, _) in &mut programs {
                assert!(program.ended().is_none(), "{}", program.log());
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_that_is_silent_for_a_while_is_waited_for() {
    let kms = Kms::new().await;
    let proxy = SilentProxy::start(kms.test.server().port).await;
    proxy.fall_silent();
    let (mut program, mut ready) = kms.start(Some(proxy.port));
    tokio::time::sleep(AWAY).await;
    assert!(program.ended().is_none(), "{}", program.log());
    proxy.speak_again();
    program.until(&mut ready, READY).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_without_a_connection_left_is_waited_for() {
    let kms = Kms::new().await;
    let limit = async |number: i8| {
        let login = kms.test.login(Some(Product::Kms));
        kms.test.run(&format!("ALTER ROLE {login} CONNECTION LIMIT {number}")).await;
    };
    limit(0).await;
    let (mut program, mut ready) = kms.start(None);
    tokio::time::sleep(AWAY).await;
    assert!(program.ended().is_none(), "{}", program.log());
    limit(-1).await;
    program.until(&mut ready, READY).await;
}

/// Somebody holds the registry for longer than the server lets a statement wait for a lock.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_registry_that_is_busy_is_waited_for() {
    let kms = Kms::new().await;
    let server = kms.test.server();
    let mut holder = server.connect(kms.test.name(), "postgres", &server.password).await;
    let lock = "SELECT pg_advisory_lock(hashtextextended('keyrealm keyrealm', 0))";
    sqlx::query(lock).execute(&mut holder).await.unwrap();
    let (mut program, mut ready) = kms.start(None);
    let began = Instant::now();
    while !program.log().contains("the database is busy") {
        assert!(program.ended().is_none() && began.elapsed() < READY, "{}", program.log());
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    // With its session the lock goes.
    holder.close().await.unwrap();
    program.until(&mut ready, READY).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_waiting_does_not_mend_is_said_at_once() {
    let kms = Kms::new().await;
    let login = kms.test.login(Some(Product::Kms));
    kms.test.run(&format!("ALTER ROLE {login} PASSWORD 'another'")).await;
    let (mut program, _) = kms.start(None);
    assert_eq!(program.end(Duration::from_secs(10)).await.code(), Some(2));
    let log = program.log();
    assert!(log.contains("password authentication failed") && log.contains("waiting does not help"), "{log}");
    // A server that somebody else's CA vouches for.
    kms.test.run(&format!("ALTER ROLE {login} PASSWORD 'a-password-for-tests'")).await;
    let mut settings = kms.test.settings(Product::Kms);
    settings.postgres.as_mut().unwrap().ca = kms.tls.path("ca.pem");
    let refused = keyrealm_store::Database::open(&settings, Product::Kms, None).await.err().unwrap();
    assert!(!refused.is_passing() && refused.to_string().contains("waiting does not help"), "{refused}");
}

/// The first process of a container has no default action for SIGTERM: it must listen while it waits.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_waits_can_be_told_to_end() {
    let kms = Kms::new().await;
    let proxy = SilentProxy::start(kms.test.server().port).await;
    proxy.fall_silent();
    let (mut program, _) = kms.start(Some(proxy.port));
    tokio::time::sleep(AWAY).await;
    program.terminate();
    assert_eq!(program.end(Duration::from_secs(5)).await.code(), Some(0));
}
