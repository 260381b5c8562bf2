//! The store over real files: isolation, notices, epochs, locks, migrations that survive a kill.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "helpers of tests fail the test")]

use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use keyrealm_base::TenantId;
use keyrealm_store::{Database, Migration, Notice, Product, Space, Sql, StatementHook, StoreError, TenantAccess};

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

#[tokio::test]
async fn rows_lie_in_their_tenants_file_and_survive_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    {
        let database = Database::open_sqlite(folder.path(), None).unwrap();
        for n in 1..=25 {
            database.migrate(space(n), TABLES).await.unwrap();
            put(&database, n, 1, &format!("name-{n}"), TenantAccess::Change).await.unwrap();
        }
        database.close().await;
    }
    let database = Database::open_sqlite(folder.path(), None).unwrap();
    for n in 1..=25 {
        assert_eq!(names(&database, n).await, [format!("name-{n}")]);
    }
    let mode =
        std::os::unix::fs::MetadataExt::mode(&folder.path().join(format!("{}.sqlite", space(1))).metadata().unwrap());
    assert_eq!(mode & 0o777, 0o600);
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
    std::fs::write(folder.path().join("kms_realm.sqlite"), b"this is no database at all, but text").unwrap();
    let refused = database.realm(Product::Kms).await.err().unwrap();
    assert!(refused.to_string().contains("kms_realm.sqlite"), "{refused}");
}

/// Only a change bumps the epoch and tells others; a rolled back one does neither.
#[tokio::test]
async fn epochs_and_notices_go_with_changes_only() {
    let folder = tempfile::tempdir().unwrap();
    let database = Database::open_sqlite(folder.path(), None).unwrap();
    database.migrate(space(1), TABLES).await.unwrap();
    let mut notices = database.notices();
    put(&database, 1, 1, "plain", TenantAccess::Plain).await.unwrap();
    let dropped = database.tenant(Product::Kms, tenant(1), TenantAccess::Change).await.unwrap();
    drop(dropped);
    put(&database, 1, 2, "change", TenantAccess::Change).await.unwrap();
    put(&database, 1, 3, "change again", TenantAccess::Change).await.unwrap();
    assert_eq!(notices.recv().await.unwrap(), Notice::Epoch(Product::Kms, tenant(1), 1));
    assert_eq!(notices.recv().await.unwrap(), Notice::Epoch(Product::Kms, tenant(1), 2));
    assert!(notices.try_recv().is_err());
    let mut tx = database.tenant(Product::Kms, tenant(1), TenantAccess::Read).await.unwrap();
    assert_eq!(tx.epoch().await.unwrap(), 2);
    let write = tx.execute(Sql::new("DELETE FROM {s}things")).await;
    assert!(write.is_err(), "a reader cannot write");
}

#[tokio::test]
async fn a_taken_name_is_told_apart_and_rolls_back() {
    let folder = tempfile::tempdir().unwrap();
    let database = Database::open_sqlite(folder.path(), None).unwrap();
    database.migrate(space(1), TABLES).await.unwrap();
    put(&database, 1, 1, "one", TenantAccess::Plain).await.unwrap();
    let refused = put(&database, 1, 2, "one", TenantAccess::Change).await.unwrap_err();
    assert!(matches!(refused, StoreError::Unique { .. }), "{refused}");
    assert_eq!(names(&database, 1).await, ["one"]);
    database.migrate(space(2), TABLES).await.unwrap();
    put(&database, 2, 1, "one", TenantAccess::Plain).await.unwrap();
}

#[tokio::test]
async fn writers_wait_for_each_other_and_readers_for_nobody() {
    let folder = tempfile::tempdir().unwrap();
    let database = Database::open_sqlite(folder.path(), None).unwrap();
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

#[tokio::test]
async fn tables_of_a_newer_release_are_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let database = Database::open_sqlite(folder.path(), None).unwrap();
    database.migrate(space(1), TABLES).await.unwrap();
    let refused = database.migrate(space(1), &TABLES[..1]).await.unwrap_err();
    assert!(matches!(refused, StoreError::Newer { found: 2, known: 1, .. }), "{refused}");
}

const TENANTS: u8 = 40;

/// The child of the next test: migrates all tenants and dies at the given statement, as by kill -9.
#[test]
fn child_migrates_until_it_dies() {
    let (Ok(folder), Ok(at)) = (std::env::var("KEYREALM_CHILD_FOLDER"), std::env::var("KEYREALM_CHILD_AT")) else {
        return;
    };
    let (at, seen) = (at.parse::<usize>().unwrap(), AtomicUsize::new(0));
    let hook: StatementHook = Arc::new(move |_, _| {
        if seen.fetch_add(1, Ordering::SeqCst) == at {
            std::process::abort();
        }
    });
    tokio::runtime::Runtime::new().unwrap().block_on(async {
        let database = Database::open_sqlite(Path::new(&folder), Some(hook)).unwrap();
        for n in 1..=TENANTS {
            database.migrate(space(n), TABLES).await.unwrap();
        }
    });
}

/// Killed between any two statements, run again: every tenant ends whole, each migration ran once.
#[tokio::test]
async fn migrations_end_whole_after_a_kill() {
    let folder = tempfile::tempdir().unwrap();
    for at in [0, 3, 4, 5, 6, 7, 8, 9, 10, 101, 130, 155] {
        let child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "child_migrates_until_it_dies"])
            .env("KEYREALM_CHILD_FOLDER", folder.path())
            .env("KEYREALM_CHILD_AT", at.to_string())
            .output()
            .unwrap();
        assert!(!child.status.success(), "the child dies at statement {at}");
    }
    let database = Database::open_sqlite(folder.path(), None).unwrap();
    for n in 1..=TENANTS {
        database.migrate(space(n), TABLES).await.unwrap();
        let mut tx = database.tenant(Product::Kms, tenant(n), TenantAccess::Read).await.unwrap();
        let rows = tx.fetch(Sql::new("SELECT id, extra FROM {s}things")).await.unwrap();
        assert_eq!(rows.len(), 1, "tenant {n}: migration 2 ran exactly once");
    }
}
