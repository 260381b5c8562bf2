//! Where no secret may ever be.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "helpers of tests fail the test")]

mod support;

use keyrealm_store::{Product, Sql, TenantAccess};
use keyrealm_testkit::{CapturedLog, On, on_each_database};
use support::{Realm, WEB};

/// Passwords, secrets, codes, tokens and cookies: neither in the database nor in a log that says everything.
async fn no_secret_is_stored_or_logged(on: On) {
    let log = CapturedLog::start();
    let realm = Realm::start(on).await;
    let mut browser = realm.browser();
    let code = browser.code(&realm.authorize(WEB, &[]), "demo-admin").await;
    let tokens = realm.redeem(&code).await.json();
    let next = realm.refresh(tokens["refresh_token"].as_str().unwrap()).await.json();
    let mut secrets =
        vec![code, realm.credentials.password("demo-admin").to_owned(), realm.credentials.secret(WEB).to_owned()];
    for answer in [&tokens, &next] {
        secrets.extend(
            ["access_token", "refresh_token", "id_token"].map(|name| answer[name].as_str().unwrap().to_owned()),
        );
    }
    secrets.extend(browser.cookies.values().cloned());
    let mut tx = realm.database.tenant(Product::Identity, realm.tenants[0], TenantAccess::Read).await.unwrap();
    assert!(
        !tx.fetch(Sql::new("SELECT hash FROM {s}refresh_tokens")).await.unwrap().is_empty(),
        "there is something to find"
    );
    drop(tx);
    let hex = |text: &str| text.bytes().map(|byte| format!("{byte:02x}")).collect::<String>();
    for (place, content) in realm.test.content().await {
        for secret in &secrets {
            for form in [secret.clone(), hex(secret)] {
                let found = content.windows(form.len()).any(|window| window == form.as_bytes());
                assert!(!found, "{place} holds a secret of {} characters", secret.len());
            }
        }
    }
    let log = log.text();
    assert!(log.contains("answered"), "the log was captured");
    for secret in &secrets {
        assert!(!log.contains(secret.as_str()), "the log holds a secret of {} characters", secret.len());
    }
}

on_each_database!(no_secret_is_stored_or_logged);
