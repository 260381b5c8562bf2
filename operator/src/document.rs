//! A child as it is sent to the API server, and its hash.

use keyrealm_crypto::sha256;
use serde_json::{Map, Value, json};

use crate::child::{Child, Ownership};
use crate::wake::OwnerKind;

/// A child, ready to be sent.
pub(crate) struct Document {
    members: Map<String, Value>,
    metadata: Map<String, Value>,
    /// SHA-256 of all that is asked for, in hex. It says nothing of the order of keys.
    pub(crate) hash: String,
}

impl Document {
    /// The child with our labels and marks.
    pub(crate) fn of(child: &Child) -> Self {
        let (api_version, kind, _) = child.at.kind.api();
        let mut labels = child.labels.clone();
        labels.insert(crds::MANAGED_BY.to_owned(), crds::OPERATOR.to_owned());
        let mut annotations = child.annotations.clone();
        let mut metadata = Map::new();
        match &child.ownership {
            Ownership::Controller { api_version, kind, name, uid } => {
                let owner = json!([{
                    "apiVersion": api_version, "kind": kind, "name": name, "uid": uid,
                    "controller": true, "blockOwnerDeletion": false,
                }]);
                metadata.insert("ownerReferences".to_owned(), owner);
            }
            Ownership::Marker { uid } => drop(annotations.insert(crds::OWNER_UID.to_owned(), uid.clone())),
        }
        let mut members = match without_nulls(&child.body) {
            Value::Object(members) => members,
            _ => Map::new(),
        };
        members.insert("apiVersion".to_owned(), api_version.into());
        members.insert("kind".to_owned(), kind.into());
        metadata.insert("name".to_owned(), child.at.name.clone().into());
        metadata.insert("namespace".to_owned(), child.at.namespace.clone().into());
        metadata.insert("labels".to_owned(), json!(labels));
        let whole = json!([members, metadata, annotations]);
        let mut canonical = String::new();
        write_canonical(&whole, &mut canonical);
        let hash: String = sha256(canonical.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect();
        annotations.insert(crds::APPLIED_HASH.to_owned(), hash.clone());
        metadata.insert("annotations".to_owned(), json!(annotations));
        Self { members, metadata, hash }
    }

    /// The object; with `uid` it is for the one with this UID alone.
    pub(crate) fn value(&self, uid: Option<&str>) -> Value {
        let (mut members, mut metadata) = (self.members.clone(), self.metadata.clone());
        metadata.extend(uid.map(|uid| ("uid".to_owned(), uid.into())));
        members.insert("metadata".to_owned(), metadata.into());
        members.into()
    }
}

fn write_canonical(value: &Value, text: &mut String) {
    match value {
        Value::Object(map) => {
            let mut keys: Vec<&String> = map.keys().collect();
            keys.sort();
            text.push('{');
            for key in keys {
                text.push_str(&Value::String(key.clone()).to_string());
                text.push(':');
                write_canonical(map.get(key).unwrap_or(&Value::Null), text);
                text.push(',');
            }
            text.push('}');
        }
        Value::Array(items) => {
            text.push('[');
            for item in items {
                write_canonical(item, text);
                text.push(',');
            }
            text.push(']');
        }
        plain => text.push_str(&plain.to_string()),
    }
}

/// Server-side apply would own what is null.
pub(crate) fn without_nulls(value: &Value) -> Value {
    match value {
        Value::Object(map) => map
            .iter()
            .filter(|(_, value)| !value.is_null())
            .map(|(key, value)| (key.clone(), without_nulls(value)))
            .collect::<Map<_, _>>()
            .into(),
        Value::Array(items) => items.iter().map(without_nulls).collect(),
        plain => plain.clone(),
    }
}

/// Whose field manager writes a child.
pub(crate) fn manager(child: &Child) -> OwnerKind {
    if let Ownership::Controller { kind, .. } = &child.ownership
        && let Some(kind) = OwnerKind::named(kind)
    {
        return kind;
    }
    let labelled = |label: &str| child.labels.contains_key(label);
    if labelled(crds::TENANT_LABEL) {
        OwnerKind::Tenant
    } else if labelled(crds::DEMO_LABEL) && !labelled(crds::REALM_LABEL) {
        OwnerKind::DemoEnvironment
    } else {
        OwnerKind::Realm
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::child::{ChildKind, ChildRef};

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
        let hash = |child: &Child| Document::of(child).hash;
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
        let document = Document::of(&child(json!({"data": {"a": "1"}})));
        let hash = &document.hash;
        assert_eq!(
            document.value(None),
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
}
