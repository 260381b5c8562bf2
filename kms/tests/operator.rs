//! The KMS as it runs in a cluster: the operator makes logins, schemas and rows, and learns from rows how the KMS stands.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "helpers of tests fail the test")]

mod support;

use std::sync::Arc;
use std::time::{Duration, Instant};

use http::Method;
use keyrealm_barrier::UnsealKey;
use keyrealm_base::{SharedClock, SystemClock};
use keyrealm_crypto::{SecretBytes, SystemRandom};
use keyrealm_registry::{
    Declared, DesiredStatus, NewTenant, Observed, OnRemove, Registrar, all_seen, instances, observed,
};
use keyrealm_store::{Database, Notice, Notices, Product};
use keyrealm_testkit::{On, TestClock, TestDatabase, TestIssuer, TestTls, on_each_database};
use serde_json::{Value, json};
use support::{AUDIENCE, Kms, code};

/// How soon one hears of the other.
const SOON: Duration = Duration::from_secs(1);
const LATE: Duration = Duration::from_secs(20);

fn registrar(database: &Arc<Database>) -> Registrar {
    Registrar::new(Arc::clone(database), Arc::new(SystemClock), Arc::new(SystemRandom))
}

fn key(name: &str, on_remove: OnRemove) -> Declared {
    let (kind, spec) = ("key".to_owned(), json!({"algorithm": "ES256"}));
    Declared { product: Product::Kms, kind, name: name.to_owned(), spec, on_remove }
}

/// Declares what is there already, and these.
async fn declare(kms: &Kms, keys: &[(&str, OnRemove)]) {
    let keys = keys.iter().map(|(name, on_remove)| key(name, *on_remove)).collect();
    registrar(&kms.database).declare_all(kms.tenants[0], keys).await.unwrap();
}

async fn until(kms: &Kms, name: &str, status: DesiredStatus) -> Observed {
    let began = Instant::now();
    loop {
        let mut tx = kms.database.control_read().await.unwrap();
        let all = observed::of_tenant(&mut tx, kms.tenants[0]).await.unwrap();
        let found = all.into_iter().find(|entry| entry.name == name).map(|entry| entry.observed);
        if let Some(found) = found.clone().filter(|found| found.status == status) {
            return found;
        }
        drop(tx);
        assert!(began.elapsed() < LATE, "{name} is not {status:?}: {found:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

async fn found(kms: &Kms, name: &str) -> Value {
    kms.get(&format!("/api/v1/keys?name[]={name}")).await.json()["items"][0].clone()
}

/// A key that is to be disabled with its entry does nothing from then on, and everything when the entry is back. One that
/// was made through the API is left alone, whatever an entry of its name says.
async fn a_key_is_disabled_with_its_entry_and_enabled_with_it(on: On) {
    let kms = Kms::start(on).await;
    kms.key("mine", "ES256").await;
    declare(&kms, &[("off", OnRemove::Disable), ("kept", OnRemove::Orphan), ("mine", OnRemove::Disable)]).await;
    let id = until(&kms, "off", DesiredStatus::Ready).await.object_id.unwrap();
    until(&kms, "kept", DesiredStatus::Ready).await;
    until(&kms, "mine", DesiredStatus::Failed).await;
    declare(&kms, &[]).await;
    let off = until(&kms, "off", DesiredStatus::Disabled).await;
    assert_eq!((off.reason.as_str(), off.object_id.as_deref()), ("EntryRemoved", Some(id.as_str())));
    until(&kms, "kept", DesiredStatus::Orphaned).await;
    until(&kms, "mine", DesiredStatus::Orphaned).await;
    for (name, state) in [("off", "disabled"), ("kept", "active"), ("mine", "active")] {
        let key = found(&kms, name).await;
        assert_eq!((&key["state"], &key["managed_by"]), (&json!(state), &json!("api")), "{name}");
    }
    declare(&kms, &[("off", OnRemove::Disable)]).await;
    assert_eq!(until(&kms, "off", DesiredStatus::Ready).await.object_id, Some(id));
    assert_eq!(found(&kms, "off").await["state"], "active");
    assert_eq!(found(&kms, "off").await["managed_by"], "resource");
}

/// The next notice of this kind.
async fn told(notices: &mut Notices, wanted: impl Fn(Notice) -> bool) {
    let heard = async { while !wanted(notices.recv().await.unwrap()) {} };
    tokio::time::timeout(LATE, heard).await.unwrap();
}

/// Everything under the logins that the operator makes: rows are taken and answered within a second, and the operator need
/// not ask for it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_operators_rows_are_taken_and_answered_within_a_second() {
    let test = TestDatabase::new(On::Postgres).await;
    let own = test.open_registrar(None).await;
    let operator = registrar(&own);
    operator.ensure_deployment("a-realm").await.unwrap();
    let passwords = Product::ALL.map(|product| (product, SecretBytes::copy_of(b"a-password")));
    let logins = operator.ensure_logins(&passwords).await.unwrap();
    operator.ensure_realm_schemas().await.unwrap();
    let settings = test.settings_with(Product::Kms, &logins[0].1, "a-password");
    let database = Database::open(&settings, Product::Kms, None).await.unwrap();
    let (tls, clock) = (TestTls::new(), TestClock::default());
    let shared: SharedClock = Arc::new(clock.clone());
    let issuer = TestIssuer::start(&tls, shared, AUDIENCE).await;
    let (client, unseal) = (tls.client(), UnsealKey::generate(&SystemRandom));
    let mut kms = Kms { tls, clock, issuer, database, running: None, client, tenants: vec![], test, unseal };
    let running = kms.server(Arc::clone(&kms.database)).await;
    kms.running = Some(running);
    own.wait_fresh().await.unwrap();
    let mut notices = own.notices();
    let fresh = async || instances::fresh(&mut own.control_read().await.unwrap(), instances::FRESH).await.unwrap();
    let mut times = Vec::new();
    for n in 0..5 {
        let (slug, display_name) = (format!("tenant-{n}"), String::new());
        let new = NewTenant { slug, display_name, id: None, owner: format!("owner-{n}"), home: String::new() };
        let began = Instant::now();
        let tenant = operator.create_tenant(&new).await.unwrap().tenant;
        let declared = operator.declare_all(tenant.id, vec![key("signing", OnRemove::Disable)]).await.unwrap();
        // Of its tables, and of its entry.
        let all = loop {
            told(&mut notices, |notice| notice == Notice::Observed(Product::Kms, tenant.id)).await;
            let all = observed::of_tenant(&mut own.control_read().await.unwrap(), tenant.id).await.unwrap();
            if !all.is_empty() {
                break all;
            }
        };
        assert_eq!(all[0].observed.status, DesiredStatus::Ready);
        while !all_seen(&fresh().await, declared.unwrap()) {
            told(&mut notices, |notice| notice == Notice::Instances).await;
        }
        times.push(began.elapsed());
        let versions = operator.versions().await.unwrap()[&tenant.id];
        assert_eq!(versions.kms, fresh().await[0].schema_version);
        kms.tenants.push(tenant.id);
    }
    times.sort();
    assert!(times[times.len() / 2] < SOON, "told, not found out: {times:?}");
    assert_eq!(fresh().await.len(), 1, "one process");
    // A tenant without any entry has its tables, too.
    let new = NewTenant {
        slug: "bare".into(),
        display_name: String::new(),
        id: None,
        owner: "bare".into(),
        home: String::new(),
    };
    let bare = operator.create_tenant(&new).await.unwrap().tenant;
    while !all_seen(&fresh().await, bare.changed) {
        told(&mut notices, |notice| notice == Notice::Instances).await;
    }
    assert!(operator.versions().await.unwrap()[&bare.id].kms > 0);
    // Disabled and seen: nobody is served any more.
    assert_eq!(found(&kms, "signing").await["name"], "signing");
    let generation = operator.disable_tenant(kms.tenants[0], "owner-0").await.unwrap();
    while !all_seen(&fresh().await, generation) {
        told(&mut notices, |notice| notice == Notice::Instances).await;
    }
    let refused = kms.call(&kms.token("kms:admin"), Method::GET, "/api/v1/keys", None).await;
    assert_eq!((refused.status.as_u16(), code(&refused).as_str()), (503, "tenant-unavailable"));
    // A process that ends in order is gone at once.
    kms.running.take().unwrap().shutdown().await;
    told(&mut notices, |notice| notice == Notice::Instances).await;
    assert!(fresh().await.is_empty());
}

on_each_database!(a_key_is_disabled_with_its_entry_and_enabled_with_it,);
