//! What only PostgreSQL has: roles that keep tenants apart, several processes, a server that goes and comes back.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "helpers of tests fail the test")]

use std::time::Duration;

use keyrealm_base::TenantId;
use keyrealm_store::{Database, Migration, Notice, Product, Space, Sql, StoreError, TenantAccess};
use keyrealm_testkit::{On, PostgresServer, SilentProxy, TestDatabase};
use sqlx::Row;

const TABLES: &[Migration] =
    &[Migration { version: 1, statements: &["CREATE TABLE {s}things (id BIGINT PRIMARY KEY, name TEXT)"] }];

fn tenant(n: u8) -> TenantId {
    format!("00000000-0000-4000-8000-0000000000{n:02x}").parse().unwrap()
}

fn space(n: u8) -> Space {
    Space::Tenant(Product::Kms, tenant(n))
}

async fn setup() -> (TestDatabase, std::sync::Arc<Database>) {
    let test = TestDatabase::new(On::Postgres).await;
    let database = test.open_bound(Product::Kms, None).await;
    for n in 1..=2 {
        database.migrate(space(n), TABLES).await.unwrap();
    }
    (test, database)
}

/// The product's login, as a thief would use it.
async fn as_login(test: &TestDatabase, product: Product, statements: &[&str]) -> Result<u64, String> {
    let password = std::fs::read_to_string(test.password_file()).unwrap();
    let login = test.login(Some(product));
    let mut connection = test.server().connect(test.name(), &login, &password).await;
    let mut changed = 0;
    for statement in statements {
        let sql = sqlx::AssertSqlSafe((*statement).to_owned());
        let done = sqlx::raw_sql(sql).execute(&mut connection).await.map_err(|error| error.to_string())?;
        changed = done.rows_affected();
    }
    Ok(changed)
}

fn user(test: &TestDatabase, n: u8) -> String {
    let deployment = test.deployment.to_string();
    format!("{}_{}", space(n), &deployment[deployment.len() - 8..])
}

#[tokio::test]
async fn no_role_reaches_another_tenants_tables() {
    let (test, database) = setup().await;
    let (own, other) = (user(&test, 1), user(&test, 2));
    let denied = async |statements: &[&str]| {
        let refused = as_login(&test, Product::Kms, statements).await.unwrap_err();
        assert!(refused.contains("permission denied"), "{statements:?}: {refused}");
    };
    let (one, two) = (space(1).to_string(), space(2).to_string());
    // The login by itself: neither tenant.
    denied(&[&format!("SELECT * FROM {one}.things")]).await;
    let role = format!("SET ROLE \"{own}\"");
    as_login(&test, Product::Kms, &[&role, &format!("INSERT INTO {one}.things VALUES (1, 'x')")]).await.unwrap();
    for statement in ["SELECT * FROM {}.things", "DELETE FROM {}.things", "DROP TABLE {}.things", "TRUNCATE {}.things"]
    {
        denied(&[&role, &statement.replace("{}", &two)]).await;
    }
    // One role never leads to another one, nor to changes of the schema.
    denied(&[&role, &format!("CREATE TABLE {one}.more (id BIGINT)")]).await;
    let refused = as_login(&test, Product::Kms, &[&format!("DROP TABLE {one}.things")]).await.unwrap_err();
    assert!(refused.contains("permission denied") || refused.contains("must be owner"), "{refused}");
    // The other product has none of these roles.
    denied(&["CREATE SCHEMA x"]).await;
    let refused = as_login(&test, Product::Identity, &[&format!("SET ROLE \"{other}\"")]).await.unwrap_err();
    assert!(refused.contains("permission denied"), "{refused}");
    // The registry: read, and only the tables that are the product's to write.
    as_login(&test, Product::Kms, &["SELECT * FROM keyrealm.epochs"]).await.unwrap();
    let refused = as_login(&test, Product::Kms, &["DROP TABLE keyrealm.epochs"]).await.unwrap_err();
    assert!(refused.contains("must be owner"), "{refused}");
    // Role and path end with the transaction that took them.
    let mut tx = database.tenant(Product::Kms, tenant(1), TenantAccess::Plain).await.unwrap();
    tx.execute(Sql::new("INSERT INTO {s}things (id) VALUES (2)")).await.unwrap();
    let reach = Sql::new("SELECT * FROM kms_00000000000040008000000000000002.things");
    let refused = tx.fetch(reach).await.unwrap_err().to_string();
    assert!(refused.contains("permission denied"), "{refused}");
}

#[tokio::test]
async fn a_pooled_connection_keeps_no_role() {
    let (test, database) = setup().await;
    for round in 0..20 {
        let mut tx = database.tenant(Product::Kms, tenant(1), TenantAccess::Plain).await.unwrap();
        let rows = tx.fetch(Sql::new("SELECT current_user::text AS who")).await.unwrap();
        assert_eq!(rows[0].get::<String>("who").unwrap(), user(&test, 1));
        // Half of them are rolled back.
        if round % 2 == 0 {
            tx.commit().await.unwrap();
        }
        let mut tx = database.control().await.unwrap();
        let rows = tx.fetch(Sql::new("SELECT current_user::text AS who")).await.unwrap();
        assert_eq!(rows[0].get::<String>("who").unwrap(), test.login(Some(Product::Kms)));
    }
}

/// Each connection costs the server, also one that nobody uses.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_does_one_thing_after_the_other_has_one_connection() {
    let (test, database) = setup().await;
    for _ in 0..50 {
        drop(database.control_read().await.unwrap());
        let mut tx = database.tenant(Product::Kms, tenant(1), TenantAccess::Plain).await.unwrap();
        tx.execute(Sql::new("INSERT INTO {s}things (name) VALUES ('a') ON CONFLICT DO NOTHING")).await.unwrap_err();
    }
    let server = test.server();
    let mut connection = server.connect(test.name(), "postgres", &server.password).await;
    let own = "SELECT query FROM pg_stat_activity WHERE datname = $1 AND usename = $2";
    let own = sqlx::query_scalar(own).bind(test.name()).bind(test.login(Some(Product::Kms)));
    let own: Vec<String> = own.fetch_all(&mut connection).await.unwrap();
    assert_eq!(own.len(), 2, "one, and that which listens: {own:?}");
}

/// What a connection remembers of its roles can be wrong for as long as it lives: one that is denied a role is not used again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_that_is_denied_a_role_ends() {
    let (test, database) = setup().await;
    let pid = async || {
        let mut tx = database.control_read().await.unwrap();
        let row = tx.fetch_one(Sql::new("SELECT pg_backend_pid() AS pid")).await.unwrap().unwrap();
        row.get::<i64>("pid").unwrap()
    };
    let begin = || database.tenant(Product::Kms, tenant(1), TenantAccess::Read);
    drop(begin().await.unwrap());
    let before = pid().await;
    assert_eq!(pid().await, before, "one connection");
    let (role, login, registrar) = (user(&test, 1), test.login(Some(Product::Kms)), test.login(None));
    test.run(&format!("REVOKE {role} FROM {login} GRANTED BY {registrar}")).await;
    let denied = begin().await.map(drop).unwrap_err();
    assert!(matches!(&denied, StoreError::Denied { .. }), "{denied}");
    assert_ne!(pid().await, before);
    test.run(&format!("GRANT {role} TO {login} GRANTED BY {registrar}")).await;
    drop(begin().await.unwrap());
}

#[tokio::test]
async fn schemas_and_roles_carry_our_mark_and_those_of_others_are_refused() {
    let (test, database) = setup().await;
    test.run(&format!("CREATE SCHEMA {}", space(7))).await;
    let refused = database.migrate(space(7), TABLES).await.unwrap_err();
    assert!(matches!(&refused, StoreError::Foreign { kind: "schema", .. }), "{refused}");
    test.run(&format!("CREATE ROLE \"{}\"", user(&test, 8))).await;
    let refused = database.migrate(space(8), TABLES).await.unwrap_err();
    assert!(matches!(&refused, StoreError::Foreign { kind: "role", .. }), "{refused}");
    // Nothing half-made stays: the schema of the refused tenant is not there.
    let mut connection = test.server().connect(test.name(), "postgres", &test.server().password).await;
    let found = sqlx::query("SELECT 1 FROM pg_namespace WHERE nspname = $1").bind(space(8).to_string());
    assert!(found.fetch_optional(&mut connection).await.unwrap().is_none());
    // Dropping takes schema, roles, epoch and version; others stay.
    database.drop_tenant(Product::Kms, tenant(1)).await.unwrap();
    database.drop_tenant(Product::Kms, tenant(1)).await.unwrap();
    assert!(database.drop_tenant(Product::Kms, tenant(7)).await.is_err(), "a foreign schema is not dropped");
    let roles = sqlx::query("SELECT rolname::text FROM pg_roles WHERE rolname LIKE $1").bind(format!(
        "{}%{}",
        space(1),
        user(&test, 1).rsplit('_').next().unwrap()
    ));
    let roles: Vec<String> = roles.fetch_all(&mut connection).await.unwrap().iter().map(|row| row.get(0)).collect();
    assert!(roles.is_empty(), "{roles:?}");
    assert_eq!(database.migrate(space(2), TABLES).await.ok(), Some(()));
    database.migrate(space(1), TABLES).await.unwrap();
}

#[tokio::test]
async fn logins_with_too_many_rights_are_refused_with_the_mend() {
    let test = TestDatabase::new(On::Postgres).await;
    let login = test.login(Some(Product::Kms));
    for (change, back) in [("INHERIT", "NOINHERIT"), ("CREATEROLE", "NOCREATEROLE"), ("SUPERUSER", "NOSUPERUSER")] {
        test.run(&format!("ALTER ROLE {login} {change}")).await;
        let refused = Database::open(&test.settings(Product::Kms), Product::Kms, None).await.err().unwrap().to_string();
        assert!(refused.contains(&format!("ALTER ROLE \"{login}\" {back}")), "{refused}");
        test.run(&format!("ALTER ROLE {login} {back}")).await;
    }
    test.open(Product::Kms, None).await;
    let mut wrong = test.settings(Product::Kms);
    wrong.postgres.as_mut().unwrap().user = "nobody".to_owned();
    let refused = Database::open(&wrong, Product::Kms, None).await.err().unwrap().to_string();
    assert!(refused.contains("`nobody`") && refused.contains("authentication"), "{refused}");
}

/// Only the given CA counts, and the certificate must name the host.
#[tokio::test]
async fn the_servers_certificate_is_checked() {
    let test = TestDatabase::new(On::Postgres).await;
    let other = keyrealm_testkit::TestTls::new();
    let mut settings = test.settings(Product::Kms);
    settings.postgres.as_mut().unwrap().ca = other.path("ca.pem");
    let refused = Database::open(&settings, Product::Kms, None).await.err().unwrap().to_string();
    assert!(refused.contains("UnknownIssuer"), "{refused}");
    let mut settings = test.settings(Product::Kms);
    // The same server by a name that the certificate does not have.
    settings.postgres.as_mut().unwrap().host = "127.0.0.2".to_owned();
    let refused = Database::open(&settings, Product::Kms, None).await.err().unwrap().to_string();
    assert!(refused.contains("certificate not valid for name"), "{refused}");
}

/// sqlx would take TLS 1.2; we do not.
#[tokio::test]
async fn a_connection_below_tls_1_3_is_refused_with_the_mend() {
    let old = PostgresServer::start_with(&["ssl_min_protocol_version=TLSv1.2", "ssl_max_protocol_version=TLSv1.2"]);
    let test = TestDatabase::on_server(old.unwrap()).await;
    let refused = Database::open(&test.settings(Product::Kms), Product::Kms, None).await.err().unwrap().to_string();
    assert!(refused.contains("uses TLSv1.2, not TLSv1.3; set ssl_min_protocol_version"), "{refused}");
}

/// The password is a secret: a file that others can read is refused.
#[tokio::test]
async fn a_password_file_that_others_can_read_is_refused() {
    let test = TestDatabase::new(On::Postgres).await;
    let open = std::os::unix::fs::PermissionsExt::from_mode(0o644);
    std::fs::set_permissions(test.password_file(), open).unwrap();
    let refused = Database::open(&test.settings(Product::Kms), Product::Kms, None).await.err().unwrap().to_string();
    assert!(refused.contains("password") && refused.contains("others can use"), "{refused}");
}

/// The network drops everything without a word: the lease ends, and comes back over a new connection, although the old one
/// is never heard of again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_lease_comes_back_after_a_silent_network() {
    let (test, keep) = setup().await;
    let proxy = SilentProxy::start(test.server().port).await;
    let mut settings = test.settings(Product::Kms);
    let postgres = settings.postgres.as_mut().unwrap();
    (postgres.lease_seconds, postgres.port) = (2, proxy.port);
    let database = Database::open(&settings, Product::Kms, None).await.unwrap();
    database.wait_fresh().await.unwrap();
    let until = async |fresh: bool| {
        for _ in 0..600 {
            if database.is_fresh() == fresh {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("the lease is {} after thirty seconds", if fresh { "over" } else { "still held" });
    };
    proxy.fall_silent();
    until(false).await;
    // Long enough for an attempt on the silent network, which must not be the last one.
    tokio::time::sleep(Duration::from_secs(2)).await;
    proxy.speak_again();
    until(true).await;
    let mut notices = database.notices();
    let mut tx = keep.tenant(Product::Kms, tenant(1), TenantAccess::Change).await.unwrap();
    tx.execute(Sql::new("INSERT INTO {s}things (id) VALUES (1)")).await.unwrap();
    tx.commit().await.unwrap();
    let told = async { while !matches!(notices.recv().await.unwrap(), Notice::Epoch(..)) {} };
    tokio::time::timeout(Duration::from_secs(10), told).await.unwrap();
}

#[tokio::test]
async fn without_a_registrar_a_process_reads_and_makes_nothing() {
    let (test, _database) = setup().await;
    let mut settings = test.settings(Product::Kms);
    settings.registrar = None;
    let database = Database::open(&settings, Product::Kms, None).await.unwrap();
    assert!(matches!(database.registry().await, Err(StoreError::NoRegistrar)));
    assert!(matches!(database.tenant(Product::Kms, tenant(1), TenantAccess::Read).await, Err(StoreError::NotBound)));
    database.bind(test.deployment).unwrap();
    database.migrate(space(1), TABLES).await.unwrap();
    let refused = database.migrate(space(9), TABLES).await.unwrap_err();
    assert!(matches!(refused, StoreError::NotPrepared { .. }), "{refused}");
    assert!(refused.is_passing(), "the operator may make it any moment");
}

/// What one process changes, the other hears of; a change that was rolled back nobody hears of.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_process_hears_of_changes() {
    let (test, one) = setup().await;
    let two = test.open_bound(Product::Kms, None).await;
    two.wait_fresh().await.unwrap();
    let mut notices = two.notices();
    let change = async |id: i64, commit: bool| {
        let mut tx = one.tenant(Product::Kms, tenant(1), TenantAccess::Change).await.unwrap();
        tx.execute(Sql::new("INSERT INTO {s}things (id) VALUES ($1)").bind(id)).await.unwrap();
        if commit {
            tx.commit().await.unwrap();
        }
    };
    change(1, false).await;
    change(1, true).await;
    let mut plain = one.tenant(Product::Kms, tenant(1), TenantAccess::Plain).await.unwrap();
    plain.execute(Sql::new("INSERT INTO {s}things (id) VALUES (9)")).await.unwrap();
    plain.commit().await.unwrap();
    change(2, true).await;
    let mut told = async || loop {
        let notice = tokio::time::timeout(Duration::from_secs(5), notices.recv()).await.unwrap().unwrap();
        if matches!(notice, Notice::Epoch(..)) {
            return notice;
        }
    };
    assert_eq!(told().await, Notice::Epoch(Product::Kms, tenant(1), 1));
    assert_eq!(told().await, Notice::Epoch(Product::Kms, tenant(1), 2));
}

/// Every connection is cut: a change that was made meanwhile is found out afterwards.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cut_connections_come_back_and_miss_nothing() {
    let (test, one) = setup().await;
    one.wait_fresh().await.unwrap();
    let mut notices = one.notices();
    // As the other process would do it, in the moment of the cut.
    test.run(&format!(
        "INSERT INTO keyrealm.epochs VALUES ('kms', '{}', 41); \
         SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{}' AND pid <> pg_backend_pid()",
        tenant(2),
        test.name()
    ))
    .await;
    let deadline = tokio::time::Instant::now() + Duration::from_secs(10);
    loop {
        let notice = tokio::time::timeout_at(deadline, notices.recv()).await.unwrap().unwrap();
        if notice == Notice::Epoch(Product::Kms, tenant(2), 41) {
            break;
        }
    }
    // A dead connection in the pool is not handed out for ever.
    for attempt in 0.. {
        let Err(error) = one.tenant(Product::Kms, tenant(1), TenantAccess::Read).await else { break };
        assert!(error.is_passing() && attempt < 20, "{error}");
    }
}

/// Without word from the database the lease ends; with it again, it holds again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_lease_ends_without_the_database_and_comes_back_with_it() {
    let (test, _keep) = setup().await;
    let mut settings = test.settings(Product::Kms);
    settings.postgres.as_mut().unwrap().lease_seconds = 2;
    let database = Database::open(&settings, Product::Kms, None).await.unwrap();
    database.wait_fresh().await.unwrap();
    let login = test.login(Some(Product::Kms));
    test.run(&format!(
        "ALTER ROLE {login} NOLOGIN; SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = '{login}'"
    ))
    .await;
    let until = async |fresh: bool| {
        for _ in 0..200 {
            if database.is_fresh() == fresh {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("the lease is {} after ten seconds", if fresh { "over" } else { "still held" });
    };
    until(false).await;
    assert!(matches!(database.check_fresh(), Err(StoreError::Stale)));
    test.run(&format!("ALTER ROLE {login} LOGIN")).await;
    until(true).await;
}

/// Changes of one tenant go one after the other; those of another one do not wait.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn changes_of_a_tenant_wait_for_each_other() {
    let (_test, database) = setup().await;
    let held = database.tenant(Product::Kms, tenant(1), TenantAccess::Change).await.unwrap();
    database.tenant(Product::Kms, tenant(2), TenantAccess::Change).await.unwrap();
    let second = database.tenant(Product::Kms, tenant(1), TenantAccess::Change);
    let waited = tokio::time::timeout(Duration::from_millis(300), second).await;
    assert!(waited.is_err(), "the second one waits");
    drop(held);
    tokio::time::timeout(Duration::from_secs(5), database.tenant(Product::Kms, tenant(1), TenantAccess::Change))
        .await
        .unwrap()
        .unwrap();
}
