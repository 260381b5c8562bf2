//! The barrier over real files: it opens with its key only, and notices every row that is not what it was.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "helpers of tests fail the test")]

use std::path::Path;
use std::sync::Arc;

use keyrealm_barrier::{
    Barrier, BarrierError, Head, HeadError, REALM_STATEMENTS, Record, RecordSet, TENANT_STATEMENTS, UnsealKey,
};
use keyrealm_base::{DeploymentId, SystemClock, TenantId};
use keyrealm_crypto::{SecretBytes, SystemRandom};
use keyrealm_store::{Database, Migration, Product, Space, Sql, StatementHook, TenantAccess};

const REALM: &[Migration] = &[Migration { version: 1, statements: &REALM_STATEMENTS }];
const TENANT: &[Migration] = &[Migration { version: 1, statements: &TENANT_STATEMENTS }];
const RECORD: Record<'_> = Record { table: "t", row: b"r", version: 1, purpose: "p", metadata: b"", state_seq: 1 };

fn tenant(n: u8) -> TenantId {
    format!("00000000-0000-4000-8000-0000000000{n:02x}").parse().unwrap()
}

fn key() -> UnsealKey {
    UnsealKey::parse(&UnsealKey::generate(&SystemRandom)).unwrap()
}

fn deployment() -> DeploymentId {
    DeploymentId::new(&SystemClock, &SystemRandom)
}

async fn database(folder: &Path) -> Arc<Database> {
    open(folder, None).await
}

async fn open(folder: &Path, hook: Option<StatementHook>) -> Arc<Database> {
    let database = Database::open_sqlite(folder, hook).unwrap();
    database.migrate(Space::Realm(Product::Kms), REALM).await.unwrap();
    for n in 1..=2 {
        database.migrate(Space::Tenant(Product::Kms, tenant(n)), TENANT).await.unwrap();
    }
    database
}

async fn unseal(database: &Arc<Database>, deployment: DeploymentId, key: &UnsealKey) -> Result<Barrier, BarrierError> {
    let (clock, random) = (Arc::new(SystemClock), Arc::new(SystemRandom));
    Barrier::unseal(Arc::clone(database), Product::Kms, deployment, key, clock, random).await
}

fn content() -> SecretBytes {
    SecretBytes::copy_of(b"content")
}

#[tokio::test]
async fn records_open_after_a_restart_and_only_where_they_were_sealed() {
    let folder = tempfile::tempdir().unwrap();
    let (deployment, key) = (deployment(), key());
    let sealed = {
        let database = database(folder.path()).await;
        let barrier = unseal(&database, deployment, &key).await.unwrap();
        let sealed = barrier.tenant(tenant(1)).await.unwrap().seal(&RECORD, &content()).unwrap();
        database.close().await;
        sealed
    };
    let database = database(folder.path()).await;
    let barrier = unseal(&database, deployment, &key).await.unwrap();
    let one = barrier.tenant(tenant(1)).await.unwrap();
    assert_eq!(one.open(&RECORD, &sealed).ok().unwrap().expose(), b"content");
    assert!(barrier.tenant(tenant(2)).await.unwrap().open(&RECORD, &sealed).is_err(), "another tenant");
    assert!(barrier.realm().await.unwrap().open(&RECORD, &sealed).is_err(), "the realm level");
}

#[tokio::test]
async fn another_key_and_another_deployment_are_told_apart() {
    let folder = tempfile::tempdir().unwrap();
    let database = database(folder.path()).await;
    let (deployment, key) = (deployment(), key());
    unseal(&database, deployment, &key).await.unwrap();
    let wrong = unseal(&database, deployment, &self::key()).await.err().unwrap();
    assert!(matches!(wrong, BarrierError::WrongUnsealKey(_)));
    assert!(wrong.to_string().contains("barrier.unseal_key_file"), "{wrong}");
    let copied = unseal(&database, self::deployment(), &key).await.err().unwrap();
    assert!(matches!(copied, BarrierError::OtherDeployment(_)));
}

/// A key's row of one tenant put into another's schema does not open.
#[tokio::test]
async fn swapped_key_rows_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let database = database(folder.path()).await;
    let (deployment, key) = (deployment(), key());
    let barrier = unseal(&database, deployment, &key).await.unwrap();
    for n in 1..=2 {
        barrier.tenant(tenant(n)).await.unwrap();
    }
    let mut one = database.tenant(Product::Kms, tenant(1), TenantAccess::Read).await.unwrap();
    let rows = one
        .fetch(Sql::new("SELECT id, parent, sealed FROM {s}barrier_keys WHERE level = 'tenant-root'"))
        .await
        .unwrap();
    let mut two = database.tenant(Product::Kms, tenant(2), TenantAccess::Plain).await.unwrap();
    let (id, parent, sealed): (String, String, Vec<u8>) =
        (rows[0].get("id").unwrap(), rows[0].get("parent").unwrap(), rows[0].get("sealed").unwrap());
    let swap = Sql::new("UPDATE {s}barrier_keys SET id = $1, parent = $2, sealed = $3 WHERE level = 'tenant-root'");
    two.execute(swap.bind(id).bind(parent).bind(sealed)).await.unwrap();
    two.commit().await.unwrap();
    let barrier = unseal(&database, deployment, &key).await.unwrap();
    let refused = barrier.tenant(tenant(2)).await.err().unwrap();
    assert!(refused.to_string().contains("the tenant-root key"), "{refused}");
    barrier.tenant(tenant(1)).await.unwrap();
}

#[tokio::test]
async fn heads_tell_changed_rows_and_rolled_back_schemas() {
    let folder = tempfile::tempdir().unwrap();
    let database = database(folder.path()).await;
    let barrier = unseal(&database, deployment(), &key()).await.unwrap();
    let sealer = barrier.tenant(tenant(1)).await.unwrap();
    let id = tenant(1);
    let set =
        |rows: &[&[u8]]| rows.iter().fold(RecordSet::default(), |set, row| sealer.toggle(set, "t", row, b"sealed"));
    assert_eq!(set(&[b"a", b"b"]), set(&[b"b", b"a"]));
    assert_eq!(set(&[b"a", b"b", b"b"]), set(&[b"a"]));
    let write = async |head: Head, in_realm: bool| {
        let mut tx = database.tenant(Product::Kms, id, TenantAccess::Change).await.unwrap();
        sealer.write_state(&mut tx, head).await.unwrap();
        tx.commit().await.unwrap();
        if in_realm {
            let mut realm = database.realm(Product::Kms).await.unwrap();
            sealer.write_head(id, &mut realm, head).await.unwrap();
            realm.commit().await.unwrap();
        }
    };
    let check = async |found: RecordSet| {
        let mut tx = database.tenant(Product::Kms, id, TenantAccess::Read).await.unwrap();
        let state = sealer.state(id, &mut tx).await?;
        let mut realm = database.realm(Product::Kms).await.unwrap();
        sealer.check(id, &mut realm, state, found).await?;
        realm.commit().await.unwrap();
        Ok::<_, HeadError>(())
    };
    check(RecordSet::default()).await.unwrap();
    let (one, two) = (Head { seq: 1, set: set(&[b"a"]) }, Head { seq: 2, set: set(&[b"a", b"b"]) });
    write(one, true).await;
    check(one.set).await.unwrap();
    assert!(matches!(check(two.set).await, Err(HeadError::Rows(_))), "a row too many");
    write(two, false).await;
    check(two.set).await.unwrap();
    check(two.set).await.unwrap();
    write(one, false).await;
    assert!(matches!(check(one.set).await, Err(HeadError::RolledBack { found: 1, expected: 2, .. })));
    write(Head { seq: 4, set: two.set }, false).await;
    assert!(matches!(check(two.set).await, Err(HeadError::RolledBack { .. })), "two ahead is no crash");
    let mut tx = database.tenant(Product::Kms, id, TenantAccess::Plain).await.unwrap();
    tx.execute(Sql::new("UPDATE {s}state SET seq = 2")).await.unwrap();
    tx.commit().await.unwrap();
    assert!(matches!(check(two.set).await, Err(HeadError::Signature(_))));
}

/// Ended at any statement of the first use, the next start finds all levels or none.
#[test]
fn child_opens_until_it_dies() {
    let (Ok(folder), Ok(at)) = (std::env::var("KEYREALM_CHILD_FOLDER"), std::env::var("KEYREALM_CHILD_AT")) else {
        return;
    };
    let (at, key) =
        (at.parse::<usize>().unwrap(), SecretBytes::new(std::env::var("KEYREALM_CHILD_KEY").unwrap().into_bytes()));
    let seen = std::sync::atomic::AtomicUsize::new(0);
    let hook: StatementHook = Arc::new(move |_, _| {
        if seen.fetch_add(1, std::sync::atomic::Ordering::SeqCst) == at {
            std::process::abort();
        }
    });
    tokio::runtime::Runtime::new().unwrap().block_on(async {
        let database = open(Path::new(&folder), Some(hook)).await;
        let deployment = std::env::var("KEYREALM_CHILD_DEPLOYMENT").unwrap().parse().unwrap();
        let barrier = unseal(&database, deployment, &UnsealKey::parse(&key).unwrap()).await.unwrap();
        barrier.tenant(tenant(1)).await.unwrap();
    });
}

#[tokio::test]
async fn no_half_made_levels_after_a_kill() {
    let folder = tempfile::tempdir().unwrap();
    let (deployment, key) = (deployment(), UnsealKey::generate(&SystemRandom));
    let mut deaths = 0;
    for at in 0..60 {
        let child = std::process::Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "child_opens_until_it_dies"])
            .env("KEYREALM_CHILD_FOLDER", folder.path())
            .env("KEYREALM_CHILD_AT", at.to_string())
            .env("KEYREALM_CHILD_KEY", String::from_utf8_lossy(key.expose()).as_ref())
            .env("KEYREALM_CHILD_DEPLOYMENT", deployment.to_string())
            .output()
            .unwrap();
        deaths += u32::from(!child.status.success());
    }
    assert!(deaths > 15, "{deaths}");
    let database = database(folder.path()).await;
    let barrier = unseal(&database, deployment, &UnsealKey::parse(&key).unwrap()).await.unwrap();
    barrier.tenant(tenant(1)).await.unwrap();
    let mut tx = database.tenant(Product::Kms, tenant(1), TenantAccess::Read).await.unwrap();
    assert_eq!(tx.fetch(Sql::new("SELECT id FROM {s}barrier_keys")).await.unwrap().len(), 3);
}
