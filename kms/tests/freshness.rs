//! What a caller is answered from memory is never older than what it was told before.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "helpers of tests fail the test")]

mod support;

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::time::{Duration, Instant};

use http::Method;
use keyrealm_store::{Notice, Product, Sql, StatementHook};
use keyrealm_testkit::{On, on_each_database};
use serde_json::json;
use support::{Kms, code};

/// Stops the first read of a key's versions after it is armed.
#[derive(Default)]
struct Pause {
    armed: AtomicBool,
    reached: AtomicUsize,
    go: Mutex<Option<mpsc::Receiver<()>>>,
}

impl Pause {
    fn hook(self: &Arc<Self>) -> StatementHook {
        let pause = Arc::clone(self);
        Arc::new(move |_, text| {
            if text.contains("key_versions WHERE key_id") && pause.armed.swap(false, Ordering::SeqCst) {
                let go = pause.go.lock().unwrap().take().unwrap();
                pause.reached.fetch_add(1, Ordering::SeqCst);
                let _ = tokio::task::block_in_place(|| go.recv_timeout(Duration::from_secs(20)));
            }
        })
    }

    fn arm(&self) -> mpsc::Sender<()> {
        let (sender, receiver) = mpsc::channel();
        *self.go.lock().unwrap() = Some(receiver);
        self.armed.store(true, Ordering::SeqCst);
        sender
    }
}

/// A read of the key began, the key is disabled and that is answered, and only then the read goes on: whoever asks after
/// the answer is refused, whether it joins the read or comes after it.
async fn a_read_from_before_a_change_is_not_believed_after_it(on: On) {
    let pause = Arc::new(Pause::default());
    let kms = Kms::start_with(on, Some(pause.hook())).await;
    let id = kms.key("k", "ES256").await;
    let sign = || {
        let (client, url) = (kms.client.clone(), kms.url(&format!("/api/v1/keys/{id}/sign")));
        let bearer = format!("Bearer {}", kms.token("kms:admin"));
        tokio::spawn(async move {
            let headers =
                [(http::header::AUTHORIZATION, bearer.as_str()), (http::header::CONTENT_TYPE, "application/json")];
            client.send(Method::POST, &url, &headers, r#"{"payload":"aGk"}"#.into()).await.unwrap()
        })
    };
    let go = pause.arm();
    let early = sign();
    let began = Instant::now();
    while pause.reached.load(Ordering::SeqCst) == 0 {
        assert!(began.elapsed() < Duration::from_secs(10), "the read does not begin");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let disabled = kms.post(&format!("/api/v1/keys/{id}/disable"), json!({})).await;
    assert_eq!(disabled.json()["state"], "disabled");
    let joined = sign();
    tokio::time::sleep(Duration::from_millis(300)).await;
    go.send(()).unwrap();
    let joined = joined.await.unwrap();
    assert_eq!((joined.status.as_u16(), code(&joined)), (409, "key-state".to_owned()), "it asked after the answer");
    // The one that asked before may have either.
    assert!([200, 409].contains(&early.await.unwrap().status.as_u16()));
    assert_eq!(code(&sign().await.unwrap()), "key-state", "the old read is not kept");
}

/// Who changed a key sees the change with the next call, each time.
async fn changes_are_seen_by_the_next_call(on: On) {
    let kms = Kms::start(on).await;
    let id = kms.key("k", "A256GCM/A256KW").await;
    let path = |operation: &str| format!("/api/v1/keys/{id}/{operation}");
    for version in 2..30 {
        assert_eq!(kms.post(&path("rotate"), json!({})).await.json()["latest_version"], version);
        assert_eq!(kms.post(&path("encrypt"), json!({"plaintext": "aGk"})).await.json()["version"], version);
    }
}

/// A tenant that is disabled is not served, neither from memory nor from the database, and is served again afterwards.
async fn a_disabled_tenant_is_not_served(on: On) {
    let kms = Kms::start(on).await;
    let (warm, cold) = (kms.key("warm", "ES256").await, kms.key("cold", "ES256").await);
    let sign = async |id: &str| kms.post(&format!("/api/v1/keys/{id}/sign"), json!({"payload": "aGk"})).await;
    assert_eq!(sign(&warm).await.status, 200);
    let enable = async |enabled: i64| {
        let mut tx = kms.database.registry().await.unwrap();
        let sql = Sql::new("UPDATE {s}tenants SET enabled = $1 WHERE id = $2").bind(enabled).bind(kms.tenants[0]);
        assert_eq!(tx.execute(sql).await.unwrap(), 1);
        tx.notify(Notice::Desired(Product::Kms));
        tx.commit().await.unwrap();
    };
    let until = async |status: u16| {
        let began = Instant::now();
        while sign(&warm).await.status != status {
            assert!(began.elapsed() < Duration::from_secs(5), "not {status}");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    enable(0).await;
    until(503).await;
    for answer in [sign(&warm).await, sign(&cold).await, kms.get("/api/v1/keys").await, kms.get("/api/v1/jwks").await] {
        assert_eq!((answer.status.as_u16(), code(&answer)), (503, "tenant-unavailable".to_owned()));
        assert!(answer.json()["help"].as_str().unwrap().contains("enable the tenant"), "{}", answer.text());
    }
    let other = kms.issuer.token(kms.tenants[1], "kms:admin");
    assert_eq!(kms.call(&other, Method::GET, "/api/v1/keys", None).await.status, 200, "others are served");
    enable(1).await;
    until(200).await;
    assert_eq!(sign(&cold).await.status, 200);
}

on_each_database!(
    a_read_from_before_a_change_is_not_believed_after_it,
    changes_are_seen_by_the_next_call,
    a_disabled_tenant_is_not_served,
);
