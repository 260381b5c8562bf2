//! Keys and what they do, over the started server.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "helpers of tests fail the test")]

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use http::Method;
use keyrealm_jose::b64;
use keyrealm_jose::jwk::VerifyingKeys;
use keyrealm_jose::jws::Unverified;
use keyrealm_store::{Product, Space, Sql, StatementHook, TenantAccess};
use keyrealm_testkit::{On, on_each_database};
use serde_json::json;
use support::{Kms, code};

const ENCRYPTING: [&str; 2] = ["A256GCM/A256KW", "A256GCM/dir"];
const SIGNING: [&str; 3] = ["ES256", "RS256", "EdDSA"];

async fn every_algorithm_does_its_work_and_no_other(on: On) {
    let kms = Kms::start(on).await;
    for algorithm in ENCRYPTING {
        let id = kms.key(&algorithm.replace('/', "-"), algorithm).await;
        let path = |operation: &str| format!("/api/v1/keys/{id}/{operation}");
        let sealed = kms.post(&path("encrypt"), json!({"plaintext": "aGk", "context": "c"})).await.json();
        let ciphertext = &sealed["ciphertext"];
        let opened = kms.post(&path("decrypt"), json!({"ciphertext": ciphertext, "context": "c"})).await;
        assert_eq!(opened.json()["plaintext"], "aGk", "{algorithm}");
        for context in [json!({}), json!({"context": "d"})] {
            let mut body = json!({"ciphertext": ciphertext});
            body.as_object_mut().unwrap().extend(context.as_object().unwrap().clone());
            assert_eq!(code(&kms.post(&path("decrypt"), body).await), "decryption-failed");
        }
        assert_eq!(code(&kms.post(&path("sign"), json!({"payload": "aGk"})).await), "wrong-key-purpose");
    }
    for algorithm in SIGNING {
        let id = kms.key(algorithm, algorithm).await;
        let path = |operation: &str| format!("/api/v1/keys/{id}/{operation}");
        let signed = kms.post(&path("sign"), json!({"payload": "aGk", "context": "c"})).await.json();
        let signature = signed["signature"].as_str().unwrap().to_owned();
        let verified = kms.post(&path("verify"), json!({"signature": signature, "context": "c"})).await;
        assert_eq!(verified.json()["payload"], "aGk", "{algorithm}");
        assert_eq!(code(&kms.post(&path("verify"), json!({"signature": signature})).await), "signature-invalid");
        assert_eq!(code(&kms.post(&path("encrypt"), json!({"plaintext": "aGk"})).await), "wrong-key-purpose");
        // Anybody can verify it with the key set.
        let keys = VerifyingKeys::parse(&kms.get("/api/v1/jwks").await.body).unwrap();
        let token = Unverified::parse(&signature).unwrap();
        let verifier = keys.get(token.header("kid").unwrap(), algorithm).unwrap();
        assert_eq!(token.verify(algorithm, verifier).unwrap().payload, b"hi");
    }
    let set = kms.get("/api/v1/jwks").await.text();
    assert!(!set.contains("\"d\"") && !set.contains("\"k\"") && !set.contains("oct"), "{set}");
}

/// One bit changed in any part is refused, and always in the same words.
async fn changed_objects_are_refused_alike(on: On) {
    let kms = Kms::start(on).await;
    let id = kms.key("k", "A256GCM/A256KW").await;
    let sealed = kms.post(&format!("/api/v1/keys/{id}/encrypt"), json!({"plaintext": "aGk"})).await.json();
    one_bit_each(&kms, &format!("/api/v1/keys/{id}/decrypt"), "ciphertext", sealed["ciphertext"].as_str().unwrap())
        .await;
    for algorithm in SIGNING {
        let id = kms.key(algorithm, algorithm).await;
        let signed = kms.post(&format!("/api/v1/keys/{id}/sign"), json!({"payload": "aGk"})).await.json();
        let (path, text) = (format!("/api/v1/keys/{id}/verify"), signed["signature"].as_str().unwrap());
        one_bit_each(&kms, &path, "signature", text).await;
        assert_eq!(kms.post(&path, json!({"signature": text})).await.status, 200, "unchanged it verifies");
    }
    for rubbish in ["", "a.b", "a.b.c.d.e", "....", &"x".repeat(10_000)] {
        let answer = kms.post(&format!("/api/v1/keys/{id}/decrypt"), json!({"ciphertext": rubbish})).await;
        assert_eq!(code(&answer), "decryption-failed", "{rubbish:.20}");
    }
}

/// One bit in every segment, one after the other: always refused, and always with the same words.
async fn one_bit_each(kms: &Kms, path: &str, field: &str, text: &str) {
    let mut answers = std::collections::HashSet::new();
    for part in 0..text.split('.').count() {
        for bit in [0, 7] {
            let mut parts: Vec<String> = text.split('.').map(str::to_owned).collect();
            let mut bytes = b64::decode(&parts[part]).unwrap();
            let middle = bytes.len() / 2;
            bytes[middle] ^= 1 << bit;
            parts[part] = b64::encode(bytes);
            let answer = kms.post(path, json!({field: parts.join(".")})).await;
            assert_eq!(answer.status, 400, "segment {part}, bit {bit}: {}", answer.text());
            let mut body = answer.json();
            body.as_object_mut().unwrap().remove("request_id");
            answers.insert((answer.status, body.to_string()));
        }
    }
    assert_eq!(answers.len(), 1, "{answers:?}");
}

async fn rotation_keeps_old_ciphertexts_and_uses_the_new_version(on: On) {
    let kms = Kms::start(on).await;
    let id = kms.key("k", "A256GCM/dir").await;
    let path = |operation: &str| format!("/api/v1/keys/{id}/{operation}");
    let old = kms.post(&path("encrypt"), json!({"plaintext": "b2xk"})).await.json();
    let rotated = kms.post(&path("rotate"), json!({})).await;
    assert_eq!(rotated.json()["latest_version"], 2);
    let new = kms.post(&path("encrypt"), json!({"plaintext": "bmV3"})).await.json();
    assert_eq!((old["version"].clone(), new["version"].clone()), (json!(1), json!(2)));
    assert_ne!(old["version_id"], new["version_id"]);
    for (sealed, plain) in [(old, "b2xk"), (new, "bmV3")] {
        let opened = kms.post(&path("decrypt"), json!({"ciphertext": sealed["ciphertext"]})).await.json();
        assert_eq!(opened["plaintext"], plain);
    }
    let versions = kms.get(&path("versions")).await.json();
    assert_eq!(versions["total"], 2);
    assert_eq!(versions["items"][0]["version"], 2);
}

async fn a_disabled_key_does_nothing_until_it_is_enabled(on: On) {
    let kms = Kms::start(on).await;
    let id = kms.key("k", "ES256").await;
    let path = |operation: &str| format!("/api/v1/keys/{id}/{operation}");
    let signed = kms.post(&path("sign"), json!({"payload": "aGk"})).await.json();
    assert_eq!(code(&kms.post(&path("enable"), json!({})).await), "key-state");
    assert_eq!(kms.post(&path("disable"), json!({})).await.json()["state"], "disabled");
    for (operation, body) in [
        ("sign", json!({"payload": "aGk"})),
        ("verify", json!({"signature": signed["signature"]})),
        ("rotate", json!({})),
        ("disable", json!({})),
    ] {
        assert_eq!(code(&kms.post(&path(operation), body).await), "key-state", "{operation}");
    }
    assert_eq!(kms.get(&format!("/api/v1/keys/{id}")).await.json()["state"], "disabled");
    kms.post(&path("enable"), json!({})).await;
    assert_eq!(kms.post(&path("sign"), json!({"payload": "aGk"})).await.status, 200);
}

/// Warm operations run no statement at all.
async fn warm_operations_touch_no_database(on: On) {
    let count = Arc::new(AtomicUsize::new(0));
    let hook: StatementHook = {
        let count = Arc::clone(&count);
        // Polls and heartbeats of the control schema are counted apart.
        Arc::new(move |space, _| {
            if space != keyrealm_store::Space::Control {
                count.fetch_add(1, Ordering::SeqCst);
            }
        })
    };
    let kms = Kms::start_with(on, Some(hook)).await;
    let (wrap, direct, sign) =
        (kms.key("w", "A256GCM/A256KW").await, kms.key("d", "A256GCM/dir").await, kms.key("s", "ES256").await);
    let round = async || {
        for id in [&wrap, &direct] {
            let sealed = kms.post(&format!("/api/v1/keys/{id}/encrypt"), json!({"plaintext": "aGk"})).await.json();
            let opened =
                kms.post(&format!("/api/v1/keys/{id}/decrypt"), json!({"ciphertext": sealed["ciphertext"]})).await;
            assert_eq!(opened.status, 200);
        }
        let signed = kms.post(&format!("/api/v1/keys/{sign}/sign"), json!({"payload": "aGk"})).await.json();
        let verified =
            kms.post(&format!("/api/v1/keys/{sign}/verify"), json!({"signature": signed["signature"]})).await;
        assert_eq!(verified.status, 200);
    };
    round().await;
    let before = count.load(Ordering::SeqCst);
    assert!(before > 0, "the counter counts");
    for _ in 0..20 {
        round().await;
    }
    assert_eq!(count.load(Ordering::SeqCst), before);
}

async fn lists_filter_sort_and_page_and_take_no_injection(on: On) {
    let kms = Kms::start(on).await;
    for n in 0..30 {
        kms.key(&format!("key-{n:02}"), if n % 2 == 0 { "ES256" } else { "EdDSA" }).await;
    }
    let list = async |query: &str| kms.get(&format!("/api/v1/keys?{query}")).await.json();
    let first = list("algorithm[]=ES256&algorithm[]=EdDSA&sort[]=name:DESC&size=20").await;
    // The demo has one ES256 key of its own.
    assert_eq!(first["total"], 31);
    assert_eq!(first["items"][0]["name"], "key-29");
    let next = kms.get(first["next"].as_str().unwrap()).await.json();
    assert_eq!(next["items"].as_array().unwrap().len(), 11);
    assert!(next["next"].is_null());
    assert_eq!(list("name[]=key-03").await["total"], 1);
    let id = list("name[]=key-03").await["items"][0]["key_id"].as_str().unwrap().to_owned();
    kms.post(&format!("/api/v1/keys/{id}/disable"), json!({})).await;
    assert_eq!(list("state[]=disabled").await["total"], 1);
    assert_eq!(list("name[]=key-03&state[]=active").await["total"], 0);
    for bad in [
        "sort[]=name;DROP",
        "sort[]=id",
        "sort[]=name:desc",
        "size=0",
        "size=51",
        "page=-1",
        "nome=x",
        "page=1&page=2",
        "state[]=x",
    ] {
        let answer = kms.get(&format!("/api/v1/keys?{bad}")).await;
        assert_eq!(code(&answer), "invalid-query", "{bad}");
    }
    assert_eq!(list("name[]=x'%20OR%20'1'='1").await["total"], 0);
}

async fn names_are_unique_and_changes_are_checked(on: On) {
    let kms = Kms::start(on).await;
    let (a, b) = (kms.key("a", "ES256").await, kms.key("b", "ES256").await);
    assert_eq!(code(&kms.post("/api/v1/keys", json!({"name": "a"})).await), "name-taken");
    let patch = async |id: &str, body| {
        kms.call(&kms.token("kms:admin"), Method::PATCH, &format!("/api/v1/keys/{id}"), Some(body)).await
    };
    assert_eq!(code(&patch(&b, json!({"name": "a"})).await), "name-taken");
    let renamed = patch(&b, json!({"name": "c", "description": "new"})).await.json();
    assert_eq!((renamed["name"].clone(), renamed["description"].clone()), (json!("c"), json!("new")));
    assert_eq!(code(&patch(&a, json!({"name": ""})).await), "invalid-field");
    assert_eq!(code(&patch(&a, json!({"algorithm": "RS256"})).await), "invalid-field");
    // Another tenant has names of its own.
    let other = kms.issuer.token(kms.tenants[1], "kms:admin");
    assert_eq!(kms.call(&other, Method::POST, "/api/v1/keys", Some(json!({"name": "a"}))).await.status, 201);
    // What is declared elsewhere is not changed here, but rotates.
    let declared = kms.get("/api/v1/keys?name[]=demo-signing-ec256").await.json();
    let id = declared["items"][0]["key_id"].as_str().unwrap().to_owned();
    assert_eq!(code(&patch(&id, json!({"description": "x"})).await), "managed-by-resource");
    assert_eq!(code(&kms.post(&format!("/api/v1/keys/{id}/disable"), json!({})).await), "managed-by-resource");
    assert_eq!(kms.post(&format!("/api/v1/keys/{id}/rotate"), json!({})).await.status, 200);
}

/// What was written is there after a restart; what somebody changed in the files is refused (BAR-01, BAR-02, KMS-41).
async fn restarts_keep_all_and_changed_rows_are_refused(on: On) {
    let mut kms = Kms::start(on).await;
    let id = kms.key("k", "A256GCM/A256KW").await;
    let sealed = kms.post(&format!("/api/v1/keys/{id}/encrypt"), json!({"plaintext": "aGk"})).await.json();
    let ciphertext = sealed["ciphertext"].clone();
    kms.restart(async |_| {}).await;
    let opened = kms.post(&format!("/api/v1/keys/{id}/decrypt"), json!({"ciphertext": ciphertext})).await;
    assert_eq!(opened.json()["plaintext"], "aGk");

    // A key that is put back to an older state by hand.
    kms.post(&format!("/api/v1/keys/{id}/disable"), json!({})).await;
    let mut tx = kms.database.tenant(Product::Kms, kms.tenants[0], TenantAccess::Plain).await.unwrap();
    tx.execute(Sql::new("UPDATE {s}keys SET state = 'active' WHERE name = 'k'")).await.unwrap();
    tx.commit().await.unwrap();
    let answer = kms.get(&format!("/api/v1/keys/{id}")).await;
    assert_eq!((answer.status.as_u16(), code(&answer)), (500, "integrity-error".to_owned()));
}

/// A whole tenant's space put back to an older state is noticed at the next start.
async fn a_rolled_back_tenant_is_refused(on: On) {
    let mut kms = Kms::start(on).await;
    let id = kms.key("k", "ES256").await;
    let space = Space::Tenant(Product::Kms, kms.tenants[0]);
    kms.restart(async |test| test.save(space).await).await;
    kms.post(&format!("/api/v1/keys/{id}/disable"), json!({})).await;
    kms.post(&format!("/api/v1/keys/{id}/enable"), json!({})).await;
    kms.post(&format!("/api/v1/keys/{id}/disable"), json!({})).await;
    kms.restart(async |test| test.restore(space).await).await;
    let answer = kms.get(&format!("/api/v1/keys/{id}")).await;
    assert_eq!((answer.status.as_u16(), code(&answer)), (500, "integrity-error".to_owned()));
}

on_each_database!(
    every_algorithm_does_its_work_and_no_other,
    changed_objects_are_refused_alike,
    rotation_keeps_old_ciphertexts_and_uses_the_new_version,
    a_disabled_key_does_nothing_until_it_is_enabled,
    warm_operations_touch_no_database,
    lists_filter_sort_and_page_and_take_no_injection,
    names_are_unique_and_changes_are_checked,
    restarts_keep_all_and_changed_rows_are_refused,
    a_rolled_back_tenant_is_refused,
);
