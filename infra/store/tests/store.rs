//! The store over real files and a real server: isolation, notices, epochs, locks, migrations that survive a kill.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "helpers of tests fail the test")]

use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use keyrealm_base::TenantId;
use keyrealm_store::{Database, Migration, Notice, Product, Space, Sql, StatementHook, StoreError, TenantAccess};
use keyrealm_testkit::{On, TestDatabase, on_each_database};

const TABLES: &[Migration] = &[
    Migration {
        version: 1,
        statements: &["CREATE TABLE {s}things (id BIGINT PRIMARY KEY, name TEXT UNIQUE, data {blob})"],
    },
    Migration {
        version: 2,
        statements: &["ALTER TABLE {s}things ADD COLUMN extra TEXT", "INSERT INTO {s}things (id) VALUES (0)"],
    },
];

fn tenant(n: u8) -> TenantId {
    format!("00000000-0000-4000-8000-0000000000{n:02x}").parse().unwrap()
}

fn space(n: u8) -> Space {
    Space::Tenant(Product::Kms, tenant(n))
}

async fn put(database: &Database, n: u8, id: i64, name: &str, access: TenantAccess) -> Result<(), StoreError> {
    let mut tx = database.tenant(Product::Kms, tenant(n), access).await?;
    tx.execute(
        Sql::new("INSERT INTO {s}things (id, name, data) VALUES ($1, $2, $3)").bind(id).bind(name).bind([1_u8, 2]),
    )
    .await?;
    tx.commit().await
}

async fn names(database: &Database, n: u8) -> Vec<String> {
    let mut tx = database.tenant(Product::Kms, tenant(n), TenantAccess::Read).await.unwrap();
    let rows = tx.fetch(Sql::new("SELECT name FROM {s}things WHERE name IS NOT NULL ORDER BY id")).await.unwrap();
    rows.iter().map(|row| row.get("name").unwrap()).collect()
}

async fn rows_lie_in_their_tenants_space_and_survive_a_restart(on: On) {
    let test = TestDatabase::new(on).await;
    {
        let database = test.open_bound(Product::Kms, None).await;
        for n in 1..=25 {
            database.migrate(space(n), TABLES).await.unwrap();
            put(&database, n, 1, &format!("name-{n}"), TenantAccess::Change).await.unwrap();
        }
        database.close().await;
    }
    let database = test.open_bound(Product::Kms, None).await;
    for n in 1..=25 {
        assert_eq!(names(&database, n).await, [format!("name-{n}")]);
    }
    if on == On::Sqlite {
        let file = test.folder().join("data").join(format!("{}.sqlite", space(1)));
        let mode = std::os::unix::fs::MetadataExt::mode(&file.metadata().unwrap());
        assert_eq!(mode & 0o777, 0o600);
    }
    database.drop_tenant(Product::Kms, tenant(1)).await.unwrap();
    database.migrate(space(1), TABLES).await.unwrap();
    assert!(names(&database, 1).await.is_empty(), "a dropped tenant starts anew");
}

#[tokio::test]
async fn a_second_process_and_a_foreign_file_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let database = Database::open_sqlite(folder.path(), None).unwrap();
    let second = Database::open_sqlite(folder.path(), None).err().unwrap().to_string();
    assert!(second.contains("in use") && second.contains("database.postgres"), "{second}");
    assert!(matches!(database.realm(Product::Kms).await, Err(StoreError::NotPrepared { .. })));
    std::fs::write(folder.path().join("kms_realm.sqlite"), b"this is no database at all, but text").unwrap();
    let refused = database.realm(Product::Kms).await.err().unwrap();
    assert!(refused.to_string().contains("kms_realm.sqlite"), "{refused}");
}

/// Only a change bumps the epoch and tells others; a rolled back one does neither.
async fn epochs_and_notices_go_with_changes_only(on: On) {
    let test = TestDatabase::new(on).await;
    let database = test.open_bound(Product::Kms, None).await;
    database.migrate(space(1), TABLES).await.unwrap();
    let mut notices = database.notices();
    put(&database, 1, 1, "plain", TenantAccess::Plain).await.unwrap();
    let dropped = database.tenant(Product::Kms, tenant(1), TenantAccess::Change).await.unwrap();
    drop(dropped);
    put(&database, 1, 2, "change", TenantAccess::Change).await.unwrap();
    put(&database, 1, 3, "change again", TenantAccess::Change).await.unwrap();
    let mut epochs = Vec::new();
    // From a server each may be heard twice: from here and from there.
    while let Ok(Ok(notice)) = tokio::time::timeout(Duration::from_millis(300), notices.recv()).await {
        if let Notice::Epoch(Product::Kms, of, epoch) = notice {
            epochs.push((of, epoch));
        }
    }
    epochs.sort_by_key(|(_, epoch)| *epoch);
    epochs.dedup();
    assert_eq!(epochs, [(tenant(1), 1), (tenant(1), 2)]);
    let mut tx = database.tenant(Product::Kms, tenant(1), TenantAccess::Read).await.unwrap();
    assert_eq!(tx.epoch().await.unwrap(), 2);
    let write = tx.execute(Sql::new("DELETE FROM {s}things")).await;
    assert!(write.is_err(), "a reader cannot write");
}

async fn a_taken_name_is_told_apart_and_rolls_back(on: On) {
    let test = TestDatabase::new(on).await;
    let database = test.open_bound(Product::Kms, None).await;
    database.migrate(space(1), TABLES).await.unwrap();
    put(&database, 1, 1, "one", TenantAccess::Plain).await.unwrap();
    let refused = put(&database, 1, 2, "one", TenantAccess::Change).await.unwrap_err();
    assert!(matches!(refused, StoreError::Unique { .. }), "{refused}");
    assert_eq!(names(&database, 1).await, ["one"]);
    database.migrate(space(2), TABLES).await.unwrap();
    put(&database, 2, 1, "one", TenantAccess::Plain).await.unwrap();
}

async fn writers_wait_for_each_other_and_readers_for_nobody(on: On) {
    let test = TestDatabase::new(on).await;
    let database = test.open_bound(Product::Kms, None).await;
    database.migrate(space(1), TABLES).await.unwrap();
    let mut set = tokio::task::JoinSet::new();
    for id in 1..=50 {
        let database = Arc::clone(&database);
        set.spawn(async move {
            put(&database, 1, id, &id.to_string(), TenantAccess::Change).await.unwrap();
            names(&database, 1).await.len()
        });
    }
    set.join_all().await;
    assert_eq!(names(&database, 1).await.len(), 50);
}

async fn tables_of_a_newer_release_are_left_alone(on: On) {
    let test = TestDatabase::new(on).await;
    let database = test.open_bound(Product::Kms, None).await;
    database.migrate(space(1), TABLES).await.unwrap();
    let refused = database.migrate(space(1), &TABLES[..1]).await.unwrap_err();
    assert!(matches!(refused, StoreError::Newer { found: 2, known: 1, .. }), "{refused}");
}

/// The child of the next test: migrates all tenants and dies at the given statement, as by kill -9.
#[test]
fn child_migrates_until_it_dies() {
    let (Ok(settings), Ok(at)) = (std::env::var("KEYREALM_CHILD_DATABASE"), std::env::var("KEYREALM_CHILD_AT")) else {
        return;
    };
    let settings: keyrealm_config::Database = serde_json::from_str(&settings).unwrap();
    let (at, seen) = (at.parse::<usize>().unwrap(), AtomicUsize::new(0));
    let hook: StatementHook = Arc::new(move |_, _| {
        if seen.fetch_add(1, Ordering::SeqCst) == at {
            std::process::abort();
        }
    });
    tokio::runtime::Runtime::new().unwrap().block_on(async {
        let database = Database::open(&settings, Product::Kms, Some(hook)).await.unwrap();
        database.migrate(Space::Control, &[]).await.unwrap();
        database.bind(std::env::var("KEYREALM_CHILD_DEPLOYMENT").unwrap().parse().unwrap()).unwrap();
        for n in 0..tenants() {
            database.migrate(Space::Tenant(Product::Kms, many(n)), TABLES).await.unwrap();
        }
    });
}

/// As many as the environment says: a full run takes 500.
fn tenants() -> u16 {
    std::env::var("KEYREALM_TEST_TENANTS").map_or(500, |text| text.parse().unwrap())
}

fn many(n: u16) -> TenantId {
    format!("00000000-0000-4000-8000-00000001{n:04x}").parse().unwrap()
}

/// Killed between any two statements, run again: all 500 tenants end whole, each migration ran once.
async fn migrations_end_whole_after_a_kill(on: On) {
    let test = TestDatabase::new(on).await;
    // Each kind of statement of the first tenants, then somewhere in the middle.
    for at in (0..14).chain([101, 700, 1_500]) {
        let child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "child_migrates_until_it_dies"])
            .env("KEYREALM_CHILD_DATABASE", serde_json::to_string(&test.settings(Product::Kms)).unwrap())
            .env("KEYREALM_CHILD_DEPLOYMENT", test.deployment.to_string())
            .env("KEYREALM_CHILD_AT", at.to_string())
            .output()
            .unwrap();
        assert!(!child.status.success(), "the child dies at statement {at}");
    }
    let database = test.open_bound(Product::Kms, None).await;
    for n in 0..tenants() {
        database.migrate(Space::Tenant(Product::Kms, many(n)), TABLES).await.unwrap();
        let mut tx = database.tenant(Product::Kms, many(n), TenantAccess::Read).await.unwrap();
        let rows = tx.fetch(Sql::new("SELECT id, extra FROM {s}things")).await.unwrap();
        assert_eq!(rows.len(), 1, "tenant {n}: migration 2 ran exactly once");
    }
}

/// Who comes late to a tenant that was dropped finds nothing, and makes nothing.
async fn only_a_migration_makes_a_space(on: On) {
    let test = TestDatabase::new(on).await;
    let database = test.open_bound(Product::Kms, None).await;
    assert!(!database.has_tenants(Product::Kms).await.unwrap());
    database.migrate(Space::Realm(Product::Kms), TABLES).await.unwrap();
    assert!(!database.has_tenants(Product::Kms).await.unwrap(), "the realm level is no tenant");
    for n in 1..=2 {
        let late = put(&database, n, 1, "late", TenantAccess::Plain).await.unwrap_err();
        assert!(matches!(late, StoreError::NotPrepared { .. }), "{late}");
        database.migrate(space(n), TABLES).await.unwrap();
        assert!(database.has_tenants(Product::Kms).await.unwrap());
        put(&database, n, 1, "early", TenantAccess::Change).await.unwrap();
        database.drop_tenant(Product::Kms, tenant(n)).await.unwrap();
        let late = put(&database, n, 2, "late", TenantAccess::Change).await.unwrap_err();
        assert!(matches!(late, StoreError::NotPrepared { .. }), "{late}");
        if on == On::Sqlite {
            assert!(!test.folder().join("data").join(format!("{}.sqlite", space(n))).exists());
        }
    }
    assert!(!database.has_tenants(Product::Kms).await.unwrap());
    database.erase(space(1), "things", Sql::new("DELETE FROM {s}things")).await.unwrap();
}

/// A reader of the registry does not wait for its writer.
async fn readers_of_the_registry_wait_for_nobody(on: On) {
    let test = TestDatabase::new(on).await;
    let database = test.open_bound(Product::Kms, None).await;
    database.migrate(Space::Realm(Product::Kms), TABLES).await.unwrap();
    let (_control, _realm) = (database.control().await.unwrap(), database.realm(Product::Kms).await.unwrap());
    let read = async {
        drop(database.control_read().await.unwrap());
        let mut realm = database.realm_read(Product::Kms).await.unwrap();
        realm.fetch(Sql::new("SELECT id FROM {s}things")).await.unwrap();
        assert!(realm.execute(Sql::new("DELETE FROM {s}things")).await.is_err(), "a reader cannot write");
    };
    tokio::time::timeout(Duration::from_secs(5), read).await.unwrap();
}

/// A report that meets another row than the one it follows on: where both are one transaction nothing is written; where they
/// are two, the change holds, its caller is told so, and the next one is not kept waiting.
async fn a_report_that_does_not_fit_never_belies_the_commit(on: On) {
    let test = TestDatabase::new(on).await;
    let database = test.open_bound(Product::Kms, None).await;
    database.migrate(Space::Realm(Product::Kms), TABLES).await.unwrap();
    database.migrate(space(1), TABLES).await.unwrap();
    for id in 1..=2_i64 {
        let mut tx = database.tenant(Product::Kms, tenant(1), TenantAccess::Change).await.unwrap();
        tx.execute(Sql::new("INSERT INTO {s}things (id, name) VALUES ($1, $2)").bind(id).bind(format!("x{id}")))
            .await
            .unwrap();
        tx.report(Sql::new("UPDATE {s}things SET name = 'reported' WHERE id = 77"));
        let committed = tx.commit().await;
        let there = names(&database, 1).await.len();
        match on {
            On::Sqlite => assert_eq!((committed.is_ok(), there), (true, usize::try_from(id).unwrap())),
            On::Postgres => {
                assert!(matches!(committed, Err(StoreError::Overtaken { .. })));
                assert_eq!(there, 0);
            }
        }
    }
}

on_each_database!(
    only_a_migration_makes_a_space,
    readers_of_the_registry_wait_for_nobody,
    a_report_that_does_not_fit_never_belies_the_commit,
    rows_lie_in_their_tenants_space_and_survive_a_restart,
    epochs_and_notices_go_with_changes_only,
    a_taken_name_is_told_apart_and_rolls_back,
    writers_wait_for_each_other_and_readers_for_nobody,
    tables_of_a_newer_release_are_left_alone,
    migrations_end_whole_after_a_kill,
);
