use std::sync::atomic::{AtomicU8, Ordering};

use crds::{RealmSpec, TenantSpec};
use keyrealm_base::Random;

use super::*;

#[derive(Default)]
struct Counting(AtomicU8);

impl Random for Counting {
    fn fill(&self, buffer: &mut [u8]) {
        buffer.fill(self.0.fetch_add(1, Ordering::Relaxed));
    }
}

fn demo(spec: Value) -> DemoEnvironment {
    serde_json::from_value(json!({
        "apiVersion": "keyrealm.dev/v1alpha1", "kind": "DemoEnvironment",
        "metadata": {"namespace": "acme", "name": "shop", "uid": "u-1"}, "spec": spec,
    }))
    .unwrap()
}

/// What is written is what the types of the resources read, and nothing of a demonstration outlives it.
#[test]
fn realm_and_tenants_are_whole_and_leave_nothing() {
    let demo = demo(json!({}));
    let expansion = Expansion::new(&demo);
    let realm = expansion.realm().unwrap();
    assert_eq!(realm.at.to_string(), "Realm acme/shop");
    let spec: RealmSpec = serde_json::from_value(realm.body["spec"].clone()).unwrap();
    assert_eq!((spec.profile, spec.deletion_policy), (crds::Profile::Demo, crds::RealmDeletionPolicy::Delete));
    assert_eq!(
        (spec.hostnames.kms.as_str(), spec.hostnames.identity.as_str()),
        ("kms.shop.localhost:8081", "id.shop.localhost:8082")
    );
    assert!(spec.database.managed.is_some() && spec.database.external.is_none());
    // The Realm's own defaults hold, also those of a later version.
    assert_eq!(realm.body["spec"].as_object().unwrap().len(), 4, "{}", realm.body);

    for number in 1..=3 {
        let tenant = expansion.tenant(number, "again");
        assert_eq!(tenant.at.name, format!("shop-{number}"));
        assert_eq!(tenant.annotations[RESET_TOKEN], "again");
        let spec: TenantSpec = serde_json::from_value(tenant.body["spec"].clone()).unwrap();
        assert_eq!(spec.slug, Some(format!("demo-{number}")));
        assert_eq!((spec.realm_ref.name.as_str(), spec.deletion_policy), ("shop", crds::TenantDeletionPolicy::Delete));
        assert_eq!(spec.keys.len(), 4);
        let web = spec.clients.iter().find(|client| client.name == "demo-confidential-client").unwrap();
        // The steps of the demo know these ids.
        assert_eq!(web.client_id.as_deref(), (number == 1).then_some("demo-confidential-client"));
    }
}

#[test]
fn what_is_given_of_the_realm_is_taken() {
    let demo = demo(json!({"realm": {
        "hostnames": {"kms": "kms.example", "identity": "id.example:444"},
        "database": {"external": {"secretRef": {"name": "pg"}}},
        "kms": {"replicas": 2},
    }}));
    let expansion = Expansion::new(&demo);
    let spec: RealmSpec = serde_json::from_value(expansion.realm().unwrap().body["spec"].clone()).unwrap();
    assert_eq!(spec.database.external.unwrap().secret_ref.name, "pg");
    assert!(spec.database.managed.is_none());
    assert_eq!(spec.kms.replicas, Some(2));
    assert_eq!(expansion.endpoints().issuer, "https://id.example:444");
}

/// Each reference of a Tenant leads to a key of the Secret, and each secret is in `credentials.json` too.
#[test]
fn tenants_refer_to_what_the_secret_holds() {
    let demo = demo(json!({"tenants": 3}));
    let expansion = Expansion::new(&demo);
    let drawn = DemoCredentials::default().completed(3, &Counting::default());
    let secret = expansion.credentials("", &drawn).unwrap();
    assert_eq!((secret.at.name.as_str(), secret.labels[WATCH].as_str()), ("shop-demo-credentials", "true"));
    let data = secret.body["data"].as_object().unwrap();
    let value = |key: &str| String::from_utf8(STANDARD.decode(data[key].as_str().unwrap()).unwrap()).unwrap();
    let mut referred = 1;
    for number in 1..=3 {
        let spec: TenantSpec = serde_json::from_value(expansion.tenant(number, "").body["spec"].clone()).unwrap();
        for user in spec.users {
            assert_eq!(user.password_secret_ref.name, secret.at.name);
            assert_eq!(value(&user.password_secret_ref.key), drawn.password(&user.name));
            referred += 1;
        }
        for client in spec.clients {
            let id =
                client.client_id.clone().unwrap_or_else(|| format!("{}.{}", spec.slug.as_ref().unwrap(), client.name));
            let Some(source) = client.secret else { continue };
            let source = source.secret_ref.unwrap();
            assert_eq!(source.name, secret.at.name);
            assert_eq!(value(&source.key), drawn.secret(&id));
            assert!(value(&source.key).len() >= 32);
            referred += 1;
        }
    }
    assert_eq!(referred, data.len(), "{:?}", data.keys());
    let kept: DemoCredentials = serde_json::from_str(&value(CREDENTIALS)).unwrap();
    assert!(kept == drawn);
}

#[test]
fn without_a_seed_tenants_are_empty() {
    let demo = demo(json!({"seed": "none"}));
    let spec = expand_first(&demo);
    assert!(spec.keys.is_empty() && spec.clients.is_empty() && spec.users.is_empty());
}

fn expand_first(demo: &DemoEnvironment) -> TenantSpec {
    serde_json::from_value(Expansion::new(demo).tenant(1, "").body["spec"].clone()).unwrap()
}
