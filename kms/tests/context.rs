//! A context that was given is given again, the same one; one that was not given is not (KMS-24).
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "helpers of tests fail the test")]

mod support;

use keyrealm_testkit::{On, on_each_database};
use serde_json::{Value, json};
use support::{Kms, code};

async fn contexts_must_be_the_same_ones(on: On) {
    let kms = Kms::start(on).await;
    let with = |field: &str, value: &Value, context: Option<&str>| {
        let mut body = json!({field: value});
        if let Some(context) = context {
            body["context"] = context.into();
        }
        body
    };
    for (algorithm, operations, fields, refusal) in [
        ("A256GCM/A256KW", ["encrypt", "decrypt"], ["plaintext", "ciphertext"], "decryption-failed"),
        ("A256GCM/dir", ["encrypt", "decrypt"], ["plaintext", "ciphertext"], "decryption-failed"),
        ("ES256", ["sign", "verify"], ["payload", "signature"], "signature-invalid"),
        ("RS256", ["sign", "verify"], ["payload", "signature"], "signature-invalid"),
        ("EdDSA", ["sign", "verify"], ["payload", "signature"], "signature-invalid"),
    ] {
        let id = kms.key(&algorithm.replace('/', "-"), algorithm).await;
        let path = |operation: &str| format!("/api/v1/keys/{id}/{operation}");
        for (given, again, works) in [
            (Some("c"), Some("c"), true),
            (None, None, true),
            (Some("c"), Some("d"), false),
            (Some("c"), Some("c "), false),
            (Some("c"), None, false),
            (None, Some("c"), false),
        ] {
            let made = kms.post(&path(operations[0]), with(fields[0], &json!("aGk"), given)).await.json();
            let answer = kms.post(&path(operations[1]), with(fields[1], &made[fields[1]], again)).await;
            let shown = format!("{algorithm}: {given:?} then {again:?}: {}", answer.text());
            if works {
                assert_eq!(answer.json()[fields[0]], "aGk", "{shown}");
            } else {
                assert_eq!((answer.status.as_u16(), code(&answer)), (400, refusal.to_owned()), "{shown}");
                assert!(answer.json()["help"].as_str().unwrap().contains("`context`"), "{shown}");
            }
        }
    }
}

on_each_database!(contexts_must_be_the_same_ones);
