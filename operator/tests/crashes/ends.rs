//! A namespace is deleted with everything in it. Nobody says what goes first.

use std::time::Duration;

use k8s_openapi::api::core::v1::{Namespace, Pod, Secret};
use kube::api::{Api, DeleteParams};
use serde_json::json;

use crate::process::Operator;
use crate::world::{LIMIT, World, until};

/// What goes before all else.
#[derive(Debug, Clone, Copy)]
enum First {
    Nothing,
    Realm,
    Tenants,
    /// The operator's way into the database.
    Login,
    /// What the operator made.
    Secrets,
}

async fn namespace_ends(world: &World) {
    let namespaces = Api::<Namespace>::all(world.client.clone());
    namespaces.delete(&world.namespace, &DeleteParams::default()).await.unwrap();
    until("the namespace ends", LIMIT, async || {
        namespaces.get_opt(&world.namespace).await.is_ok_and(|one| one.is_none())
    })
    .await;
}

async fn ends(first: First, policy: &str) {
    let world = World::new().await;
    let mut operator = Operator::start(&world.namespace, None);
    let realm = json!({
        "hostnames": {"kms": "kms.acme.test", "identity": "id.acme.test"},
        "database": {"external": {"secretRef": {"name": "postgres"}}}, "deletionPolicy": policy,
    });
    world.apply("Realm", "main", json!({}), realm).await;
    for (name, policy) in [("one", "Delete"), ("two", "Retain"), ("three", "Archive")] {
        let spec = json!({"realmRef": {"name": "main"}, "deletionPolicy": policy});
        world.apply("Tenant", name, json!({}), spec).await;
    }
    for name in ["one", "two", "three"] {
        world.stands("Tenant", name, "Ready").await;
    }
    let deployment = world.deployment_id("main").await;
    match first {
        First::Nothing => {}
        First::Realm => world.delete("Realm", "main").await,
        First::Tenants => {
            for name in ["one", "two", "three"] {
                world.delete("Tenant", name).await;
            }
        }
        First::Login => {
            world.api::<Secret>().delete("postgres", &DeleteParams::default()).await.unwrap();
        }
        First::Secrets => {
            for name in ["main-root-ca", "main-kms-unseal", "main-kms-database", "main-identity-tls"] {
                world.api::<Secret>().delete(name, &DeleteParams::default()).await.unwrap();
            }
        }
    }
    let began = std::time::Instant::now();
    namespace_ends(&world).await;
    eprintln!("{first:?} {policy}: {:.1} s", began.elapsed().as_secs_f64());
    assert!(operator.has_ended().is_none(), "{}", operator.text());
    let kept = world.schemas().await.contains("kms_realm");
    if policy == "Retain" {
        assert!(kept, "{first:?}: Retain keeps the data");
        assert!(!world.roles(&deployment).await.is_empty());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_namespace_ends_whatever_goes_first() {
    let all = [
        (First::Nothing, "Delete"),
        (First::Realm, "Delete"),
        (First::Tenants, "Delete"),
        (First::Login, "Delete"),
        (First::Secrets, "Retain"),
        (First::Realm, "Retain"),
    ];
    futures_util::future::join_all(all.map(|(first, policy)| ends(first, policy))).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_namespace_with_a_managed_database_ends_whatever_goes_first() {
    let ends = async |first: &str| {
        let world = World::new().await;
        let _operator = Operator::start(&world.namespace, None);
        for policy in ["Delete", "Retain"] {
            let realm = json!({
                "hostnames": {"kms": "kms.acme.test", "identity": "id.acme.test"}, "database": {"managed": {}},
                "deletionPolicy": policy,
            });
            world.apply("Realm", &policy.to_lowercase(), json!({}), realm).await;
            let spec = json!({"realmRef": {"name": policy.to_lowercase()}, "deletionPolicy": policy});
            world.apply("Tenant", &format!("of-{}", policy.to_lowercase()), json!({}), spec).await;
        }
        for name in ["delete-postgres-0", "retain-postgres-0"] {
            until("the database's pod is made", LIMIT, async || {
                world.api::<Pod>().get_opt(name).await.is_ok_and(|pod| pod.is_some())
            })
            .await;
        }
        if !first.is_empty() {
            world.api::<Secret>().delete(first, &DeleteParams::default()).await.unwrap();
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
        namespace_ends(&world).await;
    };
    futures_util::future::join(ends(""), ends("delete-postgres-admin")).await;
}
