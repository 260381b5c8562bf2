//! What somebody changed of schemas, roles and rights, and what an upgrade of the server leaves of them.

use super::*;

/// From PostgreSQL 16 on. Its roles are then as an upgrade from 15 leaves them: without a grant to who made them.
#[tokio::test]
async fn after_an_upgrade_of_the_server_the_registrar_is_given_its_roles_back() {
    let o = Operator::start().await;
    let version = o.count("SELECT current_setting('server_version_num')::bigint").await;
    let id = o.migrated("acme", "owner").await;
    let (login, registrar) = (o.login(Product::Kms), o.test.registrar_access().user);
    let suffix = login.rsplit('_').next().unwrap();
    let (space, kept) = (Space::Tenant(Product::Kms, id), format!("kms_realm_own_{suffix}"));
    let (owner, user) = (format!("{space}_own_{suffix}"), format!("{space}_{suffix}"));
    for role in [&owner, &user] {
        o.test.run(&format!("REVOKE ADMIN OPTION FOR \"{role}\" FROM {registrar} CASCADE")).await;
        o.test.run(&format!("GRANT \"{role}\" TO {registrar}; GRANT \"{role}\" TO {login}")).await;
    }
    o.test.run(&format!("ALTER ROLE \"{user}\" LOGIN")).await;
    let mended = o.registrar.ensure_tenant_schemas(id).await;
    if version >= 160_000 {
        let refused = mended.unwrap_err();
        assert!(refused.to_string().contains("permission denied"), "{refused}");
    }
    let guide = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/database.md")).unwrap();
    let block = guide.split("```sql upgraded\n").nth(1).unwrap().split("```").next().unwrap();
    for _ in 0..2 {
        o.test.run(&block.replace("keyrealm_registrar", &registrar)).await;
    }
    o.registrar.ensure_tenant_schemas(id).await.unwrap();
    assert_eq!(o.registrar.drift().await.unwrap(), []);
    let member = |role: &str| format!("SELECT pg_has_role('{login}', '{role}', 'MEMBER')::int::bigint");
    assert_eq!(o.count(&member(&owner)).await, 1, "the server goes on meanwhile");
    // What is moved aside is out of the server's reach, for no grant of others is left.
    o.registrar.archive_tenant(id, "owner", SystemClock.now()).await.unwrap();
    let names = format!(
        "SELECT count(*) FROM pg_auth_members a JOIN pg_roles m ON m.oid = a.member JOIN pg_roles r ON r.oid = a.roleid WHERE m.rolname = '{login}' AND r.rolname <> '{kept}'"
    );
    assert_eq!(o.count(&names).await, 0);
}

#[tokio::test]
async fn what_somebody_changed_is_found_and_put_back_or_refused() {
    let o = Operator::start().await;
    let id = o.migrated("acme", "owner").await;
    let other = o.migrated("other", "owner-2").await;
    let space = Space::Tenant(Product::Kms, id);
    let login = o.login(Product::Kms);
    let suffix = login.rsplit('_').next().unwrap();
    let registrar = o.test.registrar_access().user;
    let (owner, user) = (format!("{space}_own_{suffix}"), format!("{space}_{suffix}"));
    for (change, kind) in [
        (format!("REVOKE \"{user}\" FROM {login} GRANTED BY {registrar}"), DriftKind::Membership),
        (format!("REVOKE \"{owner}\" FROM {login} GRANTED BY {registrar}"), DriftKind::Membership),
        (format!("REVOKE USAGE ON SCHEMA {space} FROM \"{user}\""), DriftKind::SchemaGrant),
        (format!("REVOKE INSERT ON {space}.things FROM \"{user}\""), DriftKind::TableGrant),
        (
            format!(
                "ALTER DEFAULT PRIVILEGES FOR ROLE \"{owner}\" IN SCHEMA {space} REVOKE SELECT ON TABLES FROM \"{user}\""
            ),
            DriftKind::DefaultPrivileges,
        ),
        (format!("ALTER ROLE \"{user}\" LOGIN"), DriftKind::RoleAttributes),
        (format!("COMMENT ON SCHEMA {space} IS NULL"), DriftKind::SchemaUnmarked),
        (format!("COMMENT ON ROLE \"{owner}\" IS NULL"), DriftKind::RoleUnmarked),
        (format!("COMMENT ON ROLE \"{user}\" IS NULL"), DriftKind::RoleUnmarked),
        (format!("DROP OWNED BY \"{user}\"; DROP ROLE \"{user}\""), DriftKind::RoleMissing),
    ] {
        o.test.run(&change).await;
        let drift = o.registrar.tenant_drift(id).await.unwrap();
        assert!(drift.iter().any(|drift| drift.kind == kind && drift.space == space), "{change}: {drift:?}");
        assert_eq!(o.registrar.drift().await.unwrap(), drift, "one query for all says the same");
        assert!(o.registrar.ensure_tenant_schemas(id).await.unwrap(), "{change}");
        assert_eq!(o.registrar.tenant_drift(id).await.unwrap(), [], "{change}");
        assert!(!o.registrar.ensure_tenant_schemas(id).await.unwrap());
        o.as_login(
            Product::Kms,
            &format!("SET ROLE \"{user}\"; INSERT INTO {space}.things VALUES (gen_random_uuid())"),
        )
        .await
        .unwrap();
    }
    for (change, back, kind) in [
        (
            format!("COMMENT ON SCHEMA {space} IS 'mine'"),
            format!("COMMENT ON SCHEMA {space} IS 'keyrealm {}'", deployment(&o).await),
            DriftKind::SchemaForeign,
        ),
        (
            format!("COMMENT ON ROLE \"{user}\" IS 'mine'"),
            format!("COMMENT ON ROLE \"{user}\" IS 'keyrealm {}'", deployment(&o).await),
            DriftKind::RoleForeign,
        ),
        (
            format!("ALTER SCHEMA {space} OWNER TO postgres"),
            format!("ALTER SCHEMA {space} OWNER TO \"{owner}\""),
            DriftKind::SchemaOwner,
        ),
    ] {
        o.test.run(&change).await;
        assert!(o.registrar.tenant_drift(id).await.unwrap().iter().any(|drift| drift.kind == kind), "{change}");
        let refused = o.registrar.ensure_tenant_schemas(id).await.unwrap_err();
        assert!(matches!(&refused, RegistryError::Store(StoreError::Foreign { .. })), "{change}: {refused}");
        o.test.run(&back).await;
    }
    o.registrar.ensure_tenant_schemas(id).await.unwrap();
    // A schema that had tables is not made again empty.
    o.test.run(&format!("DROP SCHEMA {space} CASCADE")).await;
    let refused = o.registrar.ensure_tenant_schemas(id).await.unwrap_err();
    assert!(matches!(&refused, RegistryError::Store(StoreError::Vanished { version: 1, .. })), "{refused}");
    assert_eq!(o.registrar.tenant_drift(other).await.unwrap(), [], "the other one was not touched");
}

/// Otherwise a thousand tenants take a thousand times a thousand looks.
#[tokio::test]
async fn what_is_read_of_the_catalog_for_a_tenant_does_not_grow_with_the_memberships_of_others() {
    let o = Operator::start().await;
    let id = o.registrar.create_tenant(&new("acme", "owner")).await.unwrap().tenant.id;
    let login = o.login(Product::Kms);
    let each = |statement: &str| format!("DO $$ BEGIN FOR i IN 1..1000 LOOP EXECUTE '{statement}'; END LOOP; END $$");
    let server = o.test.server();
    let mut admin = server.connect(o.test.name(), "postgres", &server.password).await;
    for statement in [format!("CREATE ROLE \"' || i || '_{login}\" ROLE {login}"), "ANALYZE pg_auth_members".to_owned()]
    {
        let sql = if statement.starts_with("CREATE") { each(&statement) } else { statement };
        sqlx::raw_sql(sqlx::AssertSqlSafe(sql)).execute(&mut admin).await.unwrap();
    }
    let spaces = Product::ALL.map(|product| Space::Tenant(product, id));
    let count = "SELECT pg_stat_get_xact_tuples_returned('pg_catalog.pg_auth_members'::regclass) AS read";
    // The catalog is the whole server's: while others make roles, what was looked up is looked up again. One quiet moment does.
    let mut read = i64::MAX;
    for _ in 0..200 {
        let mut tx = o.registrar.database().control_read().await.unwrap();
        assert!(o.registrar.database().drift(&mut tx, &spaces).await.unwrap().is_empty());
        read = read.min(tx.fetch(Sql::new(count)).await.unwrap()[0].get("read").unwrap());
        if read < 100 {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(200)).await;
    }
    let sql = each(&format!("DROP ROLE \"' || i || '_{login}\""));
    sqlx::raw_sql(sqlx::AssertSqlSafe(sql)).execute(&mut admin).await.unwrap();
    assert!(read < 100, "{read} memberships were read");
}
