//! When nothing happens, nothing is asked and nothing is written.

use std::time::Duration;

use serde_json::json;

use crate::audit::Audit;
use crate::process::Operator;
use crate::world::{World, is_full, kubeconfig};

const TENANTS: usize = 50;

/// With the lease, as in production: it alone is read and written.
#[tokio::test(flavor = "multi_thread")]
async fn fifty_tenants_at_rest_cost_no_call_but_the_lease() {
    let world = World::new().await;
    let settings = [format!("kubeconfig={}", kubeconfig().display()), "lease.enabled=true".to_owned()];
    let mut operator = Operator::start_with(&world.namespace, None, &settings);
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
    let audit = Audit::now();
    tokio::time::sleep(Duration::from_secs(if is_full() { 120 } else { 20 })).await;
    let (lease, other): (Vec<_>, Vec<_>) =
        audit.calls_in(&world.namespace).into_iter().partition(|call| call.resource() == "leases");
    // A watch that ends after some minutes is begun anew from where it was.
    let other: Vec<_> = other.into_iter().filter(|call| call.verb() != "watch").collect();
    assert!(other.is_empty(), "{}: {other:?}", other.len());
    assert!(!lease.is_empty(), "the log says nothing of the lease");
    assert!(operator.has_ended().is_none(), "{}", operator.text());
    eprintln!("50 Tenants at rest: {} calls for the lease, none beside", lease.len());
    world.end().await;
}
