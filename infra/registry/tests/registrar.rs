//! The registrar over real files and a real server.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "helpers of tests fail the test")]

use std::sync::Arc;
use std::time::Duration;

use keyrealm_base::InstanceId;
use keyrealm_base::{SystemClock, Timestamp};
use keyrealm_crypto::SystemRandom;
use keyrealm_registry::{
    Condition, DesiredStatus, Instance, Observed, Presence, Registrar, RegistryError, Revocation, RevocationKind,
    desired, instances, observed, revocations, tenants,
};
use keyrealm_store::{
    Database, Migration, Notice, Notices, Product, Space, Sql, StatementHook, StoreError, TenantAccess,
};
use keyrealm_testkit::{On, SilentProxy, TestDatabase, on_each_database};
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
        seen: 7,
    };
    // By the clocks of their machines one is a year late and one a year early.
    let (late, early) = (instance(1_000), instance(9_000_000_000));
    let write = async |instance: &Instance| {
        let mut tx = s.database.control().await.unwrap();
        instances::write(&mut tx, instance).await.unwrap();
        tx.commit().await.unwrap();
    };
    let fresh =
        async || instances::fresh(&mut s.database.control_read().await.unwrap(), instances::FRESH).await.unwrap();
    let silent = async |seconds: i64| {
        let mut tx = s.database.control().await.unwrap();
        let sql = Sql::new("UPDATE {s}instances SET beat = beat - $1 WHERE id = $2");
        tx.execute(sql.bind(seconds * 1000).bind(late.id)).await.unwrap();
        tx.commit().await.unwrap();
    };
    write(&late).await;
    write(&early).await;
    assert_eq!(fresh().await.len(), 2, "the database's clock counts");
    silent(13).await;
    assert_eq!(fresh().await, std::slice::from_ref(&early), "thirteen seconds of silence");
    write(&late).await;
    assert_eq!(fresh().await.len(), 2, "it is back");
    silent(3_601).await;
    write(&early).await;
    let sql = Sql::new("SELECT id FROM {s}instances");
    let rows = s.database.control_read().await.unwrap().fetch(sql).await.unwrap();
    assert_eq!(rows.len(), 1, "an hour of silence");
    let mut tx = s.database.control().await.unwrap();
    instances::remove(&mut tx, early.id).await.unwrap();
    tx.commit().await.unwrap();
    assert!(fresh().await.is_empty());
}

/// What a product keeps, as far as deleting it goes.
const REALM: &[Migration] =
    &[Migration { version: 1, statements: &["CREATE TABLE {s}heads (tenant TEXT PRIMARY KEY, seq BIGINT)"] }];
const TENANT: &[Migration] =
    &[Migration { version: 1, statements: &["CREATE TABLE {s}barrier_keys (id TEXT PRIMARY KEY)"] }];

/// Ended before any of its steps and tried again: in the end there is nothing left of the tenant, and on the way it is
/// disabled before its keys go, and its keys go before its tables.
async fn deleting_a_tenant_ends_whole_after_a_crash_at_any_step(on: On) {
    use std::sync::atomic::{AtomicUsize, Ordering};
    let test = TestDatabase::new(on).await;
    let (left, steps) = (Arc::new(AtomicUsize::new(usize::MAX)), Arc::new(std::sync::Mutex::new(Vec::new())));
    let hook: StatementHook = {
        let (left, steps) = (Arc::clone(&left), Arc::clone(&steps));
        Arc::new(move |space, text| {
            if left.load(Ordering::SeqCst) != usize::MAX {
                // As a crash does it: what is under way is rolled back, and nobody goes on.
                assert!(left.fetch_sub(1, Ordering::SeqCst) > 0, "the crash");
                steps.lock().unwrap().push((space, text.to_owned()));
            }
        })
    };
    let database = test.open(Product::Kms, Some(hook)).await;
    let registrar = Registrar::new(Arc::clone(&database), Arc::new(SystemClock), Arc::new(SystemRandom));
    let registrar = Arc::new(registrar);
    registrar.ensure_deployment("").await.unwrap();
    database.migrate(Space::Realm(Product::Kms), REALM).await.unwrap();
    let mut crashes = 0;
    loop {
        let tenant = registrar.ensure_tenant("acme", "Acme").await.unwrap().id;
        registrar.declare(tenant, Product::Kms, [("key", "k".to_owned(), json!({}))]).await.unwrap();
        let space = Space::Tenant(Product::Kms, tenant);
        database.migrate(space, TENANT).await.unwrap();
        let mut tx = database.tenant(Product::Kms, tenant, TenantAccess::Plain).await.unwrap();
        tx.execute(Sql::new("INSERT INTO {s}barrier_keys (id) VALUES ('k')")).await.unwrap();
        tx.commit().await.unwrap();
        let mut realm = database.realm(Product::Kms).await.unwrap();
        realm.execute(Sql::new("INSERT INTO {s}heads (tenant, seq) VALUES ($1, 1)").bind(tenant)).await.unwrap();
        realm.commit().await.unwrap();
        steps.lock().unwrap().clear();
        left.store(crashes, Ordering::SeqCst);
        let deleting = Arc::clone(&registrar);
        let lived = tokio::spawn(async move { deleting.delete_tenant("acme").await.unwrap() }).await.is_ok();
        left.store(usize::MAX, Ordering::SeqCst);
        let enabled = tenants::by_slug(&mut database.control_read().await.unwrap(), "acme").await.unwrap();
        let keys = match database.tenant(Product::Kms, tenant, TenantAccess::Read).await {
            Ok(mut tx) => tx.fetch(Sql::new("SELECT id FROM {s}barrier_keys")).await.unwrap().len(),
            Err(_) => 0,
        };
        assert!(keys == 1 || enabled.is_none_or(|tenant| !tenant.enabled), "its keys go after it is disabled");
        registrar.delete_tenant("acme").await.unwrap();
        assert!(tenants::by_slug(&mut database.control_read().await.unwrap(), "acme").await.unwrap().is_none());
        assert!(database.tenant(Product::Kms, tenant, TenantAccess::Read).await.is_err());
        let mut realm = database.realm_read(Product::Kms).await.unwrap();
        assert!(realm.fetch(Sql::new("SELECT seq FROM {s}heads")).await.unwrap().is_empty());
        if lived {
            let steps = steps.lock().unwrap();
            let at = |wanted: &str| steps.iter().position(|(_, text)| text.contains(wanted)).unwrap();
            assert!(at("UPDATE {s}tenants") < at("barrier_keys") && at("barrier_keys") < at("DROP"), "{steps:?}");
            assert!(at("DROP") < at("DELETE FROM {s}tenants"), "{steps:?}");
            break;
        }
        crashes += 1;
        assert!(crashes < 40);
    }
    assert!(crashes > 10, "only {crashes} steps");
}

/// Who may do what in `keyrealm`: the design's section 5, table by table.
#[tokio::test]
async fn the_products_logins_have_these_rights_and_no_other() {
    let test = TestDatabase::new(On::Postgres).await;
    for product in [Product::Kms, Product::Identity] {
        let database = test.open(product, None).await;
        let registrar = Registrar::new(database, Arc::new(SystemClock), Arc::new(SystemRandom));
        registrar.ensure_deployment("").await.unwrap();
    }
    let mut connection = test.server().connect(test.name(), "postgres", &test.server().password).await;
    let tables = "SELECT tablename::text FROM pg_tables WHERE schemaname = 'keyrealm' ORDER BY tablename";
    let tables: Vec<String> = sqlx::query_scalar(tables).fetch_all(&mut connection).await.unwrap();
    let expected = [
        "archives",
        "desired",
        "epochs",
        "instances",
        "logins",
        "meta",
        "observed",
        "overlaps",
        "revocations",
        "schema_versions",
        "tenants",
    ];
    assert_eq!(tables, expected, "a new table needs a line here");
    for product in [Product::Kms, Product::Identity] {
        for table in &tables {
            let own = match (table.as_str(), product) {
                ("archives" | "logins" | "overlaps", _) => "",
                ("meta" | "tenants" | "desired", _) | ("revocations", Product::Kms) => "SELECT",
                ("epochs" | "schema_versions", _) => "SELECT INSERT UPDATE",
                ("observed" | "instances", _) | ("revocations", Product::Identity) => "SELECT INSERT UPDATE DELETE",
                (other, _) => panic!("{other}"),
            };
            for right in ["SELECT", "INSERT", "UPDATE", "DELETE", "TRUNCATE", "REFERENCES", "TRIGGER"] {
                let has: bool = sqlx::query_scalar("SELECT has_table_privilege($1, $2, $3)")
                    .bind(test.login(Some(product)))
                    .bind(format!("keyrealm.{table}"))
                    .bind(right)
                    .fetch_one(&mut connection)
                    .await
                    .unwrap();
                assert_eq!(has, own.split(' ').any(|own| own == right), "{product}: {right} on {table}");
            }
        }
        let creates: bool = sqlx::query_scalar("SELECT has_schema_privilege($1, 'keyrealm', 'CREATE')")
            .bind(test.login(Some(product)))
            .fetch_one(&mut connection)
            .await
            .unwrap();
        assert!(!creates);
    }
}

/// Two processes of two products start on a fresh database at once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_processes_that_start_at_once_agree() {
    for _ in 0..10 {
        let test = TestDatabase::new(On::Postgres).await;
        let start = async |product| {
            let database = test.open(product, None).await;
            let registrar = Registrar::new(Arc::clone(&database), Arc::new(SystemClock), Arc::new(SystemRandom));
            let deployment = registrar.ensure_deployment("").await.unwrap().deployment_id;
            let tenant = registrar.ensure_tenant("acme", "Acme").await.unwrap().id;
            database.migrate(Space::Realm(product), REALM).await.unwrap();
            database.migrate(Space::Tenant(product, tenant), TENANT).await.unwrap();
            (deployment, tenant)
        };
        let (one, two, three) = tokio::join!(start(Product::Kms), start(Product::Kms), start(Product::Identity));
        assert!(one == two && two == three);
    }
}

/// Without a registrar the tables may be missing; whatever else is wrong is said as it is.
#[tokio::test]
async fn a_process_that_only_reads_says_what_is_wrong() {
    let test = TestDatabase::new(On::Postgres).await;
    let mut settings = test.settings(Product::Kms);
    settings.registrar = None;
    let database = Database::open(&settings, Product::Kms, None).await.unwrap();
    let reader = Registrar::new(database, Arc::new(SystemClock), Arc::new(SystemRandom));
    let refused = reader.ensure_deployment("").await.unwrap_err();
    assert!(matches!(refused, RegistryError::Store(StoreError::NoRegistrar)), "{refused}");
    let maker = test.open(Product::Kms, None).await;
    let maker = Registrar::new(maker, Arc::new(SystemClock), Arc::new(SystemRandom));
    let made = maker.ensure_deployment("").await.unwrap();
    assert_eq!(reader.ensure_deployment("").await.unwrap(), made);
    test.run(&format!("REVOKE SELECT ON keyrealm.meta FROM {}", test.login(Some(Product::Kms)))).await;
    let refused = reader.ensure_deployment("").await.unwrap_err().to_string();
    assert!(refused.contains("permission denied"), "{refused}");
}

/// The network drops everything: the condition says so, although the lease still holds and no connection ends.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_silent_network_shows_in_the_condition() {
    let mut test = TestDatabase::new(On::Postgres).await;
    test.lease_seconds = 300;
    let proxy = SilentProxy::start(test.server().port).await;
    let mut settings = test.settings(Product::Kms);
    settings.postgres.as_mut().unwrap().port = proxy.port;
    let database = Database::open(&settings, Product::Kms, None).await.unwrap();
    let random: keyrealm_base::SharedRandom = Arc::new(SystemRandom);
    let registrar = Registrar::new(Arc::clone(&database), Arc::new(SystemClock), Arc::clone(&random));
    registrar.ensure_deployment("").await.unwrap();
    database.wait_fresh().await.unwrap();
    let presence = Presence::new(database, Product::Kms, Arc::new(SystemClock), &random);
    let (sender, mut conditions) = tokio::sync::mpsc::unbounded_channel();
    let watching = tokio::spawn(presence.watch(move |condition| drop(sender.send(condition))));
    let next = async |conditions: &mut tokio::sync::mpsc::UnboundedReceiver<Condition>| {
        tokio::time::timeout(Duration::from_secs(20), conditions.recv()).await.unwrap().unwrap()
    };
    assert_eq!(next(&mut conditions).await, Condition::Good);
    proxy.fall_silent();
    while !matches!(next(&mut conditions).await, Condition::Database(_)) {}
    watching.abort();
}

on_each_database!(
    deleting_a_tenant_ends_whole_after_a_crash_at_any_step,
    one_deployment_id_and_one_realm,
    a_race_for_one_slug_gives_one_id,
    entries_are_pending_until_reported_and_again_after_a_change,
    a_deleted_tenant_gets_a_new_id,
    revocations_last_until_their_end_and_are_told,
    instances_are_fresh_gone_or_removed,
);
