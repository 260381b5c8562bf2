//! Ends that something else brings about.

use std::time::Duration;

use k8s_openapi::api::core::v1::Namespace;
use keyrealm_testkit::{PostgresServer, SilentProxy};
use kube::ResourceExt;
use kube::api::{Api, DeleteParams, Patch, PatchParams};
use serde_json::json;

use crate::support::{World, until};

fn delete(policy: &str) -> serde_json::Value {
    json!({"deletionPolicy": policy, "keys": [{"name": "seal", "algorithm": "A256GCM/dir"}], "clients": [
        {"name": "app", "type": "confidential", "grants": ["client_credentials"], "scopes": ["kms:encrypt"]}]})
}

async fn namespace_ends(world: &World) {
    let namespaces = Api::<Namespace>::all(world.client.clone());
    namespaces.delete(&world.namespace, &DeleteParams::default()).await.unwrap();
    until("the namespace ends", Duration::from_secs(50), async || {
        namespaces.get_opt(&world.namespace).await.unwrap().is_none()
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_namespace_ends_with_its_tenants_and_what_they_asked_to_be_destroyed() {
    let world = World::new().await;
    world.apply("one", delete("Delete")).await;
    world.apply("two", delete("Retain")).await;
    world.apply("three", delete("Archive")).await;
    let mut ids = Vec::new();
    for name in ["one", "two", "three"] {
        ids.push(world.stands(name, "Ready").await.status.unwrap().tenant_id.unwrap());
    }
    namespace_ends(&world).await;
    assert_eq!([world.schemas(&ids[0]).await, world.schemas(&ids[1]).await], [0, 2]);
    assert_eq!(world.count("SELECT count(*) FROM keyrealm.archives").await, 2);
    assert_eq!(world.count("SELECT count(*) FROM keyrealm.tenants WHERE enabled = 0 AND owner = ''").await, 1);
    world.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_realm_and_database_a_namespace_ends_and_what_is_left_is_counted() {
    let world = World::new().await;
    world.apply("one", delete("Delete")).await;
    world.stands("one", "Ready").await;
    world.parts.context.databases.forget(&world.realm());
    namespace_ends(&world).await;
    let left = "keyrealm_operator_left_behind_total{kind=\"Tenant\",reason=\"tenant-schemas\"} 1";
    let figures = world.parts.context.metrics.render();
    assert!(figures.contains(left), "{figures}");
    world.end().await;
}

/// The database falls silent: what wants its data destroyed waits and says so, what leaves them goes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_silent_database_holds_up_only_what_needs_it() {
    let proxy = SilentProxy::start(PostgresServer::shared().port).await;
    let port = proxy.port;
    let world = World::on(|mut access| {
        access.port = port;
        access
    })
    .await;
    world.apply("one", delete("Delete")).await;
    world.apply("two", delete("Retain")).await;
    for name in ["one", "two"] {
        world.stands(name, "Ready").await;
    }
    proxy.fall_silent();
    until("the operator sees it", Duration::from_secs(30), async || {
        world.parts.context.databases.get(&world.realm()).unwrap().view().failure.is_some()
    })
    .await;
    world.annotate("one", "test", "look").await;
    world.stands("one", "DatabaseUnreachable").await;
    world.delete("two").await;
    world.tenants().delete("one", &DeleteParams::default()).await.unwrap();
    let reason = |tenant: &crds::Tenant| tenant.status.as_ref().unwrap().conditions[0].message.clone();
    until("it says that it waits", Duration::from_secs(10), async || {
        reason(&world.tenants().get("one").await.unwrap()).contains("\"deletionPolicy\":\"Retain\"")
    })
    .await;
    proxy.speak_again();
    // Its old connections stay silent for ever: they are not tried one by one.
    until("the registry is read again", Duration::from_secs(10), async || {
        world.parts.context.databases.get(&world.realm()).unwrap().view().failure.is_none()
    })
    .await;
    world.goes("one").await;
    assert_eq!(world.count("SELECT count(*) FROM keyrealm.tenants").await, 1, "the one that was kept");

    // Nobody could note that it is kept. Whoever names it may have it all the same.
    world.apply("again", json!({"slug": "two"})).await;
    let retained = world.stands("again", "TenantRetained").await;
    assert!(retained.finalizers().is_empty());
    let id = reason(&retained).rsplit('=').next().unwrap().to_owned();
    let adopt = Patch::Merge(json!({"metadata": {"annotations": {"keyrealm.dev/adopt": id}}}));
    world.tenants().patch("again", &PatchParams::default(), &adopt).await.unwrap();
    assert_eq!(world.stands("again", "Ready").await.status.unwrap().tenant_id, Some(id));
    world.end().await;
}

/// What is kept knows where it lay: the Realm's own namespace may have it, and one whose Tenant cannot be seen is not given up.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_another_namespace_left_is_not_given_up_lightly() {
    let world = World::new().await;
    world.apply("acme", json!({})).await;
    let id = world.stands("acme", "Ready").await.status.unwrap().tenant_id.unwrap();
    let home = format!("{}/acme", world.namespace);
    let kept = format!("SELECT count(*) FROM keyrealm.tenants WHERE home = '{home}' AND enabled = 0 AND owner = ''");
    world.delete("acme").await;
    assert_eq!(world.count(&kept).await, 1);

    // As if it had lain elsewhere, and with the Realm elsewhere: what decides is in the row and in the reference.
    world.test.server().run(world.test.name(), "UPDATE keyrealm.tenants SET home = 'victim/acme'").await;
    world.apply("owner", json!({"slug": "acme"})).await;
    let message = world.stands("owner", "TenantRetained").await.status.unwrap().conditions[0].message.clone();
    assert!(message.contains(&id), "the Realm's own namespace may: {message}");
    world.delete("owner").await;

    // Whose owner is in a namespace that is not looked at is not given up.
    let lives = "UPDATE keyrealm.tenants SET home = 'victim/acme', owner = 'somebody', enabled = 1";
    world.test.server().run(world.test.name(), lives).await;
    world.apply("third", json!({"slug": "acme"})).await;
    world.annotate("third", "keyrealm.dev/adopt", &id).await;
    world.stands("third", "SlugTaken").await;
    let held = "SELECT count(*) FROM keyrealm.tenants WHERE owner = 'somebody' AND enabled = 1";
    assert_eq!(world.count(held).await, 1);
    world.end().await;
}
