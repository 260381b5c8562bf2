//! Two processes on one PostgreSQL: what one changes, the other obeys, and out of touch it answers nothing from memory.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "helpers of tests fail the test")]

mod support;

use std::time::{Duration, Instant};

use http::Method;
use keyrealm_http::client::Answer;
use keyrealm_testkit::On;
use serde_json::json;
use support::{Kms, code};
use url::Url;

async fn encrypt_at(kms: &Kms, base: &Url, id: &str) -> Answer {
    let url = base.join(&format!("/api/v1/keys/{id}/encrypt")).unwrap();
    kms.call_at(&url, &kms.token("kms:admin"), Method::POST, Some(json!({"plaintext": "aGk"}))).await
}

/// Fifty rounds: after the answer to `disable` here, the other process refuses at once. What is told and not polled is
/// there within 250 ms; the poll behind it comes every 2.5 s.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_disabled_here_is_refused_there() {
    let kms = Kms::start(On::Postgres).await;
    let (other, base) = kms.replica().await;
    let id = kms.key("k", "A256GCM/dir").await;
    let mut times = Vec::new();
    for _ in 0..50 {
        assert_eq!(encrypt_at(&kms, &base, &id).await.status, 200);
        assert_eq!(kms.post(&format!("/api/v1/keys/{id}/disable"), json!({})).await.status, 200);
        let began = Instant::now();
        while encrypt_at(&kms, &base, &id).await.status == 200 {
            assert!(began.elapsed() < Duration::from_secs(5), "the other process still uses a disabled key");
        }
        times.push(began.elapsed());
        assert_eq!(kms.post(&format!("/api/v1/keys/{id}/enable"), json!({})).await.status, 200);
        while encrypt_at(&kms, &base, &id).await.status != 200 {
            assert!(began.elapsed() < Duration::from_secs(10));
        }
    }
    times.sort();
    println!("median {:?}, slowest {:?}", times[25], times[49]);
    assert!(times[25] < Duration::from_millis(250), "{times:?}");
    // A busy machine may be slow now and then, and the poll would be so nearly always.
    assert!(times[45] < Duration::from_millis(1_250), "{times:?}");
    other.shutdown().await;
}

/// Rotations in both processes at once: every one counts, none is lost, no version twice.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rotations_in_two_processes_all_count() {
    let kms = Kms::start(On::Postgres).await;
    let (other, base) = kms.replica().await;
    let id = kms.key("k", "ES256").await;
    let path = format!("/api/v1/keys/{id}/rotate");
    let (here, there) = (kms.url(&path), base.join(&path).unwrap());
    let token = kms.token("kms:admin");
    let rotate = async |url: &Url| {
        for _ in 0..10 {
            let answer = kms.call_at(url, &token, Method::POST, Some(json!({}))).await;
            assert_eq!(answer.status, 200, "{}", answer.text());
        }
    };
    tokio::join!(rotate(&here), rotate(&there));
    let versions = kms.get(&format!("/api/v1/keys/{id}/versions")).await.json();
    let mut numbers: Vec<u64> =
        versions["items"].as_array().unwrap().iter().map(|version| version["version"].as_u64().unwrap()).collect();
    numbers.sort_unstable();
    assert_eq!(numbers, (1..=21).collect::<Vec<_>>());
    // A third process opens the tenant: rows and head agree.
    let (third, base) = kms.replica().await;
    let url = base.join(&format!("/api/v1/keys/{id}")).unwrap();
    assert_eq!(kms.call_at(&url, &token, Method::GET, None).await.json()["latest_version"], 21);
    third.shutdown().await;
    other.shutdown().await;
}

/// Cut off from the database for longer than the lease: 503 `stale-keys`, not ready; with it again all is as before.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn out_of_touch_nothing_is_answered_from_memory() {
    let kms = Kms::start_leased(2).await;
    let id = kms.key("k", "A256GCM/dir").await;
    let path = format!("/api/v1/keys/{id}/encrypt");
    let encrypt = async || kms.post(&path, json!({"plaintext": "aGk"})).await;
    assert_eq!(encrypt().await.status, 200);
    let login = kms.test.login(Some(keyrealm_store::Product::Kms));
    kms.test
        .run(&format!(
            "ALTER ROLE {login} NOLOGIN; SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = '{login}'"
        ))
        .await;
    assert_eq!(encrypt().await.status, 200, "within the lease the keys in memory are good");
    let admin = kms.running.as_ref().unwrap().addresses().admin.port();
    let ready = format!("https://localhost:{admin}/readyz").parse().unwrap();
    let until = async |status: u16| {
        let began = Instant::now();
        loop {
            let (answer, probe) = (encrypt().await, kms.client.get(&ready).await.unwrap().status);
            if answer.status == status && (probe == 200) == (status == 200) {
                return answer;
            }
            assert!(began.elapsed() < Duration::from_secs(20), "{} {probe}", answer.status);
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    let refused = until(503).await;
    assert_eq!(code(&refused), "stale-keys");
    assert!(!refused.header(&http::header::RETRY_AFTER).is_empty());
    kms.test.run(&format!("ALTER ROLE {login} LOGIN")).await;
    until(200).await;
}
