//! What people see of the resources with kubectl.

use serde_json::{Value, json};

use crate::cases::{merged, tables};
use crate::control_plane::ControlPlane;

/// The valid object of a kind, under its own name.
fn valid(kind: &str) -> Value {
    tables().into_iter().find(|table| table.kind() == kind).unwrap().valid
}

fn create(cluster: &ControlPlane, object: &Value) {
    let made = cluster.send(&["create", "--validate=strict"], [("object", object)]);
    assert!(made.refused.is_empty(), "{:?}", made.refused);
}

fn set_status(cluster: &ControlPlane, object: &str, status: &Value) {
    let patch = json!({ "status": status }).to_string();
    cluster.kubectl(&["patch", object, "--subresource=status", "--type=merge", "--patch", &patch]);
}

pub(crate) fn explains(cluster: &ControlPlane) {
    let all = cluster.kubectl(&["explain", "realm.spec.tls", "--recursive"]);
    for line in ["chainLength\t<integer>", "enum: P256, P384, P521", "secretRef\t<Object> -required-"] {
        assert!(all.contains(line), "{line} in {all}");
    }
    let one = cluster.kubectl(&["explain", "realm.spec.hostnames"]);
    assert!(one.contains("`host:port`") && one.contains("kms\t<string> -required-"), "{one}");
    let one = cluster.kubectl(&["explain", "tenant.spec.keys.algorithm"]);
    assert!(one.contains("A256GCM/A256KW\n    A256GCM/dir") && one.contains("cannot change"), "{one}");
    let one = cluster.kubectl(&["explain", "demoenvironment.spec"]);
    assert!(one.contains("resetToken") && one.contains("deletes itself"), "{one}");
}

fn condition(reason: &str, status: &str) -> Value {
    json!({"type": "Ready", "status": status, "reason": reason, "message": "because", "observedGeneration": 1,
        "lastTransitionTime": "2026-01-01T00:00:00Z"})
}

pub(crate) fn lists(cluster: &ControlPlane) {
    create(cluster, &valid("realm"));
    create(cluster, &valid("tenant"));
    create(cluster, &valid("demoenvironment"));
    let status = json!({"conditions": [condition("InstancesNotReady", "False")], "tenants": 7, "issuer": "https://id.example.com:8443",
        "expires": "2124-01-01T00:00:00Z", "observedGeneration": 1});
    set_status(cluster, "realm/orders", &status);
    let status = json!({"conditions": [condition("EntriesPending", "Unknown")], "tenantId": "3f0c7a52-8d1e-4b6a-9c3d-2e1f0a9b8c7d"});
    set_status(cluster, "tenant/shop", &status);
    set_status(
        cluster,
        "demoenvironment/demo",
        &json!({"conditions": [condition("Done", "True")], "expires": "2124-01-01T00:00:00Z"}),
    );

    let words = |text: &str| text.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
    let table = cluster.kubectl(&["get", "realms"]);
    let mut lines = table.lines().map(words);
    assert_eq!(lines.next().unwrap(), ["NAME", "READY", "REASON", "TENANTS", "EXPIRES", "AGE"]);
    assert_eq!(lines.next().unwrap()[..5], ["orders", "False", "InstancesNotReady", "7", "2124-01-01T00:00:00Z"]);
    let wide = cluster.kubectl(&["get", "rlm", "--output=wide"]);
    assert!(wide.contains("ISSUER") && wide.contains("https://id.example.com:8443"), "{wide}");
    let table = cluster.kubectl(&["get", "tnt"]);
    assert_eq!(words(table.lines().next().unwrap()), ["NAME", "READY", "REASON", "REALM", "AGE"]);
    assert_eq!(words(table.lines().nth(1).unwrap())[..4], ["shop", "Unknown", "EntriesPending", "orders"]);
    let table = cluster.kubectl(&["get", "demo"]);
    assert_eq!(words(table.lines().next().unwrap()), ["NAME", "READY", "REASON", "TENANTS", "EXPIRES", "AGE"]);
    assert_eq!(words(table.lines().nth(1).unwrap())[..5], ["demo", "True", "Done", "2", "2124-01-01T00:00:00Z"]);

    let all = cluster.kubectl(&["get", "keyrealm", "--output=name"]);
    assert_eq!(all.lines().collect::<Vec<_>>().len(), 3, "{all}");
    let selected = |kind: &str, selector: &str| {
        cluster.kubectl(&["get", kind, "--output=name", "--field-selector", selector]).lines().count()
    };
    assert_eq!(selected("realms", "spec.profile=demo"), 1);
    assert_eq!(selected("realms", "spec.profile=prod"), 0);
    assert_eq!(selected("tenants", "spec.realmRef.name=orders"), 1);
    assert_eq!(selected("tenants", "spec.realmRef.name=other"), 0);
    let waited = cluster.ask(&["wait", "--for=condition=Ready", "demo/demo", "--timeout=1s"]);
    assert!(waited.status.success());
    assert!(!cluster.ask(&["wait", "--for=condition=Ready", "realm/orders", "--timeout=1s"]).status.success());
    cluster.kubectl(&["delete", "keyrealm", "--all", "--timeout=60s"]);
}

pub(crate) fn refuses_and_prunes_what_no_field_is(cluster: &ControlPlane) {
    let mut realm = valid("realm");
    realm["spec"]["tls"]["keystore"] = json!(true);
    let strict = cluster.send(&["create", "--validate=strict"], [("object", &realm)]);
    assert!(strict.refused["object"].contains(r#"unknown field "spec.tls.keystore""#), "{:?}", strict.refused);
    let lax = cluster.send(&["create", "--validate=warn"], [("object", &realm)]);
    assert!(lax.refused.is_empty(), "{:?}", lax.refused);
    let stored: Value = serde_json::from_str(&cluster.kubectl(&["get", "realm/orders", "--output=json"])).unwrap();
    assert_eq!(stored["spec"]["tls"].get("keystore"), None, "it is pruned");
    assert_eq!(stored["spec"], valid("realm")["spec"], "nothing else is lost");
    cluster.kubectl(&["delete", "keyrealm", "--all", "--timeout=60s"]);
}

pub(crate) fn fills_in_defaults(cluster: &ControlPlane) {
    let realm = valid("realm");
    let least = json!({"apiVersion": realm["apiVersion"], "kind": "Realm", "metadata": {"name": "least"},
        "spec": {"hostnames": {"kms": "kms.test", "identity": "id.test"}, "database": {"managed": {}}}});
    create(cluster, &least);
    let stored: Value = serde_json::from_str(&cluster.kubectl(&["get", "realm/least", "--output=json"])).unwrap();
    let defaults = json!({"spec": {"profile": "dev", "database": {"managed": {"storage": "1Gi"}}, "deletionPolicy": "Retain",
        "tls": {"chainLength": 3, "nameStyle": "fqdn", "algorithm": "P256", "caLifetime": "87600h", "leafLifetime": "2160h",
            "renewBefore": "720h"},
        "tokens": {"accessSeconds": 900, "codeSeconds": 60}, "networkPolicy": {"enabled": true}}});
    assert_eq!(merged(&stored, &defaults), stored, "{}", stored["spec"]);
    // As the types read it: what an API server fills in is what the code takes as default.
    let read: ::crds::Realm = serde_json::from_value(stored).unwrap();
    let own: ::crds::Realm = serde_json::from_value(least).unwrap();
    assert_eq!(read.spec, own.spec);
    cluster.kubectl(&["delete", "keyrealm", "--all", "--timeout=60s"]);
}

/// As templates write what is not given.
pub(crate) fn takes_null_for_not_given(cluster: &ControlPlane) {
    let api = valid("realm")["apiVersion"].clone();
    let realm = |profile: &str| {
        json!({"apiVersion": api, "kind": "Realm", "metadata": {"name": "nulls"}, "spec": {"profile": profile,
            "hostnames": {"kms": "kms.test", "identity": "id.test"}, "tls": {"root": null}, "tokens": null,
            "database": {"external": null, "managed": {"storage": null, "storageClassName": null, "image": null}},
            "kms": {"replicas": null, "image": null, "resources": null}, "networkPolicy": {"clients": null}}})
    };
    let tenant = |name: &str| {
        json!({"apiVersion": api, "kind": "Tenant", "metadata": {"name": name}, "spec": {"slug": null, "id": null,
            "displayName": null, "realmRef": {"name": "orders", "namespace": null}, "clients": [{"name": "a", "clientId": null,
            "type": "public", "secret": null, "grants": ["authorization_code"], "redirectUris": ["https://a.test/"],
            "scopes": ["openid"]}]}})
    };
    let (dev, prod, good, bad) = (realm("dev"), realm("prod"), tenant("nulls"), tenant("1.nulls"));
    let objects = [("dev", &dev), ("prod", &prod), ("good", &good), ("bad", &bad)];
    let answers = cluster.send(&["create", "--dry-run=server", "--validate=strict"], objects);
    assert_eq!(answers.taken.len(), 2, "{:#?}", answers.refused);
    assert!(answers.refused["prod"].contains("database.managed is for dev"), "{:#?}", answers.refused);
    assert!(answers.refused["bad"].contains("spec.slug: give one"), "{:#?}", answers.refused);
}
