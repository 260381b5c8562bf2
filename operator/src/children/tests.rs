//! The objects as JSON, in `snapshots/`; `KEYREALM_SNAPSHOTS=write` writes them anew. And what holds for all of them.

use crds::{Realm, RealmSpec};
use serde_json::{Value, json};

use super::config_map::Connection;
use super::*;
use crate::config::Images;

fn realm(change: Value) -> Realm {
    let mut spec = json!({
        "hostnames": {"kms": "kms.acme.test", "identity": "id.acme.test:8082"},
        "database": {"external": {"secretRef": {"name": "postgres"}}},
    });
    merge(&mut spec, change);
    let spec: RealmSpec = serde_json::from_value(spec).unwrap();
    let mut realm = Realm::new("main", spec);
    realm.metadata.namespace = Some("acme".to_owned());
    realm.metadata.uid = Some("7b4c9d9e-0000-4000-8000-000000000001".to_owned());
    realm
}

fn merge(into: &mut Value, from: Value) {
    match (into, from) {
        (Value::Object(into), Value::Object(from)) => {
            for (key, value) in from {
                merge(into.entry(key).or_insert(Value::Null), value);
            }
        }
        (into, from) => *into = from,
    }
}

fn images() -> Images {
    Images {
        kms: "keyrealm/kms:dev".to_owned(),
        identity: "keyrealm/identity:dev".to_owned(),
        postgres: "keyrealm/postgres:15".to_owned(),
        pull_policy: "IfNotPresent".to_owned(),
    }
}

/// All objects that are no Secrets.
fn objects(realm: &Realm) -> Vec<Child> {
    let home = Home::of(realm).unwrap();
    let connection = Connection {
        host: "db.acme.test".to_owned(),
        port: 5432,
        database: "keyrealm".to_owned(),
        ca_pem: "PEM".to_owned(),
    };
    let mut children = vec![config_map::trust_bundle(&home, "BUNDLE")];
    for part in Part::SERVERS {
        let login = format!("{}_login_099a8057", part.name());
        let (config, _) = config_map::server(&home, part, &connection, &login);
        children.extend([config, service::server(&home, part), service_account::of(&home, part)]);
        children.push(deployment::of(&home, part, &images(), "HASH"));
        children.extend(pod_disruption_budget::of(&home, part));
        children.extend(network_policy::of(&home, part, "keyrealm-system", 5432));
    }
    if let Some(managed) = &home.spec.database.managed {
        children.extend([config_map::postgres(&home), service::postgres(&home)]);
        children.extend([service_account::of(&home, Part::Postgres), stateful_set::of(&home, managed, &images())]);
        children.extend(network_policy::of(&home, Part::Postgres, "keyrealm-system", 5432));
    }
    children
}

fn check(name: &str, realm: &Realm) {
    let all: serde_json::Map<String, Value> = objects(realm)
        .into_iter()
        .map(|child| {
            assert_eq!(child.ownership.uid(), realm.metadata.uid.as_deref().unwrap());
            (child.at.to_string(), json!({"labels": child.labels, "body": child.body}))
        })
        .collect();
    let text = serde_json::to_string_pretty(&all).unwrap() + "\n";
    let file = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("src/children/snapshots/{name}.json"));
    if std::env::var_os("KEYREALM_SNAPSHOTS").is_some() {
        std::fs::write(&file, &text).unwrap();
    }
    let kept = std::fs::read_to_string(&file).unwrap();
    assert!(kept == text, "{} differs; look at it after KEYREALM_SNAPSHOTS=write", file.display());
}

#[test]
fn a_small_realm_on_a_database_of_its_own() {
    check("external", &realm(json!({})));
}

#[test]
fn a_realm_in_production_with_chosen_clients() {
    check(
        "production",
        &realm(json!({
            "profile": "prod", "kms": {"replicas": 3, "image": "registry.test/kms:1",
                "resources": {"requests": {"cpu": "1"}, "limits": {"memory": "1Gi"}}},
            "networkPolicy": {"clients": {"matchLabels": {"team": "pay"}}},
        })),
    );
}

#[test]
fn a_realm_on_a_managed_database() {
    check(
        "managed",
        &realm(json!({
            "database": {"external": null, "managed": {"storage": "2Gi", "storageClassName": "fast"}},
            "deletionPolicy": "Delete",
        })),
    );
}

#[test]
fn without_network_policies_there_are_none() {
    let children = objects(&realm(json!({"networkPolicy": {"enabled": false}})));
    assert!(children.iter().all(|child| child.at.kind != ChildKind::NetworkPolicy));
}

/// Restricted Pod Security, as <https://kubernetes.io/docs/concepts/security/pod-security-standards/> lists it, and no token.
#[test]
fn every_pod_is_restricted_and_has_no_token() {
    let managed = json!({"database": {"external": null, "managed": {}}, "profile": "demo"});
    let mut pods = 0;
    for child in objects(&realm(managed)) {
        let template = &child.body["spec"]["template"];
        let Some(containers) = template["spec"]["containers"].as_array() else { continue };
        pods += 1;
        let pod = &template["spec"];
        assert_eq!(pod["automountServiceAccountToken"], false, "{}", child.at);
        assert_eq!(pod["securityContext"]["runAsNonRoot"], true);
        assert_eq!(pod["securityContext"]["seccompProfile"]["type"], "RuntimeDefault");
        for container in containers {
            let security = &container["securityContext"];
            assert_eq!(security["allowPrivilegeEscalation"], false);
            assert_eq!(security["readOnlyRootFilesystem"], true);
            assert_eq!(security["capabilities"], json!({"drop": ["ALL"]}));
            assert!(container["resources"]["limits"]["memory"].is_string());
            for probe in ["startupProbe", "readinessProbe", "livenessProbe"] {
                assert!(container[probe]["exec"].is_object(), "{} {probe}", child.at);
            }
        }
        let allowed = ["configMap", "secret", "emptyDir"];
        for volume in pod["volumes"].as_array().unwrap() {
            assert!(allowed.iter().any(|kind| volume[kind].is_object()), "{volume}");
        }
    }
    assert_eq!(pods, 3);
}

/// What the servers are given is what they take.
#[test]
fn a_certificate_and_a_password_are_no_part_of_the_hash_of_the_settings() {
    let realm = realm(json!({}));
    let home = Home::of(&realm).unwrap();
    let connection = |host: &str, ca: &str| Connection {
        host: host.to_owned(),
        port: 5432,
        database: "keyrealm".to_owned(),
        ca_pem: ca.to_owned(),
    };
    let hash = |connection: &Connection| config_map::server(&home, Part::Kms, connection, "login").1;
    assert_eq!(hash(&connection("a", "one")), hash(&connection("a", "two")));
    assert_ne!(hash(&connection("a", "one")), hash(&connection("b", "one")));
}

#[test]
fn an_irreplaceable_secret_has_no_owner_but_a_mark() {
    let realm = realm(json!({}));
    let home = Home::of(&realm).unwrap();
    let key = keyrealm_crypto::SecretBytes::copy_of(b"x");
    let uid = realm.metadata.uid.clone().unwrap();
    for child in [
        secret::unseal::of(&home, Part::Kms, &key),
        secret::root_ca::of(&home, "a", "b", "c"),
        secret::admin::of(&home, &key),
    ] {
        assert_eq!(child.ownership, Ownership::Marker { uid: uid.clone() }, "{}", child.at);
        assert_eq!(child.body["type"], "Opaque");
    }
}

/// Over the UIDs of many realms renewals spread, none is late, and the same realm always has the same.
#[test]
fn renewals_are_spread_by_uid() {
    use keyrealm_base::Timestamp;
    use std::time::Duration;
    let end = Timestamp::from_seconds(10_000_000);
    let before = Duration::from_secs(1_000_000);
    let at = |uid: usize| secret::leaf::renewal(end, before, &format!("uid-{uid}"), Part::Kms);
    let all: Vec<_> = (0..200).map(at).collect();
    assert!(all.iter().all(|at| *at <= end.minus(before) && *at >= end.minus(before + before / 10)));
    let early = all.iter().filter(|at| **at < end.minus(before + before / 20)).count();
    assert!((60..140).contains(&early), "{early}");
    assert_eq!(at(7), at(7));
}
