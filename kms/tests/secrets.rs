//! Where no secret may ever be.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "helpers of tests fail the test")]

mod support;

use http::Method;
use keyrealm_jose::b64;
use keyrealm_testkit::{CapturedLog, On, on_each_database};
use serde_json::json;
use support::Kms;

/// Plaintexts, contexts, tokens and the unseal key: neither in the database nor in a log that says everything.
async fn no_secret_is_stored_or_logged(on: On) {
    let log = CapturedLog::start();
    let kms = Kms::start(on).await;
    let (plain, context) = ("canary-plaintext-0123456789", "canary-context-0123456789");
    let (id, signing) = (kms.key("k", "A256GCM/A256KW").await, kms.key("s", "RS256").await);
    let path = |operation: &str| format!("/api/v1/keys/{id}/{operation}");
    let body = json!({"plaintext": b64::encode(plain), "context": context});
    let token = kms.token("kms:admin");
    let sealed = kms.call(&token, Method::POST, &path("encrypt"), Some(body)).await.json()["ciphertext"].clone();
    let opened = kms.post(&path("decrypt"), json!({"ciphertext": sealed, "context": context})).await;
    assert_eq!(opened.json()["plaintext"], b64::encode(plain));
    kms.post(&path("decrypt"), json!({"ciphertext": sealed, "context": "another"})).await;
    kms.post(&format!("/api/v1/keys/{signing}/sign"), json!({"payload": b64::encode(plain)})).await;
    let secrets = [
        plain.to_owned(),
        b64::encode(plain),
        context.to_owned(),
        token.clone(),
        token.rsplit_once('.').unwrap().1.to_owned(),
        String::from_utf8_lossy(kms.unseal.expose()).into_owned(),
    ];
    let log = log.text();
    assert!(log.contains("answered"), "the log was captured");
    for (at, secret) in secrets.iter().enumerate() {
        assert!(!log.contains(secret.as_str()), "the log holds secret {at}");
    }
    for (place, content) in kms.test.content().await {
        for (at, secret) in secrets.iter().enumerate() {
            let holds = |text: &str| content.windows(text.len()).any(|window| window == text.as_bytes());
            // PostgreSQL shows bytes as hex digits.
            let hex: String = secret.bytes().map(|byte| format!("{byte:02x}")).collect();
            assert!(!holds(secret) && !holds(&hex), "{place} holds secret {at}");
        }
    }
}

on_each_database!(no_secret_is_stored_or_logged);
