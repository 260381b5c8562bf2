//! An operator that is bound to namespaces, with the rights that the chart gives it there and none elsewhere.

use std::path::Path;

use crds::{Realm, Tenant};
use kube::ResourceExt;
use serde_json::{Value, json};

use crate::account::{grant, impersonate};
use crate::process::Operator;
use crate::world::{LIMIT, World, kubeconfig, until};

/// The rules of the chart's own template.
fn rules(name: &str) -> Value {
    let chart = Path::new(env!("CARGO_MANIFEST_DIR")).join("../charts/keyrealm/templates/rbac.yaml");
    let text = std::fs::read_to_string(chart).unwrap();
    let (_, rest) = text.split_once(&format!("define \"keyrealm.rules.{name}\" -}}}}")).unwrap();
    let (rules, _) = rest.split_once("{{- end -}}").unwrap();
    serde_yaml::from_str(&rules.replace("{{ include \"keyrealm.lease\" . }}", "keyrealm-operator")).unwrap()
}

fn realm() -> Value {
    json!({
        "hostnames": {"kms": "kms.acme.test", "identity": "id.acme.test"},
        "database": {"external": {"secretRef": {"name": "postgres"}}},
        "allowedTenants": {"namespaceSelector": {}},
    })
}

fn tenant(realm: Value) -> Value {
    json!({
        "realmRef": realm, "deletionPolicy": "Delete", "keys": [{"name": "seal", "algorithm": "ES256"}],
        "clients": [{"name": "app", "type": "confidential", "grants": ["client_credentials"], "scopes": ["kms:sign"]}],
    })
}

/// The operator is in the third namespace, which it does not look at.
#[tokio::test(flavor = "multi_thread")]
async fn bound_to_two_namespaces_it_works_there_and_touches_nothing_in_a_third() {
    let (one, two, three) = (World::new().await, World::new().await, World::new().await);
    for world in [&one, &two] {
        grant(&world.client, &world.namespace, "operator", rules("watched"), &three.namespace).await;
    }
    grant(&three.client, &three.namespace, "operator-lease", rules("own"), &three.namespace).await;
    for world in [&one, &three] {
        world.apply("Realm", "main", json!({}), realm()).await;
        world.apply("Tenant", "acme", json!({}), tenant(json!({"name": "main"}))).await;
    }
    let elsewhere = |world: &World| tenant(json!({"name": "main", "namespace": world.namespace}));
    two.apply("Tenant", "stray", json!({}), elsewhere(&three)).await;
    two.apply("Tenant", "guest", json!({}), elsewhere(&one)).await;
    let versions = async || {
        let realm = three.api::<Realm>().get("main").await.unwrap();
        let tenant = three.api::<Tenant>().get("acme").await.unwrap();
        [realm.resource_version(), tenant.resource_version()]
    };
    let (before, secrets) = (versions().await, three.objects().await);

    let folder = tempfile::tempdir().unwrap();
    let settings = [
        format!("kubeconfig={}", impersonate(kubeconfig(), &three.namespace, folder.path()).display()),
        format!("watch.namespaces={},{}", one.namespace, two.namespace),
        "lease.enabled=true".to_owned(),
    ];
    let mut operator = Operator::start_with(&three.namespace, None, &settings);
    one.stands("Realm", "main", "Ready").await;
    one.stands("Tenant", "acme", "Ready").await;
    two.stands("Tenant", "stray", "RealmNotWatched").await;
    let told = two.ready("Tenant", "stray").await.unwrap().message;
    for words in [&format!("{}/main", three.namespace), &one.namespace, &two.namespace, "watch.namespaces"] {
        assert!(told.contains(words), "{told}");
    }
    // Whose labels are not known is not let in.
    two.stands("Tenant", "guest", "NamespaceNotAllowed").await;
    // A Realm that comes later is watched, too; it and its Tenant go again.
    two.apply("Realm", "main", json!({}), realm()).await;
    two.apply("Tenant", "acme", json!({}), tenant(json!({"name": "main"}))).await;
    two.stands("Tenant", "acme", "Ready").await;
    for name in ["acme", "stray", "guest"] {
        two.delete("Tenant", name).await;
        two.gone("Tenant", name).await;
    }
    until("its Secret goes", LIMIT, async || two.objects().await.iter().all(|one| one != "Secret/acme-client-app"))
        .await;

    assert_eq!((versions().await, three.objects().await), (before, secrets), "the third namespace was touched");
    assert!(three.schemas().await.is_empty(), "{:?}", three.schemas().await);
    assert!(operator.text().contains("this process leads"), "without the Lease: {}", operator.text());
    assert!(operator.has_ended().is_none(), "{}", operator.text());
    let refused = ["forbidden", "Forbidden", "403"].iter().find(|word| operator.text().contains(**word));
    assert_eq!(refused, None, "{}", operator.text());
    drop(operator);
    for world in [one, two, three] {
        world.end().await;
    }
}
