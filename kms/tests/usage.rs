//! The uses of a key that has a limit: over-counted perhaps, never under-counted.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "helpers of tests fail the test")]

mod support;

use http::Method;
use keyrealm_base::VersionId;
use keyrealm_http::client::Answer;
use keyrealm_store::{Product, Sql, TenantAccess};
use keyrealm_testkit::{On, on_each_database};
use serde_json::json;
use support::{Kms, code};

/// Uses that a version is good for.
const LIMIT: i64 = 1 << 32;
/// The first that are reserved.
const BLOCK: i64 = 1 << 10;

async fn encrypt(kms: &Kms, id: &str) -> Answer {
    kms.post(&format!("/api/v1/keys/{id}/encrypt"), json!({"plaintext": "aGk"})).await
}

async fn version(kms: &Kms, id: &str) -> VersionId {
    let versions = kms.get(&format!("/api/v1/keys/{id}/versions")).await.json();
    versions["items"][0]["version_id"].as_str().unwrap().parse().unwrap()
}

/// Up to where uses of the key's newest version are reserved.
async fn reserved(kms: &Kms, id: &str) -> i64 {
    let version = version(kms, id).await;
    let mut tx = kms.database.tenant(Product::Kms, kms.tenants[0], TenantAccess::Read).await.unwrap();
    let sql = Sql::new("SELECT reserved FROM {s}key_usage WHERE version_id = $1").bind(version);
    tx.fetch_one(sql).await.unwrap().map_or(0, |row| row.get("reserved").unwrap())
}

/// A restart gives up what was reserved; it begins behind it and not before.
async fn a_restart_never_counts_too_few(on: On) {
    let mut kms = Kms::start(on).await;
    let id = kms.key("k", "A256GCM/dir").await;
    assert_eq!(reserved(&kms, &id).await, 0);
    for round in 1..4 {
        for _ in 0..3 {
            assert_eq!(encrypt(&kms, &id).await.status, 200);
        }
        assert_eq!(reserved(&kms, &id).await, round * BLOCK, "one block a process");
        kms.restart(async |_| {}).await;
    }
}

/// Many first callers reserve once, not each for itself.
async fn callers_at_the_end_of_a_block_reserve_once(on: On) {
    let kms = Kms::start(on).await;
    let id = kms.key("k", "A256GCM/dir").await;
    let bearer = format!("Bearer {}", kms.token("kms:admin"));
    let mut calls = tokio::task::JoinSet::new();
    for _ in 0..50 {
        let (client, url, bearer) =
            (kms.client.clone(), kms.url(&format!("/api/v1/keys/{id}/encrypt")), bearer.clone());
        calls.spawn(async move {
            let headers =
                [(http::header::AUTHORIZATION, bearer.as_str()), (http::header::CONTENT_TYPE, "application/json")];
            client.send(Method::POST, &url, &headers, r#"{"plaintext":"aGk"}"#.into()).await.unwrap().status
        });
    }
    assert!(calls.join_all().await.iter().all(|status| *status == 200));
    assert_eq!(reserved(&kms, &id).await, BLOCK);
}

/// Five uses are left of the limit: five calls are served, the sixth is told what to do, and after that it works.
async fn a_used_up_version_asks_for_a_rotation(on: On) {
    let kms = Kms::start(on).await;
    let id = kms.key("k", "A256GCM/dir").await;
    let version = version(&kms, &id).await;
    let mut tx = kms.database.tenant(Product::Kms, kms.tenants[0], TenantAccess::Plain).await.unwrap();
    let sql = Sql::new("INSERT INTO {s}key_usage (version_id, reserved) VALUES ($1, $2)").bind(version).bind(LIMIT - 5);
    tx.execute(sql).await.unwrap();
    tx.commit().await.unwrap();
    let sealed = encrypt(&kms, &id).await.json()["ciphertext"].clone();
    for _ in 0..4 {
        assert_eq!(encrypt(&kms, &id).await.status, 200);
    }
    for _ in 0..3 {
        let refused = encrypt(&kms, &id).await;
        assert_eq!((refused.status.as_u16(), code(&refused)), (409, "limit-reached".to_owned()));
        assert!(refused.json()["detail"].as_str().unwrap().contains("rotate"), "{}", refused.text());
    }
    let opened = kms.post(&format!("/api/v1/keys/{id}/decrypt"), json!({"ciphertext": sealed})).await;
    assert_eq!(opened.json()["plaintext"], "aGk", "decryption is not counted");
    assert_eq!(kms.post(&format!("/api/v1/keys/{id}/rotate"), json!({})).await.status, 200);
    assert_eq!(encrypt(&kms, &id).await.json()["version"], 2);
}

/// Two processes reserve apart from each other: what both may use is what the database says.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_processes_share_the_count() {
    let kms = Kms::start(On::Postgres).await;
    let id = kms.key("k", "A256GCM/dir").await;
    let (other, base) = kms.replica().await;
    let there = base.join(&format!("/api/v1/keys/{id}/encrypt")).unwrap();
    for _ in 0..3 {
        assert_eq!(encrypt(&kms, &id).await.status, 200);
        let answer =
            kms.call_at(&there, &kms.token("kms:admin"), Method::POST, Some(json!({"plaintext": "aGk"}))).await;
        assert_eq!(answer.status, 200);
    }
    assert_eq!(reserved(&kms, &id).await, 2 * BLOCK);
    other.shutdown().await;
}

on_each_database!(
    a_restart_never_counts_too_few,
    callers_at_the_end_of_a_block_reserve_once,
    a_used_up_version_asks_for_a_rotation,
);
