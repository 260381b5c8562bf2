//! What is declared is made, what cannot be made is told, and one does not stop the other.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "helpers of tests fail the test")]

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use http::Method;
use keyrealm_base::Clock;
use keyrealm_crypto::SystemRandom;
use keyrealm_registry::{Registrar, instances};
use keyrealm_store::{Notice, Product, Space, Sql, StatementHook};
use keyrealm_testkit::{On, on_each_database};
use serde_json::{Value, json};
use support::{Kms, code};

/// What a product said of an entry.
#[derive(Debug, Clone, PartialEq, Default)]
struct Said {
    status: String,
    reason: String,
    message: String,
    object_id: Option<String>,
}

async fn declare(kms: &Kms, name: &str, spec: Value) {
    let registrar = Registrar::new(Arc::clone(&kms.database), Arc::new(kms.clock.clone()), Arc::new(SystemRandom));
    registrar.declare(kms.tenants[0], Product::Kms, [("key", name.to_owned(), spec)]).await.unwrap();
}

/// Takes the entry away, as the registrar does when a resource no longer has it.
async fn withdraw(kms: &Kms, name: &str) {
    let mut tx = kms.database.registry().await.unwrap();
    let sql = Sql::new("UPDATE {s}desired SET deleted_at = $1 WHERE name = $2 AND tenant = $3");
    tx.execute(sql.bind(kms.clock.now()).bind(name).bind(kms.tenants[0])).await.unwrap();
    tx.notify(Notice::Desired(Product::Kms));
    tx.commit().await.unwrap();
}

async fn said(kms: &Kms, name: &str) -> Said {
    let sql = Sql::new(
        "SELECT o.status, o.reason, o.message, o.object_id FROM {s}observed o JOIN {s}desired d ON d.tenant = o.tenant \
         AND d.product = o.product AND d.kind = o.kind AND d.name = o.name AND d.spec_hash = o.spec_hash \
         WHERE o.name = $1 AND o.tenant = $2 AND o.product = 'kms'",
    );
    let mut tx = kms.database.control().await.unwrap();
    let row = tx.fetch_one(sql.bind(name).bind(kms.tenants[0])).await.unwrap();
    row.map_or_else(Said::default, |row| Said {
        status: row.get("status").unwrap(),
        reason: row.get("reason").unwrap(),
        message: row.get("message").unwrap(),
        object_id: row.get("object_id").unwrap(),
    })
}

async fn until(kms: &Kms, name: &str, status: &str) -> Said {
    let began = Instant::now();
    loop {
        let said = said(kms, name).await;
        if said.status == status {
            return said;
        }
        assert!(began.elapsed() < Duration::from_secs(15), "{name} is not {status}: {said:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

async fn key(kms: &Kms, name: &str) -> Value {
    kms.get(&format!("/api/v1/keys?name[]={name}")).await.json()["items"][0].clone()
}

async fn a_declared_key_is_made_and_changed_and_reported(on: On) {
    let kms = Kms::start(on).await;
    declare(&kms, "declared", json!({"algorithm": "ES256", "description": "one"})).await;
    let made = until(&kms, "declared", "ready").await;
    assert_eq!((made.reason.as_str(), made.message.as_str()), ("Ready", ""));
    let found = key(&kms, "declared").await;
    assert_eq!(found["key_id"].as_str(), made.object_id.as_deref());
    assert_eq!((&found["managed_by"], &found["description"]), (&json!("resource"), &json!("one")));
    declare(&kms, "declared", json!({"algorithm": "ES256", "description": "two"})).await;
    assert_eq!(until(&kms, "declared", "ready").await.object_id, made.object_id, "it is the same key");
    assert_eq!(key(&kms, "declared").await["description"], "two");
}

/// Each failure has its message; the others are made; what failed shows in the state and is gone when it is mended.
async fn what_cannot_be_made_is_told_and_stops_nothing(on: On) {
    let kms = Kms::start(on).await;
    declare(&kms, "held", json!({"algorithm": "ES256"})).await;
    until(&kms, "held", "ready").await;
    let own = kms.key("mine", "ES256").await;
    for (name, spec, message) in [
        ("a-typo", json!({"algorithm": "ES256", "descripton": "x"}), "unknown field"),
        ("an-algorithm", json!({"algorithm": "RSA1_5"}), "unknown algorithm"),
        ("held", json!({"algorithm": "EdDSA"}), "the key has ES256 and its algorithm cannot change"),
        ("mine", json!({"algorithm": "ES256"}), "made through the API"),
    ] {
        declare(&kms, name, spec).await;
        let failed = until(&kms, name, "failed").await;
        assert_eq!((failed.reason.as_str(), failed.object_id), ("Failed", None), "{name}");
        assert!(failed.message.contains(message), "{}", failed.message);
    }
    declare(&kms, "z-good", json!({"algorithm": "ES256"})).await;
    until(&kms, "z-good", "ready").await;
    assert_eq!(key(&kms, "mine").await["key_id"], own, "it is left as it was");
    let began = Instant::now();
    loop {
        let answer = kms.ready().await;
        let declared = answer.json()["checks"]["declared"].clone();
        // The state is looked after once a second: it may be of a moment in which only some had failed.
        let reason = declared["reason"].to_string();
        if declared["state"] == "degraded" && ["a-typo", "key/mine", "key/held"].iter().all(|key| reason.contains(key))
        {
            assert_eq!(answer.status, 200, "it serves all the same");
            break;
        }
        assert!(began.elapsed() < Duration::from_secs(10), "{declared}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    declare(&kms, "a-typo", json!({"algorithm": "ES256", "description": "x"})).await;
    until(&kms, "a-typo", "ready").await;
}

/// A failure is written once and tried again more and more seldom.
async fn a_failure_is_not_said_again_and_again(on: On) {
    let (writes, tries) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let hook: StatementHook = {
        let (writes, tries) = (Arc::clone(&writes), Arc::clone(&tries));
        Arc::new(move |space, text| {
            if space == Space::Control && text.contains("INTO {s}observed") {
                writes.fetch_add(1, Ordering::SeqCst);
            }
            if text.contains("keys WHERE name = $") {
                tries.fetch_add(1, Ordering::SeqCst);
            }
        })
    };
    let kms = Kms::start_with(on, Some(hook)).await;
    kms.key("mine", "ES256").await;
    declare(&kms, "mine", json!({"algorithm": "ES256"})).await;
    until(&kms, "mine", "failed").await;
    let (written, tried) = (writes.load(Ordering::SeqCst), tries.load(Ordering::SeqCst));
    let began = Instant::now();
    while began.elapsed() < Duration::from_secs(5) {
        // However often it is woken.
        let mut tx = kms.database.registry().await.unwrap();
        tx.notify(Notice::Desired(Product::Kms));
        tx.commit().await.unwrap();
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert_eq!(writes.load(Ordering::SeqCst), written, "nothing new to say");
    assert!(tries.load(Ordering::SeqCst) - tried <= 2, "pauses grow");
}

/// What nobody declares any more can be changed through the API, and is taken back when it is declared again.
async fn an_orphaned_key_belongs_to_the_tenant(on: On) {
    let kms = Kms::start(on).await;
    declare(&kms, "orphan", json!({"algorithm": "ES256", "description": "d"})).await;
    let id = until(&kms, "orphan", "ready").await.object_id.unwrap();
    let patch = async |text: &str| {
        let body = json!({"description": text});
        kms.call(&kms.token("kms:admin"), Method::PATCH, &format!("/api/v1/keys/{id}"), Some(body)).await
    };
    assert_eq!(code(&patch("mine").await), "managed-by-resource");
    withdraw(&kms, "orphan").await;
    let orphaned = until(&kms, "orphan", "orphaned").await;
    assert_eq!((orphaned.reason.as_str(), orphaned.object_id.as_deref()), ("EntryRemoved", Some(id.as_str())));
    assert_eq!(key(&kms, "orphan").await["managed_by"], "api");
    assert_eq!(patch("mine").await.json()["description"], "mine");
    declare(&kms, "orphan", json!({"algorithm": "ES256", "description": "d"})).await;
    assert_eq!(until(&kms, "orphan", "ready").await.object_id.as_deref(), Some(id.as_str()));
    assert_eq!(key(&kms, "orphan").await["description"], "d");
    assert_eq!(code(&patch("mine").await), "managed-by-resource");
}

/// The row of this process, for whoever waits for it to be ready.
async fn the_process_has_a_row_of_its_own(on: On) {
    let kms = Kms::start(on).await;
    let began = Instant::now();
    let row = loop {
        let mut tx = kms.database.control().await.unwrap();
        let rows = instances::fresh(&mut tx, instances::FRESH).await.unwrap();
        assert!(rows.len() <= 1, "{rows:?}");
        if let Some(row) = rows.into_iter().next().filter(|row| row.ready) {
            break row;
        }
        drop(tx);
        assert!(began.elapsed() < Duration::from_secs(15));
        tokio::time::sleep(Duration::from_millis(50)).await;
    };
    assert_eq!(row.product, "kms");
    assert_eq!(row.chain_sha256, kms.tls.identity.current().chain_sha256());
    assert_eq!(row.bundle_sha256, kms.tls.trust.sha256());
    assert_eq!(row.heartbeat, kms.clock.now());
    assert!(row.schema_version >= 2, "{row:?}");
}

/// A declaration here is made there at once, and both processes agree on it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_process_sees_a_declaration_at_once() {
    let kms = Kms::start(On::Postgres).await;
    let (other, base) = kms.replica().await;
    let mut times = Vec::new();
    for n in 0..10 {
        let name = format!("declared-{n}");
        let began = Instant::now();
        // RSA takes long: both processes are at it at the same time, and one of them finds the name taken.
        declare(&kms, &name, json!({"algorithm": if n < 3 { "RS256" } else { "ES256" }})).await;
        let url = base.join(&format!("/api/v1/keys?name[]={name}")).unwrap();
        while kms.call_at(&url, &kms.token("kms:admin"), Method::GET, None).await.json()["total"] != 1 {
            assert!(began.elapsed() < Duration::from_secs(20));
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        if n >= 3 {
            times.push(began.elapsed());
        }
        let made = until(&kms, &name, "ready").await;
        assert_eq!(made.object_id.as_deref(), key(&kms, &name).await["key_id"].as_str());
    }
    times.sort();
    assert!(times[times.len() / 2] < Duration::from_millis(1_000), "told, not found out: {times:?}");
    // Nobody writes `failed` over `ready` afterwards.
    tokio::time::sleep(Duration::from_millis(500)).await;
    for n in 0..10 {
        assert_eq!(said(&kms, &format!("declared-{n}")).await.status, "ready");
    }
    other.shutdown().await;
}

on_each_database!(
    a_declared_key_is_made_and_changed_and_reported,
    what_cannot_be_made_is_told_and_stops_nothing,
    a_failure_is_not_said_again_and_again,
    an_orphaned_key_belongs_to_the_tenant,
    the_process_has_a_row_of_its_own,
);
