//! Whether a Realm takes Tenants of a namespace. Pure.

use std::collections::BTreeMap;

use crds::Realm;

/// Why not; `labels` are those of the Tenant's namespace, `None` where namespaces are not watched.
///
/// # Errors
/// With a sentence that says what to do.
pub(super) fn check(realm: &Realm, namespace: &str, labels: Option<&BTreeMap<String, String>>) -> Result<(), String> {
    let own = realm.metadata.namespace.as_deref().unwrap_or_default();
    if own == namespace {
        return Ok(());
    }
    let name = realm.metadata.name.as_deref().unwrap_or_default();
    let Some(selector) = &realm.spec.allowed_tenants.namespace_selector else {
        return Err(format!(
            "the Realm {own}/{name} takes Tenants of its own namespace only; set spec.allowedTenants.namespaceSelector on \
             it to let the namespace {namespace} in"
        ));
    };
    let Some(labels) = labels else {
        return Err(format!(
            "the labels of the namespace {namespace} are not known: an operator that is bound to namespaces takes \
             Tenants in the Realm's own namespace only"
        ));
    };
    match selector.match_labels.iter().find(|(key, value)| labels.get(*key) != Some(&value.0)) {
        None => Ok(()),
        Some((key, value)) => Err(format!(
            "the Realm {own}/{name} takes Tenants of namespaces with the label {key}={}, which the namespace {namespace} \
             does not have",
            value.0
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn realm(allowed: serde_json::Value) -> Realm {
        let spec = serde_json::json!({
            "profile": "dev", "hostnames": {"kms": "kms.example.org", "identity": "id.example.org"},
            "database": {"managed": {}}, "allowedTenants": allowed,
        });
        let mut realm = Realm::new("main", serde_json::from_value(spec).unwrap());
        realm.metadata.namespace = Some("acme".to_owned());
        realm
    }

    #[test]
    fn who_is_let_in() {
        let labels = BTreeMap::from([("team".to_owned(), "blue".to_owned())]);
        let blue = serde_json::json!({"namespaceSelector": {"matchLabels": {"team": "blue"}}});
        let all = serde_json::json!({"namespaceSelector": {"matchLabels": {}}});
        let other = serde_json::json!({"namespaceSelector": {"matchLabels": {"team": "red"}}});
        assert_eq!(check(&realm(serde_json::json!({})), "acme", None), Ok(()));
        assert!(check(&realm(serde_json::json!({})), "beta", Some(&labels)).unwrap_err().contains("allowedTenants"));
        assert_eq!(check(&realm(blue.clone()), "beta", Some(&labels)), Ok(()));
        assert_eq!(check(&realm(all), "beta", Some(&labels)), Ok(()), "an empty selector takes every namespace");
        assert!(check(&realm(other), "beta", Some(&labels)).unwrap_err().contains("team=red"));
        assert!(check(&realm(blue), "beta", None).unwrap_err().contains("not known"));
    }
}
