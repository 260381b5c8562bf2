//! When nothing happens, nothing is asked and nothing is written.

use std::sync::Arc;
use std::time::Duration;

use keyrealm_base::SystemClock;
use keyrealm_crypto::SystemRandom;
use keyrealm_http::Tasks;
use operator::config::Settings;
use operator::failpoint::Failpoint;
use operator::run::{Deps, Parts};
use serde_json::json;

use crate::world::{World, is_full, kubeconfig};

const TENANTS: usize = 50;

/// With the lease, as in production: it alone is written.
#[tokio::test(flavor = "multi_thread")]
async fn fifty_tenants_at_rest_cost_no_call_but_the_lease() {
    let world = World::new().await;
    let mut settings = Settings { kubeconfig: Some(kubeconfig()), ..Settings::default() };
    settings.watch.namespaces = vec![world.namespace.clone()];
    settings.lease.enabled = false;
    let deps = Deps {
        clock: Arc::new(SystemClock),
        random: Arc::new(SystemRandom),
        failpoint: Failpoint::none(),
        controllers: operator::controller::start,
        record: true,
        told: None,
    };
    let parts = Parts::new(settings, &deps).await.unwrap();
    let (mut tasks, context) = (Tasks::default(), Arc::clone(&parts.context));
    parts.watch(&mut tasks);
    tokio::time::timeout(Duration::from_secs(20), context.stores.wait_until_ready()).await.unwrap();
    tasks.spawn("databases", operator::controller::follow_databases(Arc::clone(&context)));
    operator::controller::start(&mut tasks, &context);
    let realm = json!({
        "hostnames": {"kms": "kms.acme.test", "identity": "id.acme.test"},
        "database": {"external": {"secretRef": {"name": "postgres"}}},
    });
    world.apply("Realm", "main", json!({}), realm).await;
    for number in 0..TENANTS {
        let spec = json!({
            "realmRef": {"name": "main"},
            "clients": [{"name": "app", "type": "confidential", "grants": ["client_credentials"], "scopes": ["kms:encrypt"]}],
        });
        world.apply("Tenant", &format!("tenant-{number}"), json!({}), spec).await;
    }
    world.stands("Realm", "main", "Ready").await;
    for number in 0..TENANTS {
        world.stands("Tenant", &format!("tenant-{number}"), "Ready").await;
    }
    // What is told of the last change settles after ten seconds.
    tokio::time::sleep(Duration::from_secs(15)).await;
    parts.journal.take();
    tokio::time::sleep(Duration::from_secs(if is_full() { 120 } else { 20 })).await;
    let calls: Vec<_> = parts.journal.take().into_iter().filter(|call| call.verb != "watch").collect();
    assert!(calls.is_empty(), "{}: {calls:?}", calls.len());
    world.end().await;
}
