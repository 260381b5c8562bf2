//! The program starts on a PostgreSQL that others start on, too, or that is silent for a while.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "helpers of tests fail the test")]

use std::process::Command;
use std::time::Duration;

use identity::seed::DemoCredentials;
use keyrealm_barrier::UnsealKey;
use keyrealm_crypto::SystemRandom;
use keyrealm_store::Product;
use keyrealm_testkit::{On, Program, SilentProxy, TestDatabase, TestTls, free_port};
use serde_json::json;

/// A machine that compiles beside is slow.
const READY: Duration = Duration::from_secs(180);

struct Identity {
    tls: TestTls,
    test: TestDatabase,
}

impl Identity {
    async fn new() -> Self {
        let (tls, test) = (TestTls::new(), TestDatabase::new(On::Postgres).await);
        let _ = tls.private_file("unseal", UnsealKey::generate(&SystemRandom).expose());
        let credentials = serde_json::to_string(&DemoCredentials::documented()).unwrap();
        let _ = tls.private_file("credentials", credentials.as_bytes());
        Self { tls, test }
    }

    /// A process of its own with the given port of the database.
    fn start(&self, port: Option<u16>) -> (Program, Command) {
        let mut settings = self.test.settings(Product::Identity);
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
            "server": {"public_url": "https://id.keyrealm.local", "public": local(0), "mtls": local(0),
                "admin": local(admin)},
            "tls": files, "database": settings, "barrier": {"unseal_key_file": self.tls.path("unseal")},
            "tokens": {"audience": "https://kms.keyrealm.local"},
        });
        let config = self.tls.path(&format!("{admin}.yml"));
        std::fs::write(&config, text.to_string()).unwrap();
        let command = |arguments: &[&str]| {
            let mut command = Command::new(env!("CARGO_BIN_EXE_identity"));
            command.args(arguments).arg("--config").arg(&config);
            command
        };
        let log = self.tls.path(&format!("{admin}.log"));
        let mut serve = command(&["serve", "--demo"]);
        serve.arg("--demo-credentials").arg(self.tls.path("credentials"));
        (Program::start(&mut serve, log), command(&["ready"]))
    }
}

/// Six at once on a new database, then six on the one that these left when they were killed; a few times.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_start_at_once() {
    for _ in 0..3 {
        let identity = Identity::new().await;
        for _ in 0..2 {
            let mut programs: Vec<_> = (0..6).map(|_| identity.start(None)).collect();
            for (program, ready) in &mut programs {
                program.until(ready, READY).await;
            }
            for (program, _) in &mut programs {
                assert!(program.ended().is_none(), "{}", program.log());
            }
        }
    }
}

/// For longer than a connection is waited for at one go.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_that_is_silent_for_a_while_is_waited_for() {
    let identity = Identity::new().await;
    let proxy = SilentProxy::start(identity.test.server().port).await;
    proxy.fall_silent();
    let (mut program, mut ready) = identity.start(Some(proxy.port));
    tokio::time::sleep(Duration::from_secs(7)).await;
    assert!(program.ended().is_none(), "{}", program.log());
    proxy.speak_again();
    program.until(&mut ready, READY).await;
}

/// The first process of a container has no default action for SIGTERM: it must listen while it waits.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_waits_can_be_told_to_end() {
    let identity = Identity::new().await;
    let proxy = SilentProxy::start(identity.test.server().port).await;
    proxy.fall_silent();
    let (mut program, _) = identity.start(Some(proxy.port));
    tokio::time::sleep(Duration::from_secs(7)).await;
    program.terminate();
    assert_eq!(program.end(Duration::from_secs(5)).await.code(), Some(0));
}
