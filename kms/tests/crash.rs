//! Ended between any two statements of a change, as by kill -9: after a restart there is the whole change or none of it.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "helpers of tests fail the test")]

mod support;

use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use keyrealm_crypto::SecretBytes;
use keyrealm_store::{Product, Space, StatementHook};
use keyrealm_testkit::{On, TestDatabase, on_each_database};
use serde_json::json;
use support::Kms;

const DATABASE: &str = "KEYREALM_CHILD_DATABASE";
const UNSEAL: &str = "KEYREALM_CHILD_UNSEAL";
const PATH: &str = "KEYREALM_CHILD_PATH";
const AT: &str = "KEYREALM_CHILD_AT";

/// The child: serves on its parent's database and dies at the given statement of one request.
#[test]
fn child_serves_until_it_dies() {
    let Ok(database) = std::env::var(DATABASE) else { return };
    let database: TestDatabase = serde_json::from_str(&database).unwrap();
    let unseal = SecretBytes::new(std::env::var(UNSEAL).unwrap().into_bytes());
    let (path, at) = (std::env::var(PATH).unwrap(), std::env::var(AT).unwrap().parse::<usize>().unwrap());
    let (armed, seen) = (Arc::new(AtomicBool::new(false)), AtomicUsize::new(0));
    let hook: StatementHook = {
        let armed = Arc::clone(&armed);
        Arc::new(move |space, _| {
            let counts = matches!(space, Space::Tenant(Product::Kms, _) | Space::Realm(_));
            if armed.load(Ordering::SeqCst) && counts && seen.fetch_add(1, Ordering::SeqCst) == at {
                std::process::abort();
            }
        })
    };
    tokio::runtime::Runtime::new().unwrap().block_on(async {
        let kms = Kms::attach(database, unseal, Some(hook)).await;
        kms.get("/api/v1/keys").await;
        armed.store(true, Ordering::SeqCst);
        let name = format!("new-{at}");
        let body = if path.ends_with("/rotate") { json!({}) } else { json!({"name": name, "algorithm": "ES256"}) };
        let answer = kms.post(&path, body).await;
        assert!(answer.status.is_success(), "{}", answer.text());
    });
}

/// Whether a child that dies at this statement of the request lived to its end.
fn survives(kms: &Kms, path: &str, at: usize) -> bool {
    let child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "child_serves_until_it_dies"])
        .env(DATABASE, serde_json::to_string(&kms.test).unwrap())
        .env(UNSEAL, String::from_utf8_lossy(kms.unseal.expose()).as_ref())
        .env(PATH, path)
        .env(AT, at.to_string())
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&child.stdout);
    assert!(!text.contains("panicked"), "{text}");
    child.status.success()
}

async fn create_and_rotate_are_whole_or_not_at_all(on: On) {
    let mut kms = Kms::start(on).await;
    let id = kms.key("old", "A256GCM/A256KW").await;
    let path = |operation: &str| format!("/api/v1/keys/{id}/{operation}");
    let sealed = kms.post(&path("encrypt"), json!({"plaintext": "aGk"})).await.json()["ciphertext"].clone();

    let (mut at, mut versions) = (0, 1);
    loop {
        let mut lived = false;
        kms.suspend(async |kms| lived = survives(kms, &path("rotate"), at)).await;
        // Whatever happened, the key is whole: as many versions as it says, and every one of them works.
        let key = kms.get(&format!("/api/v1/keys/{id}")).await.json();
        let listed = kms.get(&path("versions")).await.json();
        let found = key["latest_version"].as_u64().unwrap();
        assert_eq!(listed["items"].as_array().unwrap().len() as u64, found, "killed at statement {at}");
        assert!(found == versions || found == versions + 1);
        versions = found;
        let opened = kms.post(&path("decrypt"), json!({"ciphertext": sealed})).await.json();
        assert_eq!(opened["plaintext"], "aGk", "killed at statement {at}");
        assert_eq!(kms.post(&path("encrypt"), json!({"plaintext": "aGk"})).await.json()["version"], found);
        if lived {
            break;
        }
        at += 1;
        assert!(at < 30);
    }
    assert!(at > 5, "a rotation has more than {at} statements");

    // A name of its own each time: a key that is there does not end the search, and the head's commit is visited, too.
    let (mut at, mut made_and_killed) = (0, 0);
    loop {
        let mut lived = false;
        kms.suspend(async |kms| lived = survives(kms, "/api/v1/keys", at)).await;
        let made = kms.get(&format!("/api/v1/keys?name[]=new-{at}")).await.json();
        if let Some(key) = made["items"].as_array().unwrap().first() {
            let id = key["key_id"].as_str().unwrap();
            let signed = kms.post(&format!("/api/v1/keys/{id}/sign"), json!({"payload": "aGk"})).await;
            assert_eq!(signed.status, 200, "a key that is there works; killed at statement {at}");
            assert!(lived || at > 5, "there before its commit: killed at statement {at}");
            made_and_killed += u32::from(!lived);
        } else {
            assert!(!lived, "made, answered, and gone");
        }
        // The tenant can be changed on, whatever the head says.
        assert_eq!(kms.post(&path("rotate"), json!({})).await.status, 200, "killed at statement {at}");
        if lived {
            break;
        }
        at += 1;
        assert!(at < 30);
    }
    assert!(at > 5, "a creation has more than {at} statements");
    // With files, the head has a statement and a commit of its own after the tenant's commit.
    assert_eq!(made_and_killed, if on == On::Sqlite { 2 } else { 0 });
}

on_each_database!(create_and_rotate_are_whole_or_not_at_all);
