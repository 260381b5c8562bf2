//! Ended between any two commits, as by kill -9: what refuses is never behind what it guards, and a second try completes.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "helpers of tests fail the test")]

mod support;

use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use keyrealm_jose::b64;
use keyrealm_store::{Product, Sql, StatementHook};
use keyrealm_testkit::{On, TestDatabase, on_each_database};
use serde_json::{Value, json};
use support::{Realm, WEB, error};

const CHILD: &str = "KEYREALM_CHILD";

/// The child: serves on its parent's database and dies at the given commit of one change.
#[test]
fn child_serves_until_it_dies() {
    let Ok(told) = std::env::var(CHILD) else { return };
    let told: Value = serde_json::from_str(&told).unwrap();
    let test: TestDatabase = serde_json::from_value(told["database"].clone()).unwrap();
    let unseal = b64::decode(told["unseal"].as_str().unwrap()).unwrap();
    let port = u16::try_from(told["port"].as_u64().unwrap()).unwrap();
    let at = usize::try_from(told["at"].as_u64().unwrap()).unwrap();
    let (armed, seen) = (Arc::new(AtomicBool::new(false)), AtomicUsize::new(0));
    let hook: StatementHook = {
        let armed = Arc::clone(&armed);
        Arc::new(move |_, text| {
            if armed.load(Ordering::SeqCst) && text == "COMMIT" && seen.fetch_add(1, Ordering::SeqCst) == at {
                std::process::abort();
            }
        })
    };
    tokio::runtime::Runtime::new().unwrap().block_on(async {
        let realm = Box::pin(Realm::attach(test, unseal, port, hook)).await;
        match told["refresh_token"].as_str() {
            Some(token) => {
                let _ = realm.post("/oauth2/v1/introspect", WEB, &[("token", token)]).await;
                armed.store(true, Ordering::SeqCst);
                let answer = realm.post("/oauth2/v1/revoke", WEB, &[("token", token)]).await;
                assert_eq!(answer.status, 200);
            }
            None => {
                armed.store(true, Ordering::SeqCst);
                realm.change(0, "client", "renamed", json!({"client_id": told["client_id"]})).await;
            }
        }
        std::process::exit(0);
    });
}

/// Whether a child that dies at this commit lived to its end.
fn survives(realm: &Realm, at: usize, more: &Value) -> bool {
    let mut told = json!({
        "database": realm.test, "unseal": b64::encode(&realm.unseal), "port": realm.issuer.port().unwrap(), "at": at,
    });
    told.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    let child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "child_serves_until_it_dies", "--nocapture"])
        .env(CHILD, told.to_string())
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&child.stderr);
    assert!(!text.contains("panicked"), "{text}");
    child.status.success()
}

/// Revocation (for everybody) before the tenant's rows: never a refresh token that is dead while its access token lives.
async fn a_revocation_is_never_behind(on: On) {
    let mut realm = Realm::start(on).await;
    for at in 0.. {
        assert!(at < 12);
        let tokens = realm.tokens().await;
        let (access, refresh) = (tokens["access_token"].as_str().unwrap(), tokens["refresh_token"].as_str().unwrap());
        let mut lived = false;
        realm.suspend(async |realm| lived = survives(realm, at, &json!({"refresh_token": refresh}))).await;
        let (access_lives, refresh_lives) = (realm.is_active(access).await, realm.is_active(refresh).await);
        assert!(refresh_lives || !access_lives, "killed at commit {at}");
        assert_eq!(realm.post("/oauth2/v1/revoke", WEB, &[("token", refresh)]).await.status, 200);
        assert!(!realm.is_active(access).await && !realm.is_active(refresh).await, "killed at commit {at}");
        if lived {
            assert!(!access_lives && !refresh_lives && at > 0);
            break;
        }
    }
}

/// Client id, revocation, tenant, release: wherever it stops, the next run completes it, and nothing is left behind.
async fn a_client_gets_its_new_id_whole(on: On) {
    let mut realm = Realm::start(on).await;
    let secret = realm.credentials.secret(WEB).to_owned();
    let mut spec = realm.declared(0, WEB).await;
    spec["client_id"] = "client-start".into();
    realm.declare(0, "client", "renamed", spec).await;
    realm.observed(0, "renamed", |seen| seen["status"] == "ready").await;
    let mut before = "client-start".to_owned();
    for at in 0.. {
        assert!(at < 20);
        let new = format!("client-{at}");
        let mut lived = false;
        realm.suspend(async |realm| lived = survives(realm, at, &json!({"client_id": new}))).await;
        realm.change(0, "client", "renamed", json!({"client_id": new})).await;
        let token = async |client_id: &str| {
            let form = [("client_id", client_id), ("client_secret", &secret), ("grant_type", "client_credentials")];
            realm.client.post_form(&realm.url("/oauth2/v1/token"), &[], &form).await.unwrap()
        };
        assert_eq!(token(&new).await.status, 200, "killed at commit {at}");
        assert_eq!(error(&token(&before).await), "invalid_client", "killed at commit {at}");
        let mut tx = realm.database.realm(Product::Identity).await.unwrap();
        let left = Sql::new("SELECT client_id FROM {s}client_ids WHERE client_id = $1").bind(&before);
        assert!(tx.fetch_one(left).await.unwrap().is_none(), "{before} is still reserved; killed at commit {at}");
        drop(tx);
        before = new;
        if lived {
            assert!(at > 5, "a change has more than {at} commits");
            break;
        }
    }
}

on_each_database!(a_revocation_is_never_behind, a_client_gets_its_new_id_whole);
