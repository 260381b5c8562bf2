//! Keys and what they do, over the started server.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "helpers of tests fail the test")]

mod support;

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

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

/// Polls and heartbeats of the control schema, which are counted apart; everything else there counts.
const POLLS: [&str; 8] = [
    "SELECT generation FROM {s}meta",
    "SELECT id, slug, display_name, enabled, owner, home, changed FROM {s}tenants ORDER BY slug",
    "SELECT d.tenant, d.product, d.kind, d.name, d.spec, d.spec_hash, d.generation, d.deleted_at, d.on_remove FROM {s}desired d ",
    "SELECT kind, name, message FROM {s}observed WHERE product = $1 AND status = 'failed' ",
    "SELECT kind, value, until FROM {s}revocations WHERE until > $1",
    "INSERT INTO {s}instances ",
    "DELETE FROM {s}instances WHERE heartbeat < $1",
    "COMMIT",
];

/// Warm operations run no statement at all.
async fn warm_operations_touch_no_database(on: On) {
    let seen: Arc<Mutex<Vec<String>>> = Arc::default();
    let hook: StatementHook = {
        let seen = Arc::clone(&seen);
        Arc::new(move |space, text| {
            if space != Space::Control || !POLLS.iter().any(|poll| text.starts_with(poll)) {
                seen.lock().unwrap().push(format!("{space}: {text}"));
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
    assert!(!seen.lock().unwrap().is_empty(), "statements are seen");
    seen.lock().unwrap().clear();
    // For longer than from one poll to the next.
    let began = Instant::now();
    while began.elapsed() < Duration::from_secs(3) {
        round().await;
    }
    assert_eq!(*seen.lock().unwrap(), [""; 0]);
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

/// The row of a key as it is now, seal and all.
async fn key_row(kms: &Kms, id: &str) -> (String, i64, i64, Vec<u8>) {
    let mut tx = kms.database.tenant(Product::Kms, kms.tenants[0], TenantAccess::Read).await.unwrap();
    let sql = Sql::new("SELECT state, updated_at, state_seq, sealed FROM {s}keys WHERE id = $1").bind(id);
    let row = tx.fetch_one(sql).await.unwrap().unwrap();
    let at = row.get("updated_at").unwrap();
    (row.get("state").unwrap(), at, row.get("state_seq").unwrap(), row.get("sealed").unwrap())
}

async fn put_key_row(kms: &Kms, id: &str, row: &(String, i64, i64, Vec<u8>)) {
    let put = Sql::new("UPDATE {s}keys SET state = $1, updated_at = $2, state_seq = $3, sealed = $4 WHERE id = $5");
    let put = put.bind(&row.0).bind(row.1).bind(row.2).bind(row.3.clone()).bind(id);
    by_hand(kms, 0, put).await;
}

/// What somebody does who can write the database and has no key.
async fn by_hand(kms: &Kms, tenant: usize, sql: Sql) {
    let mut tx = kms.database.tenant(Product::Kms, kms.tenants[tenant], TenantAccess::Plain).await.unwrap();
    tx.execute(sql).await.unwrap();
    tx.commit().await.unwrap();
}

/// A true old row, with its true old seal, put back into a running process: it is not loaded, not shown, and not changed
/// (BAR-02).
async fn an_old_row_is_refused_by_a_running_process(on: On) {
    let mut kms = Kms::start(on).await;
    let id = kms.key("k", "ES256").await;
    let path = |operation: &str| format!("/api/v1/keys/{id}/{operation}");
    let active = key_row(&kms, &id).await;
    assert_eq!(kms.post(&path("disable"), json!({})).await.status, 200);
    let disabled = key_row(&kms, &id).await;
    put_key_row(&kms, &id, &active).await;
    for (operation, body) in [("sign", json!({"payload": "aGk"})), ("disable", json!({})), ("rotate", json!({}))] {
        let answer = kms.post(&path(operation), body).await;
        assert_eq!((answer.status.as_u16(), code(&answer)), (500, "integrity-error".to_owned()), "{operation}");
    }
    for shown in [format!("/api/v1/keys/{id}"), path("versions"), "/api/v1/keys".to_owned()] {
        assert_eq!(code(&kms.get(&shown).await), "integrity-error", "{shown}");
    }
    // A process that starts now sees it, too.
    kms.restart(async |_| {}).await;
    assert_eq!(code(&kms.post(&path("sign"), json!({"payload": "aGk"})).await), "integrity-error");
    put_key_row(&kms, &id, &disabled).await;
    assert_eq!(code(&kms.post(&path("sign"), json!({"payload": "aGk"})).await), "key-state");
    assert_eq!(kms.post(&path("enable"), json!({})).await.status, 200);
    // A row that was taken out is not one that never was.
    by_hand(&kms, 0, Sql::new("DELETE FROM {s}key_versions WHERE key_id = $1").bind(&id)).await;
    assert_eq!(code(&kms.post(&path("sign"), json!({"payload": "aGk"})).await), "integrity-error");
    by_hand(&kms, 0, Sql::new("DELETE FROM {s}keys WHERE id = $1").bind(&id)).await;
    assert_eq!(code(&kms.get(&format!("/api/v1/keys/{id}")).await), "integrity-error");
}

/// A whole schema, rows and state, put back under a running process: the next change does not put its seal on it.
async fn a_schema_that_is_rolled_back_under_a_running_process_is_refused(on: On) {
    let kms = Kms::start(on).await;
    let id = kms.key("k", "ES256").await;
    let path = |operation: &str| format!("/api/v1/keys/{id}/{operation}");
    let state = async || {
        let mut tx = kms.database.tenant(Product::Kms, kms.tenants[0], TenantAccess::Read).await.unwrap();
        let row = tx.fetch_one(Sql::new("SELECT seq, sealed FROM {s}state")).await.unwrap().unwrap();
        (row.get::<i64>("seq").unwrap(), row.get::<Vec<u8>>("sealed").unwrap())
    };
    let (old_row, old_state) = (key_row(&kms, &id).await, state().await);
    for operation in ["disable", "enable"] {
        assert_eq!(kms.post(&path(operation), json!({})).await.status, 200);
    }
    let (row, (seq, sealed)) = (key_row(&kms, &id).await, state().await);
    let put = Sql::new("UPDATE {s}state SET seq = $1, sealed = $2");
    put_key_row(&kms, &id, &old_row).await;
    by_hand(&kms, 0, put.clone().bind(old_state.0).bind(old_state.1)).await;
    for operation in ["disable", "rotate"] {
        assert_eq!(code(&kms.post(&path(operation), json!({})).await), "integrity-error", "{operation}");
    }
    let create = json!({"name": "new", "algorithm": "ES256"});
    assert_eq!(code(&kms.post("/api/v1/keys", create.clone()).await), "integrity-error");
    put_key_row(&kms, &id, &row).await;
    by_hand(&kms, 0, put.bind(seq).bind(sealed)).await;
    assert_eq!(kms.post("/api/v1/keys", create).await.status, 201, "with everything back in its place all is well");
}

/// The head alone is somewhere else: whoever changes finds that out, too.
async fn a_head_that_was_taken_away_refuses_the_next_change(on: On) {
    let kms = Kms::start(on).await;
    let id = kms.key("k", "ES256").await;
    let mut realm = kms.database.realm(Product::Kms).await.unwrap();
    realm.execute(Sql::new("DELETE FROM {s}heads")).await.unwrap();
    realm.commit().await.unwrap();
    let answer = kms.post(&format!("/api/v1/keys/{id}/disable"), json!({})).await;
    assert_eq!((answer.status.as_u16(), code(&answer)), (500, "integrity-error".to_owned()));
}

/// The material of one version in another one's row, of the same key and of another tenant's: neither is used (BAR-01).
async fn swapped_version_rows_are_refused(on: On) {
    let kms = Kms::start(on).await;
    let (swapped, carried) = (kms.key("a", "A256GCM/dir").await, kms.key("b", "A256GCM/dir").await);
    assert_eq!(kms.post(&format!("/api/v1/keys/{swapped}/rotate"), json!({})).await.status, 200);
    let other = kms.issuer.token(kms.tenants[1], "kms:admin");
    let body = json!({"name": "b", "algorithm": "A256GCM/dir"});
    let foreign = kms.call(&other, Method::POST, "/api/v1/keys", Some(body)).await.json()["key_id"].clone();
    let seal = async |tenant: usize, id: &str, version: i64| {
        let mut tx = kms.database.tenant(Product::Kms, kms.tenants[tenant], TenantAccess::Read).await.unwrap();
        let sql = Sql::new("SELECT sealed FROM {s}key_versions WHERE key_id = $1 AND version = $2");
        let row = tx.fetch_one(sql.bind(id).bind(version)).await.unwrap().unwrap();
        row.get::<Vec<u8>>("sealed").unwrap()
    };
    let put = async |id: &str, version: i64, sealed: Vec<u8>| {
        let sql = Sql::new("UPDATE {s}key_versions SET sealed = $1 WHERE key_id = $2 AND version = $3");
        by_hand(&kms, 0, sql.bind(sealed).bind(id).bind(version)).await;
    };
    let (one, two) = (seal(0, &swapped, 1).await, seal(0, &swapped, 2).await);
    put(&swapped, 1, two).await;
    put(&swapped, 2, one).await;
    put(&carried, 1, seal(1, foreign.as_str().unwrap(), 1).await).await;
    for id in [swapped, carried] {
        let answer = kms.post(&format!("/api/v1/keys/{id}/encrypt"), json!({"plaintext": "aGk"})).await;
        assert_eq!((answer.status.as_u16(), code(&answer)), (500, "integrity-error".to_owned()));
    }
}

/// With files, a head that could not be written after its change does not make the change fail; the next one writes it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_head_that_was_not_written_is_written_before_the_next_change() {
    let kms = Kms::start(On::Sqlite).await;
    let id = kms.key("k", "ES256").await;
    let path = format!("/api/v1/keys/{id}/rotate");
    let realm = async |sql: &'static str| {
        let mut tx = kms.database.realm(Product::Kms).await.unwrap();
        tx.execute(Sql::new(sql)).await.unwrap();
        tx.commit().await.unwrap();
    };
    realm("CREATE TRIGGER broken BEFORE UPDATE ON heads BEGIN SELECT RAISE(ABORT, 'no disk'); END").await;
    assert_eq!(kms.post(&path, json!({})).await.json()["latest_version"], 2, "the change holds");
    assert_ne!(kms.post(&path, json!({})).await.status, 200, "no second change without a head");
    realm("DROP TRIGGER broken").await;
    assert_eq!(kms.post(&path, json!({})).await.json()["latest_version"], 3);
    let mut realm = kms.database.realm_read(Product::Kms).await.unwrap();
    let head = Sql::new("SELECT seq FROM {s}heads WHERE tenant = $1").bind(kms.tenants[0]);
    let head: i64 = realm.fetch_one(head).await.unwrap().unwrap().get("seq").unwrap();
    let mut tx = kms.database.tenant(Product::Kms, kms.tenants[0], TenantAccess::Read).await.unwrap();
    let state = tx.fetch_one(Sql::new("SELECT seq FROM {s}state")).await.unwrap().unwrap();
    assert_eq!(head, state.get::<i64>("seq").unwrap());
}

/// Fifty keys that nobody has used yet, all at once, on the one writer of a file: every call is answered (BAR-12).
async fn fifty_cold_encryptions_at_once_finish(on: On) {
    let mut kms = Kms::start(on).await;
    let mut ids = Vec::new();
    for n in 0..50 {
        ids.push(kms.key(&format!("key-{n}"), "A256GCM/dir").await);
    }
    kms.restart(async |_| {}).await;
    let kms = Arc::new(kms);
    let mut calls = tokio::task::JoinSet::new();
    for id in ids {
        let kms = Arc::clone(&kms);
        calls.spawn(async move {
            kms.post(&format!("/api/v1/keys/{id}/encrypt"), json!({"plaintext": "aGk"})).await.status.as_u16()
        });
    }
    let answers = tokio::time::timeout(std::time::Duration::from_secs(30), calls.join_all()).await.unwrap();
    assert_eq!(answers, [200; 50]);
}

on_each_database!(
    an_old_row_is_refused_by_a_running_process,
    a_schema_that_is_rolled_back_under_a_running_process_is_refused,
    a_head_that_was_taken_away_refuses_the_next_change,
    swapped_version_rows_are_refused,
    fifty_cold_encryptions_at_once_finish,
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
