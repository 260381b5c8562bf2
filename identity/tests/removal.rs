//! What becomes of clients and users when their entries are taken away.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "helpers of tests fail the test")]

mod support;

use http::header;
use keyrealm_registry::{Declared, OnRemove, desired};
use keyrealm_store::{Product, Sql, TenantAccess};
use keyrealm_testkit::{On, on_each_database};
use support::{Realm, WEB, error};

const USER: &str = "demo-admin";

/// Declares what is declared already, with this for the entries' end.
async fn declare(realm: &Realm, on_remove: OnRemove, wanted: impl Fn(&str) -> bool) {
    let tenant = realm.tenants[0];
    let all = desired::of_tenant(&mut realm.database.control_read().await.unwrap(), tenant).await.unwrap();
    let identity = all.into_iter().filter(|entry| entry.product == "identity" && wanted(&entry.name));
    let entries = identity.map(|entry| {
        let (product, kind) = (Product::Identity, entry.kind);
        Declared { product, kind, name: entry.name, spec: entry.spec, on_remove }
    });
    realm.registrar().declare_all(tenant, entries.collect()).await.unwrap();
}

async fn remove(realm: &Realm, on_remove: OnRemove, status: &str) {
    declare(realm, on_remove, |_| true).await;
    declare(realm, on_remove, |name| name != WEB && name != USER).await;
    for name in [WEB, USER] {
        let seen = realm.observed(0, name, |seen| seen["status"] == status).await;
        assert_eq!((&seen["reason"], seen["object_id"].is_string()), (&"EntryRemoved".into(), true), "{seen}");
    }
}

async fn rows(realm: &Realm, sql: &'static str) -> usize {
    let tenant = realm.tenants[0];
    let mut tx = realm.database.tenant(Product::Identity, tenant, TenantAccess::Read).await.unwrap();
    tx.fetch(Sql::new(sql)).await.unwrap().len()
}

async fn credentials(realm: &Realm) -> u16 {
    realm.post("/oauth2/v1/token", WEB, &[("grant_type", "client_credentials")]).await.status.as_u16()
}

/// The default: nothing changes for anybody.
async fn orphans_go_on(on: On) {
    let realm = Realm::start(on).await;
    let tokens = realm.tokens().await;
    remove(&realm, OnRemove::Orphan, "orphaned").await;
    assert_eq!(credentials(&realm).await, 200);
    assert_eq!(realm.userinfo(tokens["access_token"].as_str().unwrap()).await.status, 200);
}

/// Neither a log-in nor a token, and back with the entry.
async fn what_is_disabled_with_its_entry_is_out_and_comes_back_with_it(on: On) {
    let realm = Realm::start(on).await;
    let tokens = realm.tokens().await;
    remove(&realm, OnRemove::Disable, "disabled").await;
    assert_eq!(credentials(&realm).await, 401);
    assert_eq!(realm.userinfo(tokens["access_token"].as_str().unwrap()).await.status, 401);
    assert_eq!(rows(&realm, "SELECT id FROM {s}users WHERE username = 'demo-admin'").await, 1);
    assert_eq!(rows(&realm, "SELECT hash FROM {s}sessions").await, 0);
    declare(&realm, OnRemove::Disable, |_| true).await;
    for name in [WEB, USER] {
        realm.observed(0, name, |seen| seen["status"] == "ready").await;
    }
    assert_eq!(credentials(&realm).await, 200);
    realm.browser().code(&realm.authorize(WEB, &[]), USER).await;
}

/// Gone with all that they held; the client id is free for another tenant.
async fn what_is_deleted_with_its_entry_leaves_nothing(on: On) {
    let realm = Realm::start(on).await;
    let tokens = realm.tokens().await;
    let pending = realm.browser().code(&realm.authorize(WEB, &[]), USER).await;
    let spec = realm.declared(0, WEB).await;
    remove(&realm, OnRemove::Delete, "deleted").await;
    assert_eq!(credentials(&realm).await, 401);
    assert_eq!(error(&realm.redeem(&pending).await), "invalid_client");
    assert_eq!(error(&realm.refresh(tokens["refresh_token"].as_str().unwrap()).await), "invalid_client");
    assert_eq!(realm.userinfo(tokens["access_token"].as_str().unwrap()).await.status, 401);
    for (query, what) in [
        ("SELECT id FROM {s}users WHERE username = 'demo-admin'", "the user"),
        ("SELECT id FROM {s}clients WHERE client_id = 'demo-confidential-client'", "the client"),
        ("SELECT hash FROM {s}sessions", "sessions"),
        ("SELECT hash FROM {s}codes", "codes"),
        ("SELECT user_id FROM {s}consents", "agreements"),
    ] {
        assert_eq!(rows(&realm, query).await, 0, "{what}");
    }
    realm.declare(1, "client", "taken over", spec).await;
    realm.observed(1, "taken over", |seen| seen["status"] == "ready").await;
    let form =
        [("client_id", WEB), ("client_secret", realm.credentials.secret(WEB)), ("grant_type", "client_credentials")];
    let own: &[(header::HeaderName, &str)] = &[];
    assert_eq!(realm.client.post_form(&realm.url("/oauth2/v1/token"), own, &form).await.unwrap().status, 200);
}

on_each_database!(
    orphans_go_on,
    what_is_disabled_with_its_entry_is_out_and_comes_back_with_it,
    what_is_deleted_with_its_entry_leaves_nothing,
);
