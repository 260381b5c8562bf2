//! The barrier over real files and a real server: it opens with its key only, and notices every row that is not what it was.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "helpers of tests fail the test")]

use std::sync::Arc;

use keyrealm_barrier::{
    Barrier, BarrierError, Head, HeadError, REALM_STATEMENTS, Record, RecordSet, TENANT_STATEMENTS, UnsealKey,
};
use keyrealm_base::{DeploymentId, SystemClock, TenantId};
use keyrealm_crypto::{SecretBytes, SystemRandom};
use keyrealm_store::{Database, Migration, Product, Space, Sql, StatementHook, StoreError, TenantAccess};
use keyrealm_testkit::{On, TestDatabase, on_each_database};

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

async fn database(test: &TestDatabase) -> Arc<Database> {
    prepare(test.open_bound(Product::Kms, None).await).await
}

async fn prepare(database: Arc<Database>) -> Arc<Database> {
    database.migrate(Space::Realm(Product::Kms), REALM).await.unwrap();
    database
}

/// Unseals, and makes the tenants' tables: not before there is a root.
async fn unseal(database: &Arc<Database>, deployment: DeploymentId, key: &UnsealKey) -> Result<Barrier, BarrierError> {
    let (clock, random) = (Arc::new(SystemClock), Arc::new(SystemRandom));
    let barrier = Barrier::unseal(Arc::clone(database), Product::Kms, deployment, key, clock, random).await?;
    for n in 1..=2 {
        database.migrate(Space::Tenant(Product::Kms, tenant(n)), TENANT).await.unwrap();
    }
    Ok(barrier)
}

fn content() -> SecretBytes {
    SecretBytes::copy_of(b"content")
}

async fn records_open_after_a_restart_and_only_where_they_were_sealed(on: On) {
    let test = TestDatabase::new(on).await;
    let (deployment, key) = (deployment(), key());
    let sealed = {
        let database = database(&test).await;
        let barrier = unseal(&database, deployment, &key).await.unwrap();
        let sealed = barrier.tenant(tenant(1)).await.unwrap().seal(&RECORD, &content()).unwrap();
        database.close().await;
        sealed
    };
    let database = database(&test).await;
    let barrier = unseal(&database, deployment, &key).await.unwrap();
    let one = barrier.tenant(tenant(1)).await.unwrap();
    assert_eq!(one.open(&RECORD, &sealed).ok().unwrap().expose(), b"content");
    assert!(barrier.tenant(tenant(2)).await.unwrap().open(&RECORD, &sealed).is_err(), "another tenant");
    assert!(barrier.realm().await.unwrap().open(&RECORD, &sealed).is_err(), "the realm level");
}

async fn another_key_and_another_deployment_are_told_apart(on: On) {
    let test = TestDatabase::new(on).await;
    let database = database(&test).await;
    let (deployment, key) = (deployment(), key());
    unseal(&database, deployment, &key).await.unwrap();
    let wrong = unseal(&database, deployment, &self::key()).await.err().unwrap();
    assert!(matches!(wrong, BarrierError::WrongUnsealKey(_)));
    assert!(wrong.to_string().contains("barrier.unseal_key_file"), "{wrong}");
    let copied = unseal(&database, self::deployment(), &key).await.err().unwrap();
    assert!(matches!(copied, BarrierError::OtherDeployment(_)));
}

/// A key's row of one tenant put into another's schema does not open.
async fn swapped_key_rows_are_refused(on: On) {
    let test = TestDatabase::new(on).await;
    let database = database(&test).await;
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

async fn heads_tell_changed_rows_and_rolled_back_schemas(on: On) {
    let test = TestDatabase::new(on).await;
    let database = database(&test).await;
    let barrier = unseal(&database, deployment(), &key()).await.unwrap();
    let sealer = barrier.tenant(tenant(1)).await.unwrap();
    let id = tenant(1);
    let set =
        |rows: &[&[u8]]| rows.iter().fold(RecordSet::default(), |set, row| sealer.toggle(set, "t", row, b"sealed"));
    assert!(set(&[b"a", b"b"]) == set(&[b"b", b"a"]));
    assert!(set(&[b"a", b"b", b"b"]) == set(&[b"a"]));
    let write = async |head: Head| {
        let mut tx = database.tenant(Product::Kms, id, TenantAccess::Change).await.unwrap();
        sealer.write_state(id, &mut tx, head).await.unwrap();
        tx.commit().await.unwrap();
    };
    // As a crash between two commits leaves it, or somebody who puts back an older schema.
    let behind = async |seq: i64| {
        let mut realm = database.realm(Product::Kms).await.unwrap();
        let old = Sql::new("SELECT seq, sealed FROM {s}heads");
        let kept = realm.fetch_one(old).await.unwrap().unwrap();
        assert_eq!(kept.get::<i64>("seq").unwrap(), seq);
        let sealed: Vec<u8> = kept.get("sealed").unwrap();
        drop(realm);
        async move |database: &Database| {
            let mut realm = database.realm(Product::Kms).await.unwrap();
            let put = Sql::new("UPDATE {s}heads SET seq = $1, sealed = $2");
            realm.execute(put.bind(seq).bind(sealed.clone())).await.unwrap();
            realm.commit().await.unwrap();
        }
    };
    let check = async |found: RecordSet| {
        let mut tx = database.tenant(Product::Kms, id, TenantAccess::Read).await.unwrap();
        let state = sealer.state(id, &mut tx).await?;
        let mend = sealer.check(id, &mut tx, state, found).await?;
        drop(tx);
        let Some(mend) = mend else { return Ok(false) };
        let mut realm = database.realm(Product::Kms).await.unwrap();
        realm.execute(mend).await.unwrap();
        realm.commit().await.unwrap();
        Ok::<_, HeadError>(true)
    };
    assert!(!check(RecordSet::default()).await.unwrap());
    let (one, two) = (Head { seq: 1, set: set(&[b"a"]) }, Head { seq: 2, set: set(&[b"a", b"b"]) });
    write(one).await;
    assert!(!check(one.set).await.unwrap());
    assert!(matches!(check(two.set).await, Err(HeadError::Rows(_))), "a row too many");
    let first = behind(1).await;
    write(two).await;
    first(&database).await;
    assert!(check(two.set).await.unwrap(), "one ahead is a crash between two commits, and mended");
    assert!(!check(two.set).await.unwrap());
    // A state follows on the one before and on no other.
    for seq in [1, 2, 4] {
        let mut tx = database.tenant(Product::Kms, id, TenantAccess::Change).await.unwrap();
        let refused = sealer.write_state(id, &mut tx, Head { seq, set: two.set }).await;
        assert!(matches!(refused, Err(BarrierError::Store(StoreError::Overtaken { .. }))), "{seq}");
    }
    let (state_1, state_2) = (state_row(&database, id).await, behind(2).await);
    write(Head { seq: 3, set: two.set }).await;
    // The schema goes back; its head does not.
    put_state_row(&database, id, &state_1).await;
    assert!(matches!(check(two.set).await, Err(HeadError::RolledBack { found: 2, expected: 3, .. })));
    // And a change on top of it does not get a head: the next one finds it out, or the same one.
    let mut tx = database.tenant(Product::Kms, id, TenantAccess::Change).await.unwrap();
    sealer.write_state(id, &mut tx, Head { seq: 3, set: one.set }).await.unwrap();
    assert_eq!(tx.commit().await.is_err(), on == On::Postgres);
    assert!(check(if on == On::Postgres { two.set } else { one.set }).await.is_err());
    // Two ahead is no crash.
    put_state_row(&database, id, &state_1).await;
    state_2(&database).await;
    write(Head { seq: 3, set: two.set }).await;
    write(Head { seq: 4, set: two.set }).await;
    state_2(&database).await;
    assert!(matches!(check(two.set).await, Err(HeadError::RolledBack { .. })), "two ahead is no crash");
    let mut tx = database.tenant(Product::Kms, id, TenantAccess::Plain).await.unwrap();
    tx.execute(Sql::new("UPDATE {s}state SET seq = 3")).await.unwrap();
    tx.commit().await.unwrap();
    assert!(matches!(check(two.set).await, Err(HeadError::Seal(_))));
}

async fn state_row(database: &Database, id: TenantId) -> (i64, Vec<u8>) {
    let mut tx = database.tenant(Product::Kms, id, TenantAccess::Read).await.unwrap();
    let row = tx.fetch_one(Sql::new("SELECT seq, sealed FROM {s}state")).await.unwrap().unwrap();
    (row.get("seq").unwrap(), row.get("sealed").unwrap())
}

async fn put_state_row(database: &Database, id: TenantId, (seq, sealed): &(i64, Vec<u8>)) {
    let mut tx = database.tenant(Product::Kms, id, TenantAccess::Plain).await.unwrap();
    let put = Sql::new("UPDATE {s}state SET seq = $1, sealed = $2");
    tx.execute(put.bind(*seq).bind(sealed.clone())).await.unwrap();
    tx.commit().await.unwrap();
}

/// The sum of the records is nowhere to be read: the same set at two states, and in two places, looks different each time.
async fn the_sum_of_the_records_is_sealed(on: On) {
    let test = TestDatabase::new(on).await;
    let database = database(&test).await;
    let barrier = unseal(&database, deployment(), &key()).await.unwrap();
    let (id, sealer) = (tenant(1), barrier.tenant(tenant(1)).await.unwrap());
    let mut seen = std::collections::HashSet::new();
    for seq in 1..=5 {
        let mut tx = database.tenant(Product::Kms, id, TenantAccess::Change).await.unwrap();
        sealer.write_state(id, &mut tx, Head { seq, set: RecordSet::default() }).await.unwrap();
        tx.commit().await.unwrap();
        let mut realm = database.realm_read(Product::Kms).await.unwrap();
        let head = realm.fetch_one(Sql::new("SELECT sealed FROM {s}heads")).await.unwrap().unwrap();
        for sealed in [state_row(&database, id).await.1, head.get("sealed").unwrap()] {
            // Beside format, algorithm, key id and nonce.
            let content = sealed[30..].to_vec();
            assert_eq!(content.len(), 32 + 16);
            assert!(content.windows(8).all(|window| window != [0; 8]) && seen.insert(content));
        }
    }
}

/// A key is added on each level: it seals from then on, and what the ones before sealed opens all the same (the step that
/// rotations are made of).
async fn a_second_key_of_a_level_seals_and_the_first_one_still_opens(on: On) {
    let test = TestDatabase::new(on).await;
    let database = database(&test).await;
    let (deployment, unseal_key) = (deployment(), key());
    let mut barrier = unseal(&database, deployment, &unseal_key).await.unwrap();
    let id = tenant(1);
    let mut sealed = vec![barrier.tenant(id).await.unwrap().seal(&RECORD, &content()).unwrap()];
    let head = Head { seq: 1, set: RecordSet::default() };
    let mut tx = database.tenant(Product::Kms, id, TenantAccess::Change).await.unwrap();
    barrier.tenant(id).await.unwrap().write_state(id, &mut tx, head).await.unwrap();
    tx.commit().await.unwrap();
    for level in ["content", "intermediate", "content", "tenant-root", "intermediate", "content", "root", "tenant-root"]
    {
        if level == "root" {
            barrier.add_root(&unseal_key).await.unwrap();
            barrier = unseal(&database, deployment, &unseal_key).await.unwrap();
        } else {
            barrier.add_key(id, level).await.unwrap();
        }
        sealed.push(barrier.tenant(id).await.unwrap().seal(&RECORD, &content()).unwrap());
        for barrier in [&barrier, &unseal(&database, deployment, &unseal_key).await.unwrap()] {
            let sealer = barrier.tenant(id).await.unwrap();
            for old in &sealed {
                assert_eq!(sealer.open(&RECORD, old).ok().unwrap().expose(), b"content", "after a new {level}");
            }
            let mut tx = database.tenant(Product::Kms, id, TenantAccess::Read).await.unwrap();
            assert!(sealer.state(id, &mut tx).await.unwrap() == head, "the head's key is beside them");
        }
    }
    let keys: std::collections::HashSet<&[u8]> = sealed.iter().map(|sealed| &sealed[2..18]).collect();
    assert_eq!(keys.len(), 4, "the first content key and three new ones");
    for level in ["root", "head", "nonsense"] {
        assert!(barrier.add_key(id, level).await.is_err(), "{level}");
    }
}

/// A root that has gone is not made anew over what only it could open.
async fn a_missing_root_or_level_is_refused(on: On) {
    let test = TestDatabase::new(on).await;
    let database = database(&test).await;
    let (deployment, key) = (deployment(), key());
    let barrier = unseal(&database, deployment, &key).await.unwrap();
    barrier.tenant(tenant(1)).await.unwrap();
    let mut tx = database.tenant(Product::Kms, tenant(1), TenantAccess::Plain).await.unwrap();
    tx.execute(Sql::new("DELETE FROM {s}barrier_keys WHERE level = 'tenant-root'")).await.unwrap();
    tx.commit().await.unwrap();
    barrier.forget(tenant(1)).await;
    let refused = barrier.tenant(tenant(1)).await.err().unwrap();
    assert!(matches!(refused, BarrierError::Integrity { level: "tenant-root" | "head", .. }), "{refused}");
    let mut realm = database.realm(Product::Kms).await.unwrap();
    realm.execute(Sql::new("DELETE FROM {s}barrier_keys")).await.unwrap();
    realm.commit().await.unwrap();
    let refused = unseal(&database, deployment, &key).await.err().unwrap();
    assert!(matches!(refused, BarrierError::RootMissing(_)), "{refused}");
}

/// Two processes start on a fresh database at once: one makes what there is, both go on with it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_processes_that_start_at_once_end_with_one_root() {
    for _ in 0..10 {
        let test = TestDatabase::new(On::Postgres).await;
        let (deployment, key) = (test.deployment, key());
        let start = async || {
            let database = database(&test).await;
            let barrier = unseal(&database, deployment, &key).await.unwrap();
            barrier.tenant(tenant(1)).await.unwrap().seal(&RECORD, &content()).unwrap()
        };
        let (one, two) = tokio::join!(start(), start());
        assert_eq!(one[2..18], two[2..18], "both seal with the same content key");
        let barrier = unseal(&database(&test).await, deployment, &key).await.unwrap();
        for sealed in [one, two] {
            assert!(barrier.tenant(tenant(1)).await.unwrap().open(&RECORD, &sealed).is_ok());
        }
    }
}

/// Ended at any statement of the first use, the next start finds all levels or none.
#[test]
fn child_opens_until_it_dies() {
    let (Ok(settings), Ok(at)) = (std::env::var("KEYREALM_CHILD_DATABASE"), std::env::var("KEYREALM_CHILD_AT")) else {
        return;
    };
    let settings: keyrealm_config::Database = serde_json::from_str(&settings).unwrap();
    let (at, key) =
        (at.parse::<u8>().unwrap(), SecretBytes::new(std::env::var("KEYREALM_CHILD_KEY").unwrap().into_bytes()));
    let seen = std::sync::atomic::AtomicU8::new(0);
    let hook: StatementHook = Arc::new(move |space, _| {
        let counts = space == Space::Tenant(Product::Kms, tenant(at));
        if counts && seen.fetch_add(1, std::sync::atomic::Ordering::SeqCst) == at {
            std::process::abort();
        }
    });
    tokio::runtime::Runtime::new().unwrap().block_on(async {
        let deployment = std::env::var("KEYREALM_CHILD_DEPLOYMENT").unwrap().parse().unwrap();
        let database = Database::open(&settings, Product::Kms, Some(hook)).await.unwrap();
        database.migrate(Space::Control, &[]).await.unwrap();
        database.bind(deployment).unwrap();
        database.migrate(Space::Realm(Product::Kms), REALM).await.unwrap();
        let barrier = unseal(&database, deployment, &UnsealKey::parse(&key).unwrap()).await.unwrap();
        database.migrate(Space::Tenant(Product::Kms, tenant(at)), TENANT).await.unwrap();
        barrier.tenant(tenant(at)).await.unwrap();
    });
}

/// Each child has a tenant of its own and dies one statement later than the one before, until one lives.
async fn no_half_made_levels_after_a_kill(on: On) {
    let test = TestDatabase::new(on).await;
    let (deployment, key) = (test.deployment, UnsealKey::generate(&SystemRandom));
    let mut deaths = 0;
    loop {
        let child = std::process::Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "child_opens_until_it_dies"])
            .env("KEYREALM_CHILD_DATABASE", serde_json::to_string(&test.settings(Product::Kms)).unwrap())
            .env("KEYREALM_CHILD_AT", deaths.to_string())
            .env("KEYREALM_CHILD_KEY", String::from_utf8_lossy(key.expose()).as_ref())
            .env("KEYREALM_CHILD_DEPLOYMENT", deployment.to_string())
            .output()
            .unwrap();
        if child.status.success() {
            break;
        }
        deaths += 1;
        assert!(deaths < 50, "{}", String::from_utf8_lossy(&child.stderr));
    }
    assert!(deaths > 10, "the statements of a migration and of three levels, but only {deaths}");
    let database = database(&test).await;
    let barrier = unseal(&database, deployment, &UnsealKey::parse(&key).unwrap()).await.unwrap();
    for n in 0..deaths {
        database.migrate(Space::Tenant(Product::Kms, tenant(n)), TENANT).await.unwrap();
        barrier.tenant(tenant(n)).await.unwrap();
        let mut tx = database.tenant(Product::Kms, tenant(n), TenantAccess::Read).await.unwrap();
        let levels = tx.fetch(Sql::new("SELECT id FROM {s}barrier_keys")).await.unwrap().len();
        assert_eq!(levels, 4, "killed at statement {n}");
    }
}

on_each_database!(
    the_sum_of_the_records_is_sealed,
    a_second_key_of_a_level_seals_and_the_first_one_still_opens,
    a_missing_root_or_level_is_refused,
    records_open_after_a_restart_and_only_where_they_were_sealed,
    another_key_and_another_deployment_are_told_apart,
    swapped_key_rows_are_refused,
    heads_tell_changed_rows_and_rolled_back_schemas,
    no_half_made_levels_after_a_kill,
);
