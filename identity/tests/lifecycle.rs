//! What changes while the server runs: users and clients that are shut out, declarations, settings, restarts, failures.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "helpers of tests fail the test")]

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use http::header;
use identity::seed::REDIRECT_URI;
use keyrealm_auth::{BearerVerifier, JwksCache, JwksTimes, RevocationList, TrustedIssuer, follow_revocations};
use keyrealm_crypto::password::PasswordHash;
use keyrealm_crypto::{SecretBytes, SystemRandom};
use keyrealm_registry::instances;
use keyrealm_store::{Product, Space, Sql, StatementHook, TenantAccess};
use keyrealm_testkit::{On, on_each_database};
use serde_json::{Value, json};
use support::{Realm, WEB, error, location, query};

/// By when a revocation must have reached everybody.
const REACHED: Duration = Duration::from_secs(2);

/// The KMS's way of checking a token, with a list of its own.
async fn kms(realm: &Realm) -> (BearerVerifier, tokio::task::JoinHandle<()>) {
    let clock: keyrealm_base::SharedClock = Arc::new(realm.clock.clone());
    let list = Arc::new(RevocationList::new(Duration::from_secs(30)));
    let follow = follow_revocations(Arc::clone(&realm.database), Arc::clone(&list), Arc::clone(&clock)).await.unwrap();
    let keys =
        JwksCache::new(realm.url("/oauth2/v1/jwks"), realm.client.clone(), JwksTimes::default(), Arc::clone(&clock));
    let issuer = TrustedIssuer { issuer: realm.issuer.as_str().trim_end_matches('/').to_owned(), keys };
    let verifier = BearerVerifier::new(vec![issuer], realm.config.tokens.audience.clone(), list, clock);
    (verifier, tokio::spawn(follow))
}

async fn refused_by(verifier: &BearerVerifier, token: &str) {
    let began = Instant::now();
    while verifier.verify(token).await.is_ok() {
        assert!(began.elapsed() < REACHED, "the KMS still takes the token");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Disabled (TOK-20): from the moment in which the declaration is fulfilled nothing of the user works any more.
async fn a_disabled_user_is_out_at_once_and_may_come_back(on: On) {
    let realm = Realm::start(on).await;
    let (verifier, _following) = kms(&realm).await;
    let mut browser = realm.browser();
    let code = browser.code(&realm.authorize(WEB, &[]), "demo-admin").await;
    let tokens = realm.redeem(&code).await.json();
    let (access, refresh) = (tokens["access_token"].as_str().unwrap(), tokens["refresh_token"].as_str().unwrap());
    let pending = browser.code(&realm.authorize(WEB, &[]), "demo-admin").await;
    assert!(verifier.verify(access).await.is_ok());
    realm.change(0, "user", "demo-admin", json!({"enabled": false})).await;
    refused_by(&verifier, access).await;
    assert!(!realm.is_active(access).await && !realm.is_active(refresh).await);
    assert_eq!(realm.userinfo(access).await.status, 401);
    assert_eq!(error(&realm.refresh(refresh).await), "invalid_grant");
    assert_eq!(error(&realm.redeem(&pending).await), "invalid_grant");
    assert_eq!(browser.silent(WEB).await.as_deref(), Some("login_required"));
    // Who is let in again is let in with new tokens, and the old ones stay dead.
    realm.change(0, "user", "demo-admin", json!({"enabled": true})).await;
    assert_eq!(browser.silent(WEB).await.as_deref(), Some("login_required"));
    let fresh = realm.tokens().await;
    assert!(verifier.verify(fresh["access_token"].as_str().unwrap()).await.is_ok());
    assert!(verifier.verify(access).await.is_err() && !realm.is_active(refresh).await);
}

/// Without a row that says so (another process was between the two commits), the code grant looks at the user itself.
async fn a_code_of_a_disabled_user_gives_nothing(on: On) {
    let realm = Realm::start(on).await;
    let code = realm.browser().code(&realm.authorize(WEB, &[]), "demo-admin").await;
    let mut tx = realm.database.tenant(Product::Identity, realm.tenants[0], TenantAccess::Plain).await.unwrap();
    let sql = Sql::new("UPDATE {s}users SET spec = replace(spec, '\"enabled\":true', '\"enabled\":false')");
    assert!(tx.execute(sql).await.unwrap() > 0);
    tx.commit().await.unwrap();
    assert_eq!(error(&realm.redeem(&code).await), "invalid_grant");
}

async fn a_new_password_ends_what_the_old_one_opened(on: On) {
    let realm = Realm::start(on).await;
    let mut browser = realm.browser();
    let code = browser.code(&realm.authorize(WEB, &[]), "demo-admin").await;
    let tokens = realm.redeem(&code).await.json();
    let other = {
        let code = realm.browser().code(&realm.authorize(WEB, &[]), "demo-user").await;
        realm.redeem(&code).await.json()
    };
    let hash = PasswordHash::create(&SecretBytes::copy_of(b"another password"), &SystemRandom).to_string();
    // Another name changes nothing for the user.
    realm.change(0, "user", "demo-admin", json!({"display_name": "The admin"})).await;
    assert!(realm.is_active(tokens["refresh_token"].as_str().unwrap()).await);
    realm.change(0, "user", "demo-admin", json!({"password_hash": hash})).await;
    assert!(!realm.is_active(tokens["access_token"].as_str().unwrap()).await);
    assert_eq!(error(&realm.refresh(tokens["refresh_token"].as_str().unwrap()).await), "invalid_grant");
    assert_eq!(browser.silent(WEB).await.as_deref(), Some("login_required"));
    assert!(realm.is_active(other["access_token"].as_str().unwrap()).await, "another user's tokens live");
}

/// Disabled (IDN-03): neither a log-in nor a token, and what it got is revoked.
async fn a_disabled_client_gets_nothing(on: On) {
    let realm = Realm::start(on).await;
    let (verifier, _following) = kms(&realm).await;
    let tokens = realm.tokens().await;
    let code = realm.browser().code(&realm.authorize(WEB, &[]), "demo-admin").await;
    let own = realm.post("/oauth2/v1/token", WEB, &[("grant_type", "client_credentials")]).await.json();
    realm.change(0, "client", WEB, json!({"enabled": false})).await;
    for access in [&tokens["access_token"], &own["access_token"]] {
        refused_by(&verifier, access.as_str().unwrap()).await;
        assert_eq!(realm.userinfo(access.as_str().unwrap()).await.status, 401);
    }
    let page = realm.client.get(&realm.authorize(WEB, &[])).await.unwrap();
    assert_eq!((page.status.as_u16(), page.header(&header::LOCATION)), (400, ""));
    for answer in [
        realm.redeem(&code).await,
        realm.refresh(tokens["refresh_token"].as_str().unwrap()).await,
        realm.post("/oauth2/v1/token", WEB, &[("grant_type", "client_credentials")]).await,
        realm.post("/oauth2/v1/introspect", WEB, &[("token", "x")]).await,
    ] {
        assert_eq!((answer.status.as_u16(), error(&answer)), (401, "invalid_client".into()));
    }
    realm.change(0, "client", WEB, json!({"enabled": true})).await;
    assert_eq!(error(&realm.refresh(tokens["refresh_token"].as_str().unwrap()).await), "invalid_grant");
}

/// An entry that changes its client id leaves no second client, no second secret and no tokens behind.
async fn a_client_id_that_is_given_up_is_dead(on: On) {
    let realm = Realm::start(on).await;
    let tokens = realm.tokens().await;
    let id = realm.observed(0, WEB, |seen| seen["status"] == "ready").await["object_id"].clone();
    realm.change(0, "client", WEB, json!({"client_id": "renamed"})).await;
    assert_eq!(realm.observed(0, WEB, |_| true).await["object_id"], id, "the same client");
    let old = realm.post("/oauth2/v1/token", WEB, &[("grant_type", "client_credentials")]).await;
    assert_eq!(error(&old), "invalid_client");
    let secret = realm.credentials.secret(WEB);
    let form = [("client_id", "renamed"), ("client_secret", secret), ("grant_type", "client_credentials")];
    let new = realm.client.post_form(&realm.url("/oauth2/v1/token"), &[], &form).await.unwrap();
    assert_eq!(new.status, 200);
    assert_eq!(realm.userinfo(tokens["access_token"].as_str().unwrap()).await.status, 401);
    // The old id is free, also for another tenant, and the agreements for it are gone with it.
    let mut spec = realm.declared(1, "demo-2.demo-confidential-client").await;
    spec["client_id"] = WEB.into();
    realm.declare(1, "client", "taken over", spec).await;
    realm.observed(1, "taken over", |seen| seen["status"] == "ready").await;
    assert_eq!(error(&realm.refresh(tokens["refresh_token"].as_str().unwrap()).await), "invalid_client");
}

/// What cannot be made says why, keeps nothing else from being made, and is made once it can be.
async fn declarations_are_reported_on(on: On) {
    let realm = Realm::start(on).await;
    let good = realm.declared(0, "demo-service-client").await;
    let with = |name: &str, value: Value| {
        let mut spec = good.clone();
        spec[name] = value;
        spec
    };
    realm.declare(0, "client", "bad", with("grants", json!(["password"]))).await;
    realm.declare(0, "client", "foreign", with("client_id", "demo-2.demo-confidential-client".into())).await;
    realm.declare(0, "client", "double", good.clone()).await;
    realm.declare(0, "spaceship", "unknown", json!({})).await;
    realm.declare(0, "user", "a b", realm.declared(0, "demo-user").await).await;
    realm.declare(0, "client", "fresh", with("client_id", "fresh".into())).await;
    for (name, reason, says) in [
        ("bad", "InvalidSpecification", "`password` is unknown"),
        ("foreign", "ClientIdTaken", "another tenant"),
        ("double", "ClientIdTaken", "the entry `demo-service-client`"),
        ("unknown", "UnknownKind", "`spaceship`"),
        ("a b", "InvalidSpecification", "without white space"),
    ] {
        let seen = realm.observed(0, name, |seen| seen["status"] == "failed").await;
        assert_eq!((seen["reason"].as_str(), seen["object_id"].as_str()), (Some(reason), None), "{seen}");
        assert!(seen["message"].as_str().unwrap().contains(says), "{seen}");
    }
    let fresh = realm.observed(0, "fresh", |seen| seen["status"] == "ready").await;
    assert_eq!((fresh["reason"].as_str(), fresh["message"].as_str()), (Some("Ready"), Some("")));
    assert_eq!(fresh["object_id"].as_str().unwrap().len(), 36);
    // A changed specification that cannot be: the object is as it was, and is named.
    realm.declare(0, "client", "fresh", with("scopes", "everything".into())).await;
    let seen = realm.observed(0, "fresh", |seen| seen["status"] == "failed").await;
    assert_eq!(seen["object_id"], fresh["object_id"]);
    let secret = realm.credentials.secret("demo-service-client");
    let form = [("client_id", "fresh"), ("client_secret", secret), ("grant_type", "client_credentials")];
    let token = async || realm.client.post_form(&realm.url("/oauth2/v1/token"), &[], &form).await.unwrap();
    assert_eq!(token().await.json()["scope"], "kms:encrypt kms:decrypt kms:sign kms:verify");
    realm.change(0, "client", "fresh", json!({"client_id": "fresh", "scopes": "kms:sign"})).await;
    assert_eq!(token().await.json()["scope"], "kms:sign");
    // Recovery: the id in the way is given up.
    realm.change(1, "client", "demo-2.demo-confidential-client", json!({"client_id": "other"})).await;
    realm.observed(0, "foreign", |seen| seen["status"] == "ready").await;
    // Taken away: the client stays, and it says so.
    let mut tx = realm.database.registry().await.unwrap();
    tx.execute(Sql::new("UPDATE {s}desired SET deleted_at = 1 WHERE name = 'fresh'")).await.unwrap();
    tx.commit().await.unwrap();
    let seen = realm.observed(0, "fresh", |seen| seen["status"] == "orphaned").await;
    assert_eq!((seen["reason"].as_str(), &seen["object_id"]), (Some("EntryRemoved"), &fresh["object_id"]));
    assert_eq!(token().await.status, 200);
}

/// Three that take each other's ids: none waits for another one, each stays the object that it was.
async fn client_ids_are_exchanged(on: On) {
    let realm = Realm::start(on).await;
    let good = realm.declared(0, "demo-service-client").await;
    let secret = realm.credentials.secret("demo-service-client");
    let names = ["one", "two", "three"];
    let with = |name: usize, id: usize| {
        let mut spec = good.clone();
        (spec["client_id"], spec["scopes"]) = (names[id].into(), ["kms:sign", "kms:verify", "kms:read"][name].into());
        spec
    };
    let mut before = Vec::new();
    for (number, name) in names.into_iter().enumerate() {
        realm.declare(0, "client", name, with(number, number)).await;
        before.push(realm.observed(0, name, |seen| seen["status"] == "ready").await);
    }
    for (number, name) in names.into_iter().enumerate() {
        realm.declare(0, "client", name, with(number, (number + 1) % 3)).await;
    }
    for (number, name) in names.into_iter().enumerate() {
        let old = &before[number]["spec_hash"];
        let seen = realm.observed(0, name, |seen| seen["status"] == "ready" && seen["spec_hash"] != *old).await;
        assert_eq!(seen["object_id"], before[number]["object_id"]);
        let form =
            [("client_id", names[(number + 1) % 3]), ("client_secret", secret), ("grant_type", "client_credentials")];
        let answer = realm.client.post_form(&realm.url("/oauth2/v1/token"), &[], &form).await.unwrap().json();
        assert_eq!(answer["scope"], ["kms:sign", "kms:verify", "kms:read"][number], "{answer}");
    }
}

/// Notices of other things without end do not keep a missed declaration waiting.
async fn the_poll_comes_however_much_is_told(on: On) {
    let realm = Realm::start(on).await;
    let spec = {
        let mut spec = realm.declared(0, "demo-service-client").await;
        spec["client_id"] = "polled".into();
        spec
    };
    let noise = {
        let database = Arc::clone(&realm.database);
        tokio::spawn(async move {
            loop {
                let mut tx = database.control().await.unwrap();
                tx.notify(keyrealm_store::Notice::Revocations);
                tx.commit().await.unwrap();
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        })
    };
    tokio::time::sleep(Duration::from_millis(200)).await;
    // As the registrar does, without telling anybody.
    let mut tx = realm.database.registry().await.unwrap();
    let sql = Sql::new(
        "INSERT INTO {s}desired (tenant, product, kind, name, spec, spec_hash, generation) \
         VALUES ($1, 'identity', 'client', 'polled', $2, 'h', 1)",
    );
    tx.execute(sql.bind(realm.tenants[0]).bind(spec.to_string())).await.unwrap();
    tx.commit().await.unwrap();
    realm.observed(0, "polled", |seen| seen["status"] == "ready").await;
    noise.abort();
}

/// A tenant whose tables cannot be made stops neither the start nor the others.
async fn one_bad_tenant_stops_nobody_else(on: On) {
    let mut realm = Realm::start(on).await;
    let bad = realm.tenants[1];
    realm
        .restart(async |realm| {
            // Of a newer release.
            match realm.test.on() {
                On::Sqlite => {
                    let mut tx = realm.database.tenant(Product::Identity, bad, TenantAccess::Plain).await.unwrap();
                    tx.execute(Sql::new("INSERT INTO {s}schema_versions (version) VALUES (999)")).await.unwrap();
                    tx.commit().await.unwrap();
                }
                On::Postgres => {
                    let space = Space::Tenant(Product::Identity, bad);
                    let sql = format!("UPDATE keyrealm.schema_versions SET version = 999 WHERE space = '{space}'");
                    realm.test.run(&sql).await;
                }
            }
        })
        .await;
    let mut spec = realm.declared(1, "demo-2.demo-confidential-client").await;
    spec["display_name"] = "changed".into();
    realm.declare(1, "client", "demo-2.demo-confidential-client", spec).await;
    let seen = realm.observed(1, "demo-2.demo-confidential-client", |seen| seen["status"] == "failed").await;
    assert_eq!(seen["reason"], "TenantNotMigrated");
    realm.change(0, "client", WEB, json!({"display_name": "still changed"})).await;
    assert!(realm.tokens().await["access_token"].is_string());
}

/// A tenant that is disabled keeps its client ids.
async fn a_disabled_tenant_keeps_its_client_ids(on: On) {
    let realm = Realm::start(on).await;
    let enable = async |enabled: bool| {
        let mut tx = realm.database.registry().await.unwrap();
        let sql = Sql::new("UPDATE {s}tenants SET enabled = $1 WHERE id = $2").bind(enabled).bind(realm.tenants[1]);
        tx.execute(sql).await.unwrap();
        tx.notify(keyrealm_store::Notice::Desired(Product::Identity));
        tx.commit().await.unwrap();
    };
    let other = "demo-2.demo-confidential-client";
    let status =
        async || realm.post("/oauth2/v1/token", other, &[("grant_type", "client_credentials")]).await.status.as_u16();
    let until = async |wanted: u16| {
        let began = Instant::now();
        while status().await != wanted {
            assert!(began.elapsed() < Duration::from_secs(20));
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    enable(false).await;
    until(401).await;
    let mut spec = realm.declared(0, "demo-service-client").await;
    spec["client_id"] = other.into();
    realm.declare(0, "client", "thief", spec).await;
    realm.observed(0, "thief", |seen| seen["reason"] == "ClientIdTaken").await;
    enable(true).await;
    until(200).await;
}

/// A client is read, and meanwhile it is changed and everything is forgotten: what was read is not believed.
async fn a_load_from_before_is_not_believed(on: On) {
    let (armed, held) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
    let hook: StatementHook = {
        let (armed, held) = (Arc::clone(&armed), Arc::clone(&held));
        Arc::new(move |_, text| {
            if text.starts_with("SELECT spec FROM {s}clients") && armed.swap(false, Ordering::SeqCst) {
                held.store(true, Ordering::SeqCst);
                tokio::task::block_in_place(|| {
                    while held.load(Ordering::SeqCst) {
                        std::thread::sleep(Duration::from_millis(5));
                    }
                });
            }
        })
    };
    let realm = Arc::new(Realm::start_with(on, Some(hook)).await);
    let mut spec = realm.declared(0, "demo-service-client").await;
    spec["client_id"] = "slow".into();
    realm.declare(0, "client", "slow", spec).await;
    realm.observed(0, "slow", |seen| seen["status"] == "ready").await;
    let ask = |realm: Arc<Realm>| async move {
        let secret = realm.credentials.secret("demo-service-client");
        let form = [("client_id", "slow"), ("client_secret", secret), ("grant_type", "client_credentials")];
        realm.client.post_form(&realm.url("/oauth2/v1/token"), &[], &form).await.unwrap().status.as_u16()
    };
    armed.store(true, Ordering::SeqCst);
    let early = tokio::spawn(ask(Arc::clone(&realm)));
    while !held.load(Ordering::SeqCst) {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    realm.change(0, "client", "slow", json!({"enabled": false})).await;
    // A tenant that changes makes the directory forget all clients and all epochs.
    let mut tx = realm.database.registry().await.unwrap();
    let sql = Sql::new("UPDATE {s}tenants SET display_name = 'Another name' WHERE id = $1");
    tx.execute(sql.bind(realm.tenants[1])).await.unwrap();
    tx.notify(keyrealm_store::Notice::Desired(Product::Identity));
    tx.commit().await.unwrap();
    // Of the other tenant: a change of this one would tell its epoch anew.
    realm.change(1, "client", "demo-2.demo-confidential-client", json!({"display_name": "after it"})).await;
    held.store(false, Ordering::SeqCst);
    early.await.unwrap();
    assert_eq!(ask(realm).await, 401, "what was read before the change is kept");
}

/// The row that says how the process stands.
async fn the_instance_says_what_it_serves(on: On) {
    let realm = Realm::start(on).await;
    let began = Instant::now();
    let instance = loop {
        let mut tx = realm.database.control().await.unwrap();
        let found = instances::fresh(&mut tx, instances::FRESH).await.unwrap();
        if let [one] = found.as_slice()
            && one.ready
        {
            break one.clone();
        }
        assert!(began.elapsed() < Duration::from_secs(10));
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    assert_eq!((instance.product.as_str(), instance.ready, instance.schema_version), ("identity", true, 4));
    assert_eq!(instance.bundle_sha256, realm.tls.trust.sha256());
    assert_eq!(instance.chain_sha256, realm.tls.identity.current().chain_sha256());
}

/// After a restart old tokens, sessions and keys are as before (TOK-06), and changed lifetimes take effect (IDN-28).
async fn a_restart_keeps_tokens_and_takes_new_lifetimes(on: On) {
    let mut realm = Realm::start(on).await;
    let mut browser = realm.browser();
    let code = browser.code(&realm.authorize(WEB, &[]), "demo-admin").await;
    let tokens = realm.redeem(&code).await.json();
    let cookies = browser.cookies.clone();
    realm
        .restart(async |realm| {
            let tokens = &mut realm.config.tokens;
            (tokens.access_seconds, tokens.id_seconds, tokens.refresh_seconds) = (60, 120, 600);
            (tokens.code_seconds, tokens.idle_seconds, tokens.session_seconds) = (10, 100, 1000);
        })
        .await;
    let access = tokens["access_token"].as_str().unwrap();
    assert!(realm.is_active(access).await && realm.userinfo(access).await.status == 200);
    let fresh = realm.refresh(tokens["refresh_token"].as_str().unwrap()).await.json();
    assert_eq!(fresh["expires_in"], 60);
    let mut browser = realm.browser();
    browser.cookies = cookies;
    let silent = realm.authorize(WEB, &[("prompt", "none")]);
    let at = location(&silent, &browser.get(&silent).await);
    let code = query(&at, "code").unwrap();
    let tokens = realm.redeem(&code).await.json();
    let claims = |name: &str| -> Value {
        let token = keyrealm_jose::jws::Unverified::parse(tokens[name].as_str().unwrap()).unwrap();
        serde_json::from_slice(token.peek_payload()).unwrap()
    };
    let lives = |claims: &Value| claims["exp"].as_i64().unwrap() - claims["iat"].as_i64().unwrap();
    assert_eq!((lives(&claims("access_token")), lives(&claims("id_token"))), (60, 120));
    let late = query(&location(&silent, &browser.get(&silent).await), "code").unwrap();
    realm.clock.advance(Duration::from_secs(11));
    assert_eq!(error(&realm.redeem(&late).await), "invalid_grant", "codes of 10 s");
    realm.clock.advance(Duration::from_secs(101));
    assert_eq!(browser.silent(WEB).await.as_deref(), Some("login_required"), "idle for 100 s");
    realm.clock.advance(Duration::from_secs(500));
    assert_eq!(error(&realm.refresh(tokens["refresh_token"].as_str().unwrap()).await), "invalid_grant");
}

/// What is over is taken out in the background, in many steps, and what is not stays.
async fn what_is_over_is_taken_out(on: On) {
    let mut realm = Realm::start(on).await;
    let tokens = realm.tokens().await;
    let tenant = realm.tenants[0];
    realm
        .restart(async |realm| {
            let mut tx = realm.database.tenant(Product::Identity, tenant, TenantAccess::Plain).await.unwrap();
            for n in 0_i64..1200 {
                let sql = Sql::new("INSERT INTO {s}interactions (hash, request, expires) VALUES ($1, '{}', $2)");
                tx.execute(sql.bind(n.to_be_bytes()).bind(n)).await.unwrap();
            }
            tx.execute(Sql::new("INSERT INTO {s}ended (value, until) VALUES ('x', 5)")).await.unwrap();
            tx.commit().await.unwrap();
        })
        .await;
    let began = Instant::now();
    loop {
        let mut tx = realm.database.tenant(Product::Identity, tenant, TenantAccess::Read).await.unwrap();
        let sql = "SELECT (SELECT count(*) FROM {s}interactions) + (SELECT count(*) FROM {s}ended) AS n";
        let left: i64 = tx.fetch_one(Sql::new(sql)).await.unwrap().unwrap().get("n").unwrap();
        if left == 0 {
            break;
        }
        assert!(began.elapsed() < Duration::from_secs(20), "{left} rows are left");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert!(realm.is_active(tokens["refresh_token"].as_str().unwrap()).await);
}

/// While it is not known what is revoked, nobody is told that a good token is bad.
async fn out_of_date_revocations_are_said_so(on: On) {
    let realm = Realm::start(on).await;
    let access = realm.tokens().await["access_token"].as_str().unwrap().to_owned();
    let mut seen = false;
    // The list may be read again between the two.
    for _ in 0..10 {
        realm.clock.advance(Duration::from_secs(31));
        let (info, asked) = (realm.userinfo(&access).await, {
            realm.clock.advance(Duration::from_secs(31));
            realm.post("/oauth2/v1/introspect", WEB, &[("token", &access)]).await
        });
        if info.status == 503 && asked.status == 503 {
            for answer in [info, asked] {
                assert_eq!(error(&answer), "temporarily_unavailable");
                assert!(!answer.header(&header::RETRY_AFTER).is_empty());
            }
            seen = true;
            break;
        }
        assert!(info.status != 401, "a good token is not called bad");
    }
    assert!(seen);
    let began = Instant::now();
    while realm.userinfo(&access).await.status != 200 {
        assert!(began.elapsed() < Duration::from_secs(10));
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// A part that works in the background and panics is told of: the process is to end.
async fn a_background_task_that_fails_is_told(on: On) {
    let armed = Arc::new(AtomicBool::new(false));
    let hook: StatementHook = {
        let armed = Arc::clone(&armed);
        Arc::new(move |space, text| {
            if armed.load(Ordering::SeqCst) && space == Space::Control && text.contains("{s}desired d") {
                panic!("on purpose");
            }
        })
    };
    let mut realm = Realm::start_with(on, Some(hook)).await;
    let running = realm.running.as_mut().unwrap();
    let nothing = tokio::time::timeout(Duration::from_millis(200), running.failed()).await;
    assert!(nothing.is_err(), "nothing has failed yet");
    armed.store(true, Ordering::SeqCst);
    let failed = tokio::time::timeout(Duration::from_secs(20), running.failed()).await.unwrap();
    assert!(failed.contains("`reconcile` panicked: on purpose"), "{failed}");
    armed.store(false, Ordering::SeqCst);
}

/// A log-in page is a row: one address does not fill the disk.
async fn log_ins_that_nobody_finishes_are_bounded(on: On) {
    let realm = Realm::start(on).await;
    let url = realm.authorize(WEB, &[]);
    let mut begun = 0;
    let refused = loop {
        let answer = realm.client.get(&url).await.unwrap();
        if answer.status != 303 {
            break answer;
        }
        begun += 1;
        assert!(begun < 400);
    };
    assert_eq!((begun, refused.status.as_u16()), (300, 429));
    assert!(!refused.header(&header::RETRY_AFTER).is_empty());
    realm.clock.advance(Duration::from_secs(1));
    assert_eq!(realm.client.get(&url).await.unwrap().status, 303);
}

/// The loopback exception is for programs on a desktop, which are public clients (RFC 8252, section 7.3).
async fn only_public_clients_have_any_port(on: On) {
    let realm = Realm::start(on).await;
    let uris = json!({"redirect_uris": ["http://127.0.0.1/cb", REDIRECT_URI]});
    for client in [WEB, "demo-public-client"] {
        realm.change(0, "client", client, uris.clone()).await;
        let url = realm.authorize(client, &[("scope", "openid"), ("redirect_uri", "http://127.0.0.1:49152/cb")]);
        let status = realm.client.get(&url).await.unwrap().status.as_u16();
        assert_eq!(status, if client == WEB { 400 } else { 303 }, "{client}");
    }
}

on_each_database!(
    a_disabled_user_is_out_at_once_and_may_come_back,
    a_code_of_a_disabled_user_gives_nothing,
    a_new_password_ends_what_the_old_one_opened,
    a_disabled_client_gets_nothing,
    a_client_id_that_is_given_up_is_dead,
    declarations_are_reported_on,
    client_ids_are_exchanged,
    the_poll_comes_however_much_is_told,
    one_bad_tenant_stops_nobody_else,
    a_disabled_tenant_keeps_its_client_ids,
    a_load_from_before_is_not_believed,
    the_instance_says_what_it_serves,
    a_restart_keeps_tokens_and_takes_new_lifetimes,
    what_is_over_is_taken_out,
    out_of_date_revocations_are_said_so,
    a_background_task_that_fails_is_told,
    log_ins_that_nobody_finishes_are_bounded,
    only_public_clients_have_any_port,
);
