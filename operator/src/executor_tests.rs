use std::collections::BTreeMap;

use serde_json::json;

use super::*;
use crate::child::ChildKind;

fn child(body: Value) -> Child {
    Child {
        at: ChildRef::new(ChildKind::ConfigMap, "ns", "a"),
        ownership: Ownership::Marker { uid: "u".to_owned() },
        labels: BTreeMap::from([(crds::REALM_LABEL.to_owned(), "r".to_owned())]),
        annotations: BTreeMap::new(),
        body,
    }
}

#[test]
fn the_hash_says_what_is_sent_and_nothing_of_order_or_nulls() {
    let hash = |child: &Child| document(child).1;
    let one = child(json!({"data": {"a": "1", "b": "2"}}));
    assert_eq!(hash(&one), hash(&child(json!({"data": {"b": "2", "a": "1", "c": null}}))));
    assert_ne!(hash(&one), hash(&child(json!({"data": {"a": "1", "b": "3"}}))));
    let mut other = one.clone();
    other.ownership = Ownership::Marker { uid: "v".to_owned() };
    assert_ne!(hash(&one), hash(&other));
    let mut other = one.clone();
    other.labels.insert("more".to_owned(), String::new());
    assert_ne!(hash(&one), hash(&other));
}

#[test]
fn the_document_is_whole() {
    let (document, hash) = document(&child(json!({"data": {"a": "1"}})));
    assert_eq!(
        document,
        json!({
            "apiVersion": "v1", "kind": "ConfigMap", "data": {"a": "1"},
            "metadata": {
                "name": "a", "namespace": "ns",
                "labels": {"app.kubernetes.io/managed-by": "keyrealm-operator", "keyrealm.dev/realm": "r"},
                "annotations": {"keyrealm.dev/owner-uid": "u", "keyrealm.dev/applied-hash": hash},
            },
        })
    );
}

#[test]
fn each_kinds_controller_has_its_own_manager() {
    let mut one = child(json!({}));
    assert_eq!(manager(&one), OwnerKind::Realm);
    one.labels.insert(crds::TENANT_LABEL.to_owned(), "t".to_owned());
    assert_eq!(manager(&one), OwnerKind::Tenant);
    one.labels = BTreeMap::from([(crds::DEMO_LABEL.to_owned(), "d".to_owned())]);
    assert_eq!(manager(&one), OwnerKind::DemoEnvironment);
    one.ownership = Ownership::Controller {
        api_version: "keyrealm.dev/v1alpha1",
        kind: "Realm",
        name: "r".to_owned(),
        uid: "u".to_owned(),
    };
    assert_eq!(manager(&one), OwnerKind::Realm);
}
