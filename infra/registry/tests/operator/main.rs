//! The registrar as the operator runs it: one login, no product's rights, on a real server.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "helpers of tests fail the test")]

mod drift;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use keyrealm_base::{Clock, SystemClock, TenantId, Timestamp};
use keyrealm_crypto::{SecretBytes, SystemRandom};
use keyrealm_registry::{
    Declared, NewTenant, OnRemove, Overlap, Registrar, RegistryError, Used, Versions, archives, desired, overlaps,
    tenants,
};
use keyrealm_store::{
    Database, DriftKind, Migration, Product, Space, Sql, StatementHook, StoreError, TenantAccess, Trouble,
};
use keyrealm_testkit::{On, TestDatabase};
use serde_json::json;

const REALM: &str = "5d6f0c1e-realm";
const TENANT: &[Migration] = &[Migration {
    version: 1,
    statements: &["CREATE TABLE {s}barrier_keys (id TEXT PRIMARY KEY)", "CREATE TABLE {s}things (id TEXT PRIMARY KEY)"],
}];
const HEADS: &[Migration] =
    &[Migration { version: 1, statements: &["CREATE TABLE {s}heads (tenant TEXT PRIMARY KEY, seq BIGINT)"] }];

struct Operator {
    test: TestDatabase,
    registrar: Arc<Registrar>,
}

fn registrar(database: Arc<Database>) -> Arc<Registrar> {
    Arc::new(Registrar::new(database, Arc::new(SystemClock), Arc::new(SystemRandom)))
}

fn passwords(kms: &str) -> [(Product, SecretBytes); 2] {
    [(Product::Kms, kms), (Product::Identity, "identity-password")]
        .map(|(product, password)| (product, SecretBytes::copy_of(password.as_bytes())))
}

fn new(slug: &str, owner: &str) -> NewTenant {
    NewTenant {
        slug: slug.into(),
        display_name: slug.to_uppercase(),
        id: None,
        owner: owner.into(),
        home: format!("team/{owner}"),
    }
}

impl Operator {
    async fn start() -> Self {
        Self::with(None).await
    }

    async fn with(hook: Option<StatementHook>) -> Self {
        let test = TestDatabase::new(On::Postgres).await;
        let registrar = registrar(test.open_registrar(hook).await);
        registrar.ensure_deployment(REALM).await.unwrap();
        registrar.ensure_logins(&passwords("kms-password")).await.unwrap();
        registrar.ensure_realm_schemas().await.unwrap();
        Self { test, registrar }
    }

    fn login(&self, product: Product) -> String {
        self.registrar.login_names().unwrap().into_iter().find(|(own, _)| *own == product).unwrap().1
    }

    fn settings(&self, product: Product) -> keyrealm_config::Database {
        let password = if product == Product::Kms { "kms-password" } else { "identity-password" };
        self.test.settings_with(product, &self.login(product), password)
    }

    /// A product under the login that the operator made.
    async fn product(&self, product: Product) -> Arc<Database> {
        let database = Database::open(&self.settings(product), product, None).await.unwrap();
        registrar(Arc::clone(&database)).ensure_deployment("").await.unwrap();
        database
    }

    async fn migrated(&self, slug: &str, owner: &str) -> TenantId {
        let id = self.registrar.create_tenant(&new(slug, owner)).await.unwrap().tenant.id;
        for product in Product::ALL {
            let database = self.product(product).await;
            database.migrate(Space::Realm(product), HEADS).await.unwrap();
            database.migrate(Space::Tenant(product, id), TENANT).await.unwrap();
            let mut tx = database.tenant(product, id, TenantAccess::Plain).await.unwrap();
            tx.execute(Sql::new("INSERT INTO {s}things (id) VALUES ($1)").bind(slug)).await.unwrap();
            tx.commit().await.unwrap();
        }
        id
    }

    async fn count(&self, query: &str) -> i64 {
        let server = self.test.server();
        let mut connection = server.connect(self.test.name(), "postgres", &server.password).await;
        sqlx::query_scalar(sqlx::AssertSqlSafe(query.to_owned())).fetch_one(&mut connection).await.unwrap()
    }

    /// What the server writes of the statements of the registrar's connections.
    async fn registrar_logs(&self) -> String {
        let mut tx = self.registrar.database().control_read().await.unwrap();
        let rows = tx.fetch(Sql::new("SELECT current_setting('log_statement') AS logs")).await.unwrap();
        rows[0].get("logs").unwrap()
    }

    /// Statements of a product's login.
    async fn as_login(&self, product: Product, statements: &str) -> Result<(), String> {
        let password = if product == Product::Kms { "kms-password" } else { "identity-password" };
        let login = self.login(product);
        let mut connection = self.test.server().connect(self.test.name(), &login, password).await;
        let sql = sqlx::AssertSqlSafe(statements.to_owned());
        sqlx::raw_sql(sql).execute(&mut connection).await.map(drop).map_err(|error| error.to_string())
    }
}

#[tokio::test]
async fn the_products_work_under_the_logins_that_the_operator_makes_and_reach_no_further() {
    let o = Operator::start().await;
    let one = o.migrated("one", "owner-1").await;
    let two = o.migrated("two", "owner-2").await;
    assert_eq!(o.registrar.drift().await.unwrap(), [], "all is as it shall be");
    let versions = o.registrar.versions().await.unwrap();
    assert_eq!(versions[&one], Versions { kms: 1, identity: 1 });
    let denied = async |product, statements: String| {
        let refused = o.as_login(product, &statements).await.unwrap_err();
        assert!(refused.contains("permission denied"), "{statements}: {refused}");
    };
    for product in Product::ALL {
        for table in ["meta", "tenants", "desired", "logins", "archives"] {
            denied(product, format!("DELETE FROM keyrealm.{table}")).await;
        }
        denied(product, "SELECT * FROM keyrealm.logins".to_owned()).await;
        denied(product, "UPDATE keyrealm.meta SET generation = 0".to_owned()).await;
        denied(product, "CREATE TABLE keyrealm.x (id BIGINT)".to_owned()).await;
        denied(product, "CREATE ROLE x".to_owned()).await;
    }
    let deployment = o.login(Product::Kms).rsplit('_').next().unwrap().to_owned();
    let (own, other) = (Space::Tenant(Product::Kms, one), Space::Tenant(Product::Kms, two));
    let role = format!("SET ROLE \"{own}_{deployment}\"; ");
    o.as_login(Product::Kms, &format!("{role} SELECT * FROM \"{own}\".things")).await.unwrap();
    denied(Product::Kms, format!("{role} SELECT * FROM \"{other}\".things")).await;
    denied(Product::Kms, format!("SELECT * FROM \"{own}\".things")).await;
    denied(Product::Identity, role).await;
}

#[tokio::test]
async fn a_password_is_set_when_it_changed_and_never_goes_to_the_server() {
    let o = Operator::start().await;
    let stored = format!("SELECT xmin::text::bigint FROM pg_authid WHERE rolname = '{}'", o.login(Product::Kms));
    let before = o.count(&stored).await;
    o.registrar.ensure_logins(&passwords("kms-password")).await.unwrap();
    assert_eq!(o.count(&stored).await, before, "the same password: the role is not touched");
    for statement in ["ALTER SYSTEM SET log_statement = 'all'", "SELECT pg_reload_conf()"] {
        o.test.run(statement).await;
    }
    while o.registrar_logs().await != "all" {}
    o.registrar.ensure_logins(&passwords("another-kms-password")).await.unwrap();
    let refused = Database::open(&o.settings(Product::Kms), Product::Kms, None).await.err().unwrap();
    assert_eq!(refused.trouble(), Some(Trouble::LoginRefused), "{refused}");
    let renewed = o.test.settings_with(Product::Kms, &o.login(Product::Kms), "another-kms-password");
    Database::open(&renewed, Product::Kms, None).await.unwrap();
    let log = std::fs::read_to_string(o.test.server().folder.join("log")).unwrap();
    assert!(log.contains("PASSWORD 'SCRAM-SHA-256$4096:"), "the statement is in the log");
    assert!(!log.contains("another-kms-password"));
    for statement in ["ALTER SYSTEM RESET log_statement", "SELECT pg_reload_conf()"] {
        o.test.run(statement).await;
    }
    // The login went: it is made again, with the same password.
    let login = o.login(Product::Identity);
    assert!(o.registrar.has_logins().await.unwrap());
    o.test.run(&format!("DROP OWNED BY {login}; DROP ROLE {login}")).await;
    assert!(!o.registrar.has_logins().await.unwrap());
    o.registrar.ensure_logins(&passwords("another-kms-password")).await.unwrap();
    o.product(Product::Identity).await;
    let bad = [(Product::Kms, SecretBytes::copy_of("pässword".as_bytes()))];
    assert!(matches!(o.registrar.ensure_logins(&bad).await, Err(RegistryError::Password(_))));
}

#[tokio::test]
async fn roles_and_schemas_of_others_are_refused_and_nothing_stays_half_made() {
    let test = TestDatabase::new(On::Postgres).await;
    let operator = registrar(test.open_registrar(None).await);
    operator.ensure_deployment(REALM).await.unwrap();
    let login = operator.login_names().unwrap()[1].1.clone();
    test.run(&format!("CREATE ROLE {login}")).await;
    assert!(!operator.has_logins().await.unwrap(), "somebody else's is none");
    let refused = operator.ensure_logins(&passwords("p")).await.unwrap_err();
    assert!(matches!(&refused, RegistryError::Store(StoreError::Foreign { kind: "role", .. })), "{refused}");
    let refused = operator.ensure_realm_schemas().await.unwrap_err();
    assert!(matches!(&refused, RegistryError::Store(StoreError::NoLogin { .. })), "{refused}");
    test.run(&format!("DROP ROLE {login}")).await;
    operator.ensure_logins(&passwords("p")).await.unwrap();
    assert!(operator.has_logins().await.unwrap());
    let id: TenantId = "3f2b8c1a-9d4e-4f6a-8b7c-1d2e3f4a5b6c".parse().unwrap();
    let schema = Space::Tenant(Product::Identity, id);
    test.run(&format!("CREATE SCHEMA {schema}")).await;
    let given = NewTenant { id: Some(id), ..new("acme", "owner") };
    let refused = operator.create_tenant(&given).await.unwrap_err();
    assert!(matches!(&refused, RegistryError::Store(StoreError::Foreign { kind: "schema", .. })), "{refused}");
    assert!(refused.to_string().contains(&schema.to_string()));
    let mut tx = operator.database().control_read().await.unwrap();
    assert!(tenants::list(&mut tx).await.unwrap().is_empty(), "no row");
    drop(tx);
    test.run(&format!("DROP SCHEMA {schema}")).await;
    operator.create_tenant(&given).await.unwrap();
}

#[tokio::test]
async fn a_second_owner_gets_nothing_of_the_first_ones() {
    let o = Operator::start().await;
    let first = o.registrar.create_tenant(&new("acme", "owner-1")).await.unwrap();
    assert!(first.is_new);
    let again = o.registrar.create_tenant(&new("acme", "owner-1")).await.unwrap();
    assert!(!again.is_new && again.tenant == first.tenant);
    let id = first.tenant.id;
    let generation = o.registrar.generation().await.unwrap();
    let refused = async |new: NewTenant| o.registrar.create_tenant(&new).await.unwrap_err();
    let error = refused(new("acme", "owner-2")).await;
    assert!(matches!(&error, RegistryError::SlugTaken { owner, .. } if owner == "owner-1"), "{error}");
    assert!(!error.to_string().contains("owner-1") && !error.to_string().contains(&id.to_string()), "{error}");
    let error = refused(NewTenant { id: Some(id), ..new("other", "owner-2") }).await;
    assert!(matches!(&error, RegistryError::IdTaken { slug, .. } if slug == "acme"), "{error}");
    let error = refused(new("another", "owner-1")).await;
    assert!(matches!(&error, RegistryError::OwnerHasTenant { .. }), "{error}");
    let error = refused(new("acme", "")).await;
    assert!(matches!(&error, RegistryError::NoOwner(_)), "{error}");
    for error in [
        o.registrar.disable_tenant(id, "owner-2").await.map(drop).unwrap_err(),
        o.registrar.retain_tenant(id, "owner-2").await.map(drop).unwrap_err(),
        o.registrar.adopt_tenant(id, "owner-2", "other/owner-2").await.map(drop).unwrap_err(),
        o.registrar.archive_tenant(id, "owner-2", SystemClock.now()).await.map(drop).unwrap_err(),
        o.registrar.destroy_and_drop(id, "owner-2").await.unwrap_err(),
        o.registrar.set_display_name(id, "owner-2", "x").await.map(drop).unwrap_err(),
    ] {
        assert!(matches!(&error, RegistryError::NotOwner { .. }), "{error}");
    }
    let mut tx = o.registrar.database().control_read().await.unwrap();
    assert_eq!(tenants::by_slug(&mut tx, "acme").await.unwrap(), Some(first.tenant));
    assert_eq!(o.registrar.generation().await.unwrap(), generation, "nothing was written");
    assert!(o.registrar.set_display_name(id, "owner-1", "Acme").await.unwrap());
    assert!(!o.registrar.set_display_name(id, "owner-1", "Acme").await.unwrap());
}

/// As the operator asks for them when many Tenants come at once.
#[tokio::test]
async fn many_are_made_together_or_none_of_them() {
    let o = Operator::start().await;
    let first = o.registrar.create_tenant(&new("first", "owner-1")).await.unwrap();
    let asked = [new("second", "owner-2"), new("first", "owner-1"), new("third", "owner-3")];
    let made = o.registrar.create_tenants(&asked).await.unwrap();
    let told: Vec<_> = made.iter().map(|one| (one.tenant.slug.as_str(), one.is_new)).collect();
    assert_eq!(told, [("second", true), ("first", false), ("third", true)]);
    assert_eq!((&made[1].tenant, made[0].tenant.changed), (&first.tenant, made[2].tenant.changed));
    assert!(o.registrar.drift().await.unwrap().is_empty(), "all have their schemas and roles");
    assert_eq!(o.registrar.create_tenants(&[]).await.unwrap(), []);

    let schemas = o.count("SELECT count(*) FROM pg_namespace").await;
    for (second, what) in
        [(new("fourth", "owner-5"), "the slug twice"), (new("second", "owner-5"), "another one's slug")]
    {
        let refused = o.registrar.create_tenants(&[new("fourth", "owner-4"), second]).await.unwrap_err();
        assert!(matches!(&refused, RegistryError::SlugTaken { .. }), "{what}: {refused}");
        let mut tx = o.registrar.database().control_read().await.unwrap();
        assert_eq!(tenants::by_slug(&mut tx, "fourth").await.unwrap(), None, "{what}");
    }
    assert_eq!(o.count("SELECT count(*) FROM pg_namespace").await, schemas);
}

async fn deployment(o: &Operator) -> String {
    o.registrar.ensure_deployment(REALM).await.unwrap().deployment_id.to_string()
}

/// Two operators, for a moment both believing that they are the leader: all of them end well, and there is one of each.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_operators_at_once_do_not_disturb_each_other() {
    let test = TestDatabase::new(On::Postgres).await;
    let work = async || {
        let operator = registrar(test.open_registrar(None).await);
        let deployment = operator.ensure_deployment(REALM).await.unwrap().deployment_id;
        operator.ensure_logins(&passwords("p")).await.unwrap();
        operator.ensure_realm_schemas().await.unwrap();
        let mut ids = Vec::new();
        for n in 0..5 {
            let id = operator.create_tenant(&new(&format!("t-{n}"), &format!("o-{n}"))).await.unwrap().tenant.id;
            operator.ensure_tenant_schemas(id).await.unwrap();
            operator.declare_all(id, vec![key("k", "ES256", OnRemove::Orphan)]).await.unwrap();
            ids.push(id);
        }
        (deployment, ids)
    };
    let (one, two, three) = tokio::join!(work(), work(), work());
    assert!(one == two && two == three);
}

fn key(name: &str, algorithm: &str, on_remove: OnRemove) -> Declared {
    let (kind, spec) = ("key".to_owned(), json!({"algorithm": algorithm}));
    Declared { product: Product::Kms, kind, name: name.to_owned(), spec, on_remove }
}

#[tokio::test]
async fn declaring_the_same_again_writes_nothing_and_tells_nobody() {
    let writes = Arc::new(AtomicUsize::new(0));
    let hook: StatementHook = {
        let writes = Arc::clone(&writes);
        Arc::new(move |_, text| {
            if ["INSERT", "UPDATE", "DELETE", "COMMIT", "schema", "grants", "login"].iter().any(|w| text.starts_with(w))
            {
                writes.fetch_add(1, Ordering::SeqCst);
            }
        })
    };
    let o = Operator::with(Some(hook)).await;
    let id = o.registrar.create_tenant(&new("acme", "owner")).await.unwrap().tenant.id;
    let all = |algorithm| vec![key("a", algorithm, OnRemove::Orphan), key("b", "ES256", OnRemove::Disable)];
    let first = o.registrar.declare_all(id, all("ES256")).await.unwrap().unwrap();
    // Until what was told before has come back from the server.
    o.registrar.database().wait_fresh().await.unwrap();
    tokio::time::sleep(std::time::Duration::from_millis(500)).await;
    let mut notices = o.registrar.database().notices();
    let before = writes.load(Ordering::SeqCst);
    for _ in 0..3 {
        assert_eq!(o.registrar.declare_all(id, all("ES256")).await.unwrap(), None);
        assert!(!o.registrar.ensure_tenant_schemas(id).await.unwrap());
        assert!(!o.registrar.ensure_realm_schemas().await.unwrap());
        assert!(!o.registrar.create_tenant(&new("acme", "owner")).await.unwrap().is_new);
        o.registrar.mark_used(&Used::default()).await.unwrap();
    }
    assert_eq!(writes.load(Ordering::SeqCst), before);
    assert!(notices.try_recv().is_err(), "nobody is told");
    let entries =
        async || desired::of_tenant(&mut o.registrar.database().control_read().await.unwrap(), id).await.unwrap();
    let second = o.registrar.declare_all(id, vec![key("b", "ES256", OnRemove::Disable)]).await.unwrap().unwrap();
    assert_eq!(second, first + 1);
    let found = entries().await;
    assert!(found[0].deleted_at.is_some() && found[1].deleted_at.is_none() && found[1].generation == 1);
    assert_eq!(o.registrar.declare_all(id, vec![key("b", "ES256", OnRemove::Disable)]).await.unwrap(), None);
    o.registrar.declare_all(id, all("RS256")).await.unwrap().unwrap();
    let found = entries().await;
    assert!(found[0].deleted_at.is_none() && found[0].generation == 2 && found[1].on_remove == OnRemove::Disable);
    o.registrar.declare_all(id, vec![]).await.unwrap().unwrap();
    assert!(entries().await.iter().all(|entry| entry.deleted_at.is_some()));
    let refused = o.registrar.declare_all(id, vec![key("c", "ES256", OnRemove::Delete)]).await.unwrap_err();
    assert!(matches!(&refused, RegistryError::KeyDelete(_)), "{refused}");
    let nobody = "3f2b8c1a-9d4e-4f6a-8b7c-1d2e3f4a5b6c".parse().unwrap();
    assert!(matches!(o.registrar.declare_all(nobody, vec![]).await, Err(RegistryError::NoTenant(_))));
}

#[tokio::test]
async fn ends_of_former_secrets_are_kept_with_what_is_declared_and_go_with_the_tenant() {
    let o = Operator::start().await;
    let id = o.registrar.create_tenant(&new("acme", "owner")).await.unwrap().tenant.id;
    let all = || vec![key("a", "ES256", OnRemove::Orphan)];
    let end = |client: &str, seconds| Overlap {
        client: client.to_owned(),
        former_sha256: "00".repeat(32),
        until: Timestamp::from_seconds(seconds),
    };
    let noted =
        async || overlaps::of_tenant(&mut o.registrar.database().control_read().await.unwrap(), id).await.unwrap();
    let ends = vec![end("app", 1000), end("desk", 2000)];
    o.registrar.declare_until(id, all(), &ends).await.unwrap().unwrap();
    assert_eq!(noted().await, ends);
    assert_eq!(o.registrar.declare_until(id, all(), &ends).await.unwrap(), None);
    // An end alone is written and tells nobody.
    let later = vec![end("app", 3000)];
    assert_eq!(o.registrar.declare_until(id, all(), &later).await.unwrap(), None);
    assert_eq!(o.registrar.declare_all(id, all()).await.unwrap(), None);
    assert_eq!(noted().await, later, "who says nothing of ends leaves them alone");
    let denied = o.as_login(Product::Identity, "SELECT * FROM keyrealm.overlaps").await;
    assert!(denied.is_err(), "they are nobody else's business");
    o.registrar.disable_tenant(id, "owner").await.unwrap();
    o.registrar.destroy_and_drop(id, "owner").await.unwrap();
    assert_eq!(noted().await, []);
}

#[tokio::test]
async fn a_retained_tenant_waits_to_be_adopted() {
    let o = Operator::start().await;
    let id = o.migrated("acme", "owner-1").await;
    let generation = o.registrar.retain_tenant(id, "owner-1").await.unwrap();
    assert_eq!(o.registrar.retain_tenant(id, "owner-1").await.unwrap(), generation, "again is no change");
    let refused = o.registrar.create_tenant(&new("acme", "owner-2")).await.unwrap_err();
    assert!(matches!(&refused, RegistryError::Retained { id: found, .. } if *found == id), "{refused}");
    assert!(!refused.to_string().contains(&id.to_string()), "{refused}");
    let mut tx = o.registrar.database().control_read().await.unwrap();
    assert_eq!(tenants::by_id(&mut tx, id).await.unwrap().unwrap().home, "team/owner-1", "whose it was is still known");
    drop(tx);
    let adopted = o.registrar.adopt_tenant(id, "owner-2", "other/owner-2").await.unwrap();
    assert!(
        adopted.enabled
            && adopted.owner == "owner-2"
            && adopted.home == "other/owner-2"
            && adopted.changed > generation
    );
    assert_eq!(o.registrar.create_tenant(&new("acme", "owner-2")).await.unwrap().tenant, adopted);
    assert_eq!(o.registrar.drift().await.unwrap(), []);
    assert_eq!(o.count(&format!("SELECT count(*) FROM {}.things", Space::Tenant(Product::Kms, id))).await, 1);
}

#[tokio::test]
async fn an_archived_tenant_is_out_of_reach_and_goes_with_its_time() {
    let o = Operator::start().await;
    let id = o.migrated("acme", "owner").await;
    let other = o.migrated("other", "owner-2").await;
    o.registrar.declare_all(id, vec![key("k", "ES256", OnRemove::Orphan)]).await.unwrap();
    let now: Timestamp = Timestamp::parse("2026-01-31T12:00:00Z").unwrap();
    let names = o.registrar.archive_tenant(id, "owner", now).await.unwrap();
    assert_eq!(names[0], format!("zz_{}_20260131120000", Space::Tenant(Product::Kms, id)));
    assert_eq!(o.registrar.archive_tenant(id, "owner", now).await.unwrap(), Vec::<String>::new(), "again is no error");
    assert_eq!(o.count(&format!("SELECT count(*) FROM {}.things", names[0])).await, 1, "the data is there");
    for (product, name) in Product::ALL.into_iter().zip(&names) {
        let roles = format!(
            "SELECT count(*) FROM pg_auth_members m JOIN pg_roles r ON r.oid = m.roleid JOIN pg_namespace n ON \
             n.nspowner = r.oid WHERE n.nspname = '{name}' AND m.member = '{}'::regrole",
            o.login(product)
        );
        assert_eq!(o.count(&roles).await, 0, "no product may take its owner");
        let refused = o.as_login(product, &format!("SELECT * FROM {name}.things")).await.unwrap_err();
        assert!(refused.contains("permission denied"), "{refused}");
    }
    // Slug and id are free: the new one has nothing of the old one.
    let anew = o.registrar.create_tenant(&NewTenant { id: Some(id), ..new("acme", "owner-3") }).await.unwrap();
    assert!(anew.is_new);
    assert_eq!(o.registrar.drift().await.unwrap(), []);
    assert_eq!(o.registrar.purge_archives(now).await.unwrap(), Vec::<String>::new(), "not yet");
    assert_eq!(o.registrar.purge_archives(now.plus(std::time::Duration::from_secs(1))).await.unwrap().len(), 2);
    assert_eq!(o.count("SELECT count(*) FROM pg_namespace WHERE nspname LIKE 'zz%'").await, 0);
    let suffix = o.login(Product::Kms).rsplit('_').next().unwrap().to_owned();
    assert_eq!(o.count(&format!("SELECT count(*) FROM pg_roles WHERE rolname LIKE 'zz%{suffix}'")).await, 0);
    assert!(archives::list(&mut o.registrar.database().control_read().await.unwrap()).await.unwrap().is_empty());
    assert_eq!(o.count(&format!("SELECT count(*) FROM {}.things", Space::Tenant(Product::Kms, other))).await, 1);
}

#[tokio::test]
async fn only_a_disabled_tenant_is_destroyed_and_only_what_carries_our_mark() {
    let o = Operator::start().await;
    let id = o.migrated("acme", "owner").await;
    let other = o.migrated("other", "owner-2").await;
    let refused = o.registrar.destroy_and_drop(id, "owner").await.unwrap_err();
    assert!(matches!(&refused, RegistryError::StillEnabled(_)), "{refused}");
    let generation = o.registrar.disable_tenant(id, "owner").await.unwrap();
    o.registrar.create_tenant(&new("meanwhile", "owner-3")).await.unwrap();
    assert_eq!(o.registrar.disable_tenant(id, "owner").await.unwrap(), generation, "what to wait for stays");
    let space = Space::Tenant(Product::Kms, id);
    o.test.run(&format!("COMMENT ON SCHEMA {space} IS 'mine'")).await;
    let refused = o.registrar.destroy_and_drop(id, "owner").await.unwrap_err();
    assert!(matches!(&refused, RegistryError::Store(StoreError::Foreign { .. })), "{refused}");
    assert_eq!(o.count(&format!("SELECT count(*) FROM {space}.things")).await, 1, "it is still there");
    o.test.run(&format!("COMMENT ON SCHEMA {space} IS 'keyrealm {}'", deployment(&o).await)).await;
    o.registrar.destroy_and_drop(id, "owner").await.unwrap();
    o.registrar.destroy_and_drop(id, "owner").await.unwrap();
    let hex = id.simple();
    for query in ["pg_namespace WHERE nspname", "pg_roles WHERE rolname"] {
        assert_eq!(o.count(&format!("SELECT count(*) FROM {query} LIKE '%{hex}%'")).await, 0);
    }
    assert_eq!(o.count(&format!("SELECT count(*) FROM {}.things", Space::Tenant(Product::Kms, other))).await, 1);
}

#[tokio::test]
async fn a_database_has_one_realm_until_it_is_adopted() {
    let o = Operator::start().await;
    let own = o.registrar.ensure_deployment(REALM).await.unwrap();
    let other = registrar(o.test.open_registrar(None).await);
    let refused = other.ensure_deployment("another").await.unwrap_err();
    let RegistryError::OtherRealm { found, deployment_id, .. } = &refused else { panic!("{refused}") };
    assert_eq!((found.as_str(), *deployment_id), (REALM, own.deployment_id));
    let wrong = "01890a5d-ac96-774b-bcce-b302099a8057".parse().unwrap();
    assert!(matches!(other.adopt("another", wrong).await, Err(RegistryError::OtherDeployment { .. })));
    other.adopt("another", own.deployment_id).await.unwrap();
    assert_eq!(other.ensure_deployment("another").await.unwrap().deployment_id, own.deployment_id);
    assert!(o.registrar.ensure_deployment(REALM).await.is_err());
    let used = Used { root_sha256: Some("r".into()), kms_unseal: Some("k".into()), identity_unseal: None };
    other.mark_used(&used).await.unwrap();
    other.mark_used(&Used { identity_unseal: Some("i".into()), ..Used::default() }).await.unwrap();
    assert_eq!(other.used().await.unwrap(), Used { identity_unseal: Some("i".into()), ..used });
    let refused = other.mark_used(&Used { kms_unseal: Some("x".into()), ..Used::default() }).await.unwrap_err();
    assert!(matches!(&refused, RegistryError::OtherSecret { .. }), "{refused}");
}

#[tokio::test]
async fn what_is_wrong_with_the_database_is_told_apart() {
    let test = TestDatabase::new(On::Postgres).await;
    let trouble = async |change: &dyn Fn(&mut keyrealm_store::RegistrarAccess)| {
        let mut access = test.registrar_access();
        change(&mut access);
        let error = Database::open_registrar(access, None).await.err().unwrap();
        (error.trouble(), error.to_string())
    };
    let other = keyrealm_testkit::TestTls::new();
    let other = std::fs::read_to_string(other.path("ca.pem")).unwrap();
    assert_eq!(trouble(&|access| access.password = SecretBytes::copy_of(b"x")).await.0, Some(Trouble::LoginRefused));
    assert_eq!(trouble(&|access| access.user = "nobody".into()).await.0, Some(Trouble::LoginRefused));
    assert_eq!(trouble(&|access| access.database = "none".into()).await.0, Some(Trouble::DatabaseMissing));
    assert_eq!(trouble(&|access| access.ca_pem = other.clone()).await.0, Some(Trouble::Tls));
    assert_eq!(trouble(&|access| access.host = "127.0.0.2".into()).await.0, Some(Trouble::Tls));
    assert_eq!(trouble(&|access| access.port = 1).await.0, Some(Trouble::Unreachable));
    let login = test.login(None);
    for (change, back) in [
        (format!("ALTER ROLE {login} NOCREATEROLE"), format!("ALTER ROLE {login} CREATEROLE")),
        (format!("ALTER ROLE {login} NOINHERIT"), format!("ALTER ROLE {login} INHERIT")),
        (
            format!("REVOKE CREATE ON DATABASE {} FROM {login}", test.name()),
            format!("GRANT CREATE ON DATABASE {} TO {login}", test.name()),
        ),
    ] {
        test.run(&change).await;
        let (found, text) = trouble(&|_| {}).await;
        assert_eq!(found, Some(Trouble::Rights), "{text}");
        assert!(text.contains(back.split(' ').next().unwrap()), "the mend: {text}");
        test.run(&back).await;
    }
    let database = test.open_registrar(None).await;
    assert!(database.is_registrar());
    database.wait_fresh().await.unwrap();
}
