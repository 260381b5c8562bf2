//! The feed of revocations over real databases.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "helpers of tests fail the test")]

use std::sync::Arc;
use std::time::Duration;

use keyrealm_auth::{Principal, RevocationList, ScopeSet, follow_revocations_every};
use keyrealm_base::{Clock, SharedClock, SystemClock, Timestamp};
use keyrealm_crypto::SystemRandom;
use keyrealm_registry::Registrar;
use keyrealm_store::{Notice, Product, Sql};
use keyrealm_testkit::{On, TestDatabase, on_each_database};

fn principal() -> Principal {
    Principal {
        issuer: "https://id.test".into(),
        subject: "user".into(),
        client_id: "client".into(),
        tenant: None,
        scopes: ScopeSet::EMPTY,
        token_id: "jti".into(),
        session: None,
        family: None,
        expires: Timestamp::from_seconds(900),
    }
}

/// Others talk without a pause; what nobody told of is read all the same.
async fn notices_of_other_things_do_not_keep_the_list_from_being_read(on: On) {
    let test = TestDatabase::new(on).await;
    let database = test.open(Product::Identity, None).await;
    let clock: SharedClock = Arc::new(SystemClock);
    Registrar::new(Arc::clone(&database), Arc::clone(&clock), Arc::new(SystemRandom))
        .ensure_deployment("")
        .await
        .unwrap();
    let list = Arc::new(RevocationList::new(Duration::from_secs(60)));
    let every = Duration::from_millis(500);
    let feed = follow_revocations_every(every, Arc::clone(&database), Arc::clone(&list), clock).await.unwrap();
    let feed = tokio::spawn(feed);
    let talk = tokio::spawn({
        let database = Arc::clone(&database);
        async move {
            loop {
                let mut tx = database.control().await.unwrap();
                tx.notify(Notice::Desired(Product::Kms));
                tx.commit().await.unwrap();
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
    });
    let mut tx = database.control().await.unwrap();
    let until = SystemClock.now().plus(Duration::from_mins(5));
    let silent = Sql::new("INSERT INTO {s}revocations (kind, value, until) VALUES ('jti', 'jti', $1)");
    tx.execute(silent.bind(until)).await.unwrap();
    tx.commit().await.unwrap();
    let began = std::time::Instant::now();
    while list.is_revoked(&principal(), SystemClock.now()) != Ok(true) {
        assert!(began.elapsed() < Duration::from_secs(10), "not read for twenty periods");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    feed.abort();
    talk.abort();
}

on_each_database!(notices_of_other_things_do_not_keep_the_list_from_being_read);
