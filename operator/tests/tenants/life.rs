//! The life of a Tenant.

use std::collections::HashSet;
use std::time::Duration;

use crds::EntryState;
use http::Method;
use keyrealm_base::{ObjectId, SystemClock};
use keyrealm_crypto::SystemRandom;
use keyrealm_jose::b64;
use keyrealm_registry::{NewTenant, RegistryError};
use kube::ResourceExt;
use kube::api::{DeleteParams, Patch, PatchParams};
use operator::databases::RealmKey;
use serde_json::{Value, json};

use crate::support::{World, text, until};

const SCOPES: &str = "kms:encrypt kms:decrypt kms:key:read";

fn spec() -> Value {
    json!({
        "keys": [{"name": "seal", "algorithm": "A256GCM/dir"}, {"name": "sign", "algorithm": "ES256"}],
        "clients": [{"name": "app", "type": "confidential", "grants": ["client_credentials"],
            "scopes": ["kms:encrypt", "kms:decrypt", "kms:key:read"], "secret": {"overlap": "24h"}}],
        "users": [{"name": "alice", "passwordSecretRef": {"name": "people", "key": "alice"}, "roles": ["user"]}],
    })
}

async fn put_secret(world: &World, name: &str, data: Value) {
    let object = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "stringData": data});
    world.secrets().patch(name, &PatchParams::apply("test").force(), &Patch::Apply(object)).await.unwrap();
}

async fn encrypt(world: &World, token: &str) -> (String, String) {
    let keys = world.kms(token, Method::GET, "/api/v1/keys?name[]=seal", None).await;
    assert_eq!(keys.status, 200, "{}", keys.text());
    let key = keys.json()["items"][0]["key_id"].as_str().unwrap().to_owned();
    let body = json!({"plaintext": b64::encode("something")});
    let answer = world.kms(token, Method::POST, &format!("/api/v1/keys/{key}/encrypt"), Some(body)).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    (key, answer.json()["ciphertext"].as_str().unwrap().to_owned())
}

async fn opens(world: &World, token: &str, key: &str, ciphertext: &str) {
    let body = json!({"ciphertext": ciphertext});
    let answer = world.kms(token, Method::POST, &format!("/api/v1/keys/{key}/decrypt"), Some(body)).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(answer.json()["plaintext"], b64::encode("something"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn from_apply_to_a_token_and_a_ciphertext_and_what_stays_after_deletion() {
    let world = World::new().await;
    world.apply("acme", spec()).await;
    // The password is not there yet: said by name, and nothing else waits for it.
    let waits = world.stands("acme", "SecretMissing").await;
    let status = waits.status.unwrap();
    assert!(status.conditions[0].message.contains("alice") && status.ready_entries.as_deref() != Some("4/4"));
    put_secret(&world, "people", json!({"alice": "correct horse battery staple"})).await;
    world.annotate("acme", "test", "look").await;
    world.clock.advance(Duration::from_secs(11));
    world.annotate("acme", "test", "again").await;
    let ready = world.stands("acme", "Ready").await;
    let status = ready.status.unwrap();
    assert_eq!((status.ready_entries.as_deref(), status.entries.len()), (Some("4/4"), 0));
    let id = status.tenant_id.unwrap();
    assert_eq!(world.schemas(&id).await, 2);

    let secret = world.secret("acme-client-app").await;
    let (client_id, first) = (text(&secret, "client_id").unwrap(), text(&secret, "client_secret").unwrap());
    assert_eq!((client_id.as_str(), first.len()), ("acme.app", 43));
    let token = world.token(&client_id, &first, SCOPES).await.map_err(|answer| answer.text()).unwrap();
    let (key, ciphertext) = encrypt(&world, &token).await;
    opens(&world, &token, &key, &ciphertext).await;

    // Another resource with the same slug touches nothing, before and after it goes.
    world.apply("loser", json!({"slug": "acme", "deletionPolicy": "Delete"})).await;
    let loser = world.stands("loser", "SlugTaken").await;
    assert!(loser.finalizers().is_empty() && loser.status.unwrap().tenant_id.is_none());
    world.delete("loser").await;
    opens(&world, &token, &key, &ciphertext).await;

    // Kept without its resource: not served, and not given to somebody who only has the name.
    world.delete("acme").await;
    assert_eq!(world.schemas(&id).await, 2, "Retain is the default");
    until("it is not served any more", Duration::from_secs(10), async || {
        world.token(&client_id, &first, SCOPES).await.is_err()
    })
    .await;
    world
        .apply("acme", json!({"deletionPolicy": "Delete", "keys": spec()["keys"], "clients": spec()["clients"]}))
        .await;
    let retained = world.stands("acme", "TenantRetained").await;
    let message = retained.status.as_ref().unwrap().conditions[0].message.clone();
    assert!(message.contains(&format!("keyrealm.dev/adopt={id}")) && retained.finalizers().is_empty(), "{message}");
    world.annotate("acme", "keyrealm.dev/adopt", &id).await;
    let adopted = world.stands("acme", "Ready").await.status.unwrap();
    assert_eq!(adopted.tenant_id.as_deref(), Some(id.as_str()));
    assert_eq!((adopted.entries[0].name.as_str(), adopted.entries[0].state), ("alice", EntryState::Orphaned));
    let second = text(&world.secret("acme-client-app").await, "client_secret").unwrap();
    assert!(second != first && world.token(&client_id, &first, SCOPES).await.is_err());
    let token = world.token(&client_id, &second, SCOPES).await.map_err(|answer| answer.text()).unwrap();
    opens(&world, &token, &key, &ciphertext).await;

    // Destroyed once nobody serves it, with all that was its own.
    world.delete("acme").await;
    assert_eq!(world.schemas(&id).await, 0);
    assert_eq!(world.count("SELECT count(*) FROM keyrealm.tenants").await, 0);
    assert_eq!(world.count("SELECT count(*) FROM keyrealm.desired").await, 0);
    world.end().await;
}

/// Asked for at the same time they share transactions, and one that is refused takes nothing from the others.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tenants_that_come_together_are_made_together_and_refused_alone() {
    let world = World::new().await;
    let database = world.parts.context.databases.get(&RealmKey::new(&world.namespace, "main")).unwrap();
    let make = |slugs: [&str; 8]| {
        let new = slugs.map(|slug| NewTenant {
            slug: slug.to_owned(),
            display_name: slug.to_owned(),
            id: None,
            owner: ObjectId::new(&SystemClock, &SystemRandom).to_string(),
            home: format!("{}/{slug}", world.namespace),
        });
        let database = &database;
        futures_util::future::join_all(new.map(|new| async move { database.create_tenant(&new).await.unwrap() }))
    };
    let made = make(["a", "b", "c", "d", "e", "f", "g", "h"]).await;
    let at: HashSet<i64> = made.into_iter().map(|made| made.unwrap().tenant.changed).collect();
    assert!(at.len() < 4, "eight tenants took {} transactions", at.len());
    let made = make(["i", "j", "k", "k", "l", "a", "m", "n"]).await;
    let refused = |made: &Result<_, RegistryError>| matches!(made, Err(RegistryError::SlugTaken { .. }));
    assert_eq!(made.iter().filter(|made| refused(made)).count(), 2);
    assert_eq!(made.iter().filter(|made| made.is_ok()).count(), 6);
    assert!(refused(&made[5]) && made[2].is_ok() != made[3].is_ok());
    world.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn secrets_are_rotated_restored_and_taken_back() {
    let world = World::new().await;
    put_secret(&world, "people", json!({"alice": "correct horse battery staple"})).await;
    world.apply("beta", spec()).await;
    world.stands("beta", "Ready").await;
    let name = "beta-client-app";
    let read = async || text(&world.secret(name).await, "client_secret").unwrap();
    let valid = async |secret: &str| world.token("beta.app", secret, "kms:encrypt").await.is_ok();
    let first = read().await;

    let rotate = Patch::Merge(json!({"metadata": {"annotations": {"keyrealm.dev/rotate": "1"}}}));
    world.secrets().patch(name, &PatchParams::default(), &rotate).await.unwrap();
    until("it is rotated", Duration::from_secs(15), async || read().await != first).await;
    let second = read().await;
    assert_eq!(text(&world.secret(name).await, "client_secret_previous"), Some(first.clone()));
    until("both are valid", Duration::from_secs(10), async || valid(&second).await && valid(&first).await).await;
    world.clock.advance(Duration::from_hours(25));
    world.annotate("beta", "test", "the overlap is over").await;
    until("the first one ends", Duration::from_secs(15), async || !valid(&first).await && valid(&second).await).await;
    until("and goes", Duration::from_secs(5), async || {
        text(&world.secret(name).await, "client_secret_previous").is_none()
    })
    .await;

    // Somebody writes one of his own into it.
    let edit = Patch::Merge(json!({"stringData": {"client_secret": "hunter2"}}));
    world.secrets().patch(name, &PatchParams::default(), &edit).await.unwrap();
    until("it is replaced", Duration::from_secs(15), async || ![&second, "hunter2"].contains(&read().await.as_str()))
        .await;
    let third = read().await;
    until("the new one is valid", Duration::from_secs(10), async || valid(&third).await).await;
    assert!(valid(&second).await && !valid("hunter2").await, "what callers have stays valid");

    world.secrets().delete(name, &DeleteParams::default()).await.unwrap();
    until("it is made again", Duration::from_secs(15), async || world.secrets().get_opt(name).await.unwrap().is_some())
        .await;
    let fourth = read().await;
    until("the old one ends at once", Duration::from_secs(10), async || valid(&fourth).await && !valid(&third).await)
        .await;

    // Entries come and go.
    let mut less = spec();
    less["keys"] = json!([{"name": "sign", "algorithm": "ES256"}]);
    less["clients"] = json!([]);
    world.apply("beta", less).await;
    until("both are left to themselves", Duration::from_secs(30), async || {
        let status = world.stands("beta", "Ready").await.status.unwrap();
        let orphaned = status.entries.iter().filter(|entry| entry.state == EntryState::Orphaned).count();
        (status.ready_entries.as_deref(), orphaned) == (Some("2/2"), 2)
    })
    .await;
    assert!(valid(&fourth).await, "an orphan works on");
    world.apply("beta", spec()).await;
    let status = world.stands("beta", "Ready").await.status.unwrap();
    assert_eq!((status.ready_entries.as_deref(), read().await), (Some("4/4"), fourth));
    world.end().await;
}

/// The end of an overlap that was promised holds over restarts of the operator: when it comes while nobody works, and before.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_former_secret_of_ones_own_ends_when_it_was_promised_although_the_operator_starts_anew() {
    let mut world = World::new().await;
    let [first, second, third] = ["a", "b", "c"].map(|letter| letter.repeat(40));
    let given = |secret: &str| json!({"app": secret});
    put_secret(&world, "own", given(&first)).await;
    let client = json!({"name": "app", "type": "confidential", "grants": ["client_credentials"],
        "scopes": ["kms:encrypt"], "secret": {"secretRef": {"name": "own", "key": "app"}, "overlap": "1h"}});
    world.apply("delta", json!({"clients": [client]})).await;
    let id = world.stands("delta", "Ready").await.status.unwrap().tenant_id.unwrap();
    let noted = format!("SELECT count(*) FROM keyrealm.overlaps WHERE tenant = '{id}'");
    assert_eq!(world.count(&noted).await, 0);

    put_secret(&world, "own", given(&second)).await;
    world.annotate("delta", "test", "another secret").await;
    world.clock.advance(Duration::from_mins(11));
    world.annotate("delta", "test", "look").await;
    let both = async |world: &World, old: &str, new: &str| {
        (
            world.token("delta.app", old, "kms:encrypt").await.is_ok(),
            world.token("delta.app", new, "kms:encrypt").await.is_ok(),
        )
    };
    until("both are valid", Duration::from_secs(20), async || both(&world, &first, &second).await == (true, true))
        .await;
    assert_eq!(world.count(&noted).await, 1);

    // Half of the overlap is over at the restart, and the other half remains.
    world.restart(Duration::from_mins(30)).await;
    world.annotate("delta", "test", "half").await;
    world.stands("delta", "Ready").await;
    assert_eq!(both(&world, &first, &second).await, (true, true), "the time is not over");
    world.clock.advance(Duration::from_mins(31));
    world.annotate("delta", "test", "over").await;
    until("it ends in its time", Duration::from_secs(20), async || {
        both(&world, &first, &second).await == (false, true)
    })
    .await;
    assert_eq!(world.count(&noted).await, 0);

    put_secret(&world, "own", given(&third)).await;
    world.clock.advance(Duration::from_mins(11));
    world.annotate("delta", "test", "the third").await;
    until("both are valid", Duration::from_secs(20), async || both(&world, &second, &third).await == (true, true))
        .await;
    world.restart(Duration::from_mins(61)).await;
    until("it ended meanwhile", Duration::from_secs(20), async || both(&world, &second, &third).await == (false, true))
        .await;
    world.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rights_that_somebody_took_are_given_back_and_a_tenant_at_rest_asks_nobody() {
    let world = World::new().await;
    world.apply("gamma", json!({"keys": [{"name": "seal", "algorithm": "A256GCM/dir"}]})).await;
    let id = world.stands("gamma", "Ready").await.status.unwrap().tenant_id.unwrap();
    tokio::time::sleep(Duration::from_secs(2)).await;
    world.parts.journal.take();
    for round in 0..3 {
        let queues = world.parts.context.metrics.render();
        assert!(queues.contains("keyrealm_operator_reconcile_total"), "{round}");
        tokio::time::sleep(Duration::from_secs(2)).await;
    }
    let calls: Vec<_> = world.parts.journal.take().into_iter().filter(|call| call.verb != "watch").collect();
    assert!(calls.is_empty(), "{calls:?}");

    let hex = id.replace('-', "");
    let role = format!(
        "SELECT count(*) FROM pg_roles, pg_namespace WHERE nspname = 'kms_{hex}' AND rolname LIKE 'kms_{hex}\\_%' \
        AND rolname NOT LIKE '%own%' AND has_schema_privilege(rolname, nspname, 'USAGE')"
    );
    assert_eq!(world.count(&role).await, 1);
    let revoke = format!(
        "DO $$ DECLARE r text; BEGIN SELECT rolname INTO r FROM pg_roles WHERE rolname LIKE 'kms_{hex}\\_%' AND rolname NOT LIKE \
         '%own%'; EXECUTE format('REVOKE USAGE ON SCHEMA kms_{hex} FROM %I', r); END $$"
    );
    world.test.server().run(world.test.name(), &revoke).await;
    assert_eq!(world.count(&role).await, 0);
    world.clock.advance(Duration::from_mins(1));
    world.annotate("gamma", "test", "look").await;
    until("the right is back", Duration::from_secs(15), async || world.count(&role).await == 1).await;
    world.stands("gamma", "Ready").await;

    let comment = format!("COMMENT ON SCHEMA kms_{hex} IS 'theirs'");
    world.test.server().run(world.test.name(), &comment).await;
    world.clock.advance(Duration::from_mins(1));
    world.annotate("gamma", "test", "look again").await;
    let foreign = world.stands("gamma", "ForeignObject").await;
    assert!(foreign.status.unwrap().conditions[0].message.contains(&hex));
    world.end().await;
}
