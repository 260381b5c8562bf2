//! The registrar over real files and a real server.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "helpers of tests fail the test")]

use std::sync::Arc;
use std::time::Duration;

use keyrealm_base::InstanceId;
use keyrealm_base::{SystemClock, Timestamp};
use keyrealm_crypto::SystemRandom;
use keyrealm_registry::{
    DesiredStatus, Instance, Observed, Registrar, RegistryError, Revocation, RevocationKind, desired, instances,
    observed, revocations, tenants,
};
use keyrealm_store::{Database, Notice, Notices, Product};
use keyrealm_testkit::{On, TestDatabase, on_each_database};
use serde_json::json;

struct Setup {
    database: Arc<Database>,
    registrar: Arc<Registrar>,
    _test: TestDatabase,
}

async fn setup(on: On) -> Setup {
    let test = TestDatabase::new(on).await;
    let database = test.open(Product::Identity, None).await;
    database.wait_fresh().await.unwrap();
    let registrar = Registrar::new(Arc::clone(&database), Arc::new(SystemClock), Arc::new(SystemRandom));
    registrar.ensure_deployment("").await.unwrap();
    Setup { database, registrar: Arc::new(registrar), _test: test }
}

/// The next notice of this kind; from a server others may come in between.
async fn told(notices: &mut Notices, wanted: Notice) {
    while tokio::time::timeout(Duration::from_secs(5), notices.recv()).await.unwrap().unwrap() != wanted {}
}

async fn one_deployment_id_and_one_realm(on: On) {
    let s = setup(on).await;
    let first = s.registrar.ensure_deployment("").await.unwrap();
    assert_eq!(s.registrar.ensure_deployment("").await.unwrap(), first);
    let refused = s.registrar.ensure_deployment("another").await.unwrap_err();
    assert!(matches!(refused, RegistryError::OtherRealm { .. }), "{refused}");
}

async fn a_race_for_one_slug_gives_one_id(on: On) {
    let s = setup(on).await;
    let mut set = tokio::task::JoinSet::new();
    for _ in 0..20 {
        let registrar = Arc::clone(&s.registrar);
        set.spawn(async move { registrar.ensure_tenant("acme", "Acme").await.unwrap().id });
    }
    let ids: std::collections::HashSet<_> = set.join_all().await.into_iter().collect();
    assert_eq!(ids.len(), 1);
    assert!(s.registrar.ensure_tenant("Not A Slug", "x").await.is_err());
    assert_eq!(tenants::list(&mut s.database.control().await.unwrap()).await.unwrap().len(), 1);
}

async fn entries_are_pending_until_reported_and_again_after_a_change(on: On) {
    let s = setup(on).await;
    let tenant = s.registrar.ensure_tenant("acme", "Acme").await.unwrap().id;
    let mut notices = s.database.notices();
    let declare = |spec| s.registrar.declare(tenant, Product::Kms, [("key", "k".to_owned(), spec)]);
    let pending = async || desired::pending(&mut s.database.control().await.unwrap(), Product::Kms).await.unwrap();
    let report = async |status| {
        let entry = pending().await.remove(0);
        let mut tx = s.database.control().await.unwrap();
        let (spec_hash, reason, message) = (entry.spec_hash.clone(), "R".to_owned(), "why".to_owned());
        observed::write(&mut tx, &entry, &Observed { spec_hash, object_id: None, status, reason, message })
            .await
            .unwrap();
        tx.commit().await.unwrap();
        entry.generation
    };
    declare(json!({"a": 1})).await.unwrap();
    told(&mut notices, Notice::Desired(Product::Kms)).await;
    assert_eq!(report(DesiredStatus::Failed).await, 1);
    assert_eq!(
        observed::failures(&mut s.database.control().await.unwrap(), Product::Kms).await.unwrap(),
        ["key/k: why"]
    );
    assert_eq!(report(DesiredStatus::Ready).await, 1, "what failed is tried again");
    declare(json!({"a": 1})).await.unwrap();
    assert!(pending().await.is_empty(), "an unchanged entry stays done");
    declare(json!({"a": 2})).await.unwrap();
    assert_eq!(report(DesiredStatus::Ready).await, 2);
    assert!(desired::pending(&mut s.database.control().await.unwrap(), Product::Identity).await.unwrap().is_empty());
}

async fn a_deleted_tenant_gets_a_new_id(on: On) {
    let s = setup(on).await;
    let first = s.registrar.ensure_tenant("acme", "Acme").await.unwrap().id;
    s.registrar.declare(first, Product::Kms, [("key", "k".to_owned(), json!({}))]).await.unwrap();
    assert_eq!(s.registrar.delete_tenant("acme").await.unwrap(), Some(first));
    assert_eq!(s.registrar.delete_tenant("acme").await.unwrap(), None);
    let second = s.registrar.ensure_tenant("acme", "Acme").await.unwrap().id;
    assert_ne!(first, second);
    assert_eq!(desired::count(&mut s.database.control().await.unwrap(), second, Product::Kms).await.unwrap(), 0);
}

async fn revocations_last_until_their_end_and_are_told(on: On) {
    let s = setup(on).await;
    let at = Timestamp::from_seconds;
    let revoke = |value: &str, until| Revocation { kind: RevocationKind::Sid, value: value.into(), until: at(until) };
    let mut notices = s.database.notices();
    let mut tx = s.database.control().await.unwrap();
    revocations::add(&mut tx, &[revoke("a", 10), revoke("a", 5), revoke("b", 3)], at(1)).await.unwrap();
    tx.commit().await.unwrap();
    told(&mut notices, Notice::Revocations).await;
    let in_force = async |now| revocations::in_force(&mut s.database.control().await.unwrap(), at(now)).await.unwrap();
    assert_eq!(in_force(2).await.len(), 2);
    assert_eq!(in_force(4).await, [revoke("a", 10)], "the later end counts");
    assert!(in_force(10).await.is_empty());
}

async fn instances_are_fresh_gone_or_removed(on: On) {
    let s = setup(on).await;
    let instance = |seconds| Instance {
        id: InstanceId::new(&SystemClock, &SystemRandom),
        product: "kms".into(),
        ready: true,
        chain_sha256: "c".into(),
        bundle_sha256: "b".into(),
        schema_version: 1,
        heartbeat: Timestamp::from_seconds(seconds),
    };
    let (old, new) = (instance(1_000), instance(1_200));
    let mut tx = s.database.control().await.unwrap();
    instances::write(&mut tx, &old).await.unwrap();
    instances::write(&mut tx, &new).await.unwrap();
    assert_eq!(instances::fresh(&mut tx, Timestamp::from_seconds(1_100)).await.unwrap(), std::slice::from_ref(&new));
    assert_eq!(instances::fresh(&mut tx, Timestamp::from_seconds(0)).await.unwrap().len(), 2);
    instances::write(&mut tx, &instance(2_000)).await.unwrap();
    assert_eq!(
        instances::fresh(&mut tx, Timestamp::from_seconds(0)).await.unwrap().len(),
        1,
        "five minutes of silence"
    );
    instances::remove(&mut tx, new.id).await.unwrap();
}

on_each_database!(
    one_deployment_id_and_one_realm,
    a_race_for_one_slug_gives_one_id,
    entries_are_pending_until_reported_and_again_after_a_change,
    a_deleted_tenant_gets_a_new_id,
    revocations_last_until_their_end_and_are_told,
    instances_are_fresh_gone_or_removed,
);
