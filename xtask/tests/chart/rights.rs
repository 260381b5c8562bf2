//! The operator's rights: no wildcard, and in namespaced mode none outside.

use std::collections::BTreeSet;

use serde_json::Value;

use super::chart::{Chart, NAMESPACE, VARIANTS, of_kind, texts, the};

/// The rights of one role, a line each: `group/resource[names]: verbs`.
fn rights(role: &Value) -> BTreeSet<String> {
    let mut lines = BTreeSet::new();
    for rule in role["rules"].as_array().unwrap() {
        assert!(rule.get("nonResourceURLs").is_none(), "{rule}");
        let names: Vec<&str> = texts(&rule["resourceNames"]).into_iter().collect();
        let names = if names.is_empty() { String::new() } else { format!("[{}]", names.join(" ")) };
        let verbs: Vec<&str> = texts(&rule["verbs"]).into_iter().collect();
        for group in texts(&rule["apiGroups"]) {
            for resource in texts(&rule["resources"]) {
                assert!(lines.insert(format!("{group}/{resource}{names}: {}", verbs.join(" "))), "twice: {rule}");
            }
        }
    }
    lines
}

fn lines(text: &str) -> BTreeSet<String> {
    text.lines().map(|line| line.trim().to_owned()).filter(|line| !line.is_empty()).collect()
}

const WATCHED: &str = "
    /configmaps: create delete get list patch watch
    /secrets: create delete get list patch watch
    /serviceaccounts: create delete get list patch watch
    /services: create delete get list patch watch
    apps/deployments: create delete get list patch watch
    apps/statefulsets: create delete get list patch watch
    events.k8s.io/events: create patch
    keyrealm.dev/demoenvironments/finalizers: update
    keyrealm.dev/demoenvironments/status: patch
    keyrealm.dev/demoenvironments: delete get list patch watch
    keyrealm.dev/realms/finalizers: update
    keyrealm.dev/realms/status: patch
    keyrealm.dev/realms: create delete get list patch watch
    keyrealm.dev/tenants/finalizers: update
    keyrealm.dev/tenants/status: patch
    keyrealm.dev/tenants: create delete get list patch watch
    networking.k8s.io/networkpolicies: create delete get list patch watch
    policy/poddisruptionbudgets: create delete get list patch watch
";
const NAMESPACES: &str = "
    /namespaces: list watch
";
const LEASE: &str = "
    coordination.k8s.io/leases: create
    coordination.k8s.io/leases[test-keyrealm]: get update
";

/// Who changes the rights, changes this list.
#[test]
fn by_default_these_and_no_others() {
    let objects = Chart::new().objects("defaults", &[]);
    assert_eq!(rights(the(&objects, "ClusterRole")), lines(&format!("{WATCHED}{NAMESPACES}")));
    let own = the(&objects, "Role");
    assert_eq!((rights(own), &own["metadata"]["namespace"]), (lines(LEASE), &NAMESPACE.into()));
}

#[test]
fn in_namespaced_mode_there_are_none_outside() {
    let objects = Chart::new().objects("namespaced", &[]);
    for kind in ["ClusterRole", "ClusterRoleBinding"] {
        assert!(of_kind(&objects, kind).is_empty(), "{kind}");
    }
    let mut found: Vec<(&str, BTreeSet<String>)> = of_kind(&objects, "Role")
        .into_iter()
        .map(|role| (role["metadata"]["namespace"].as_str().unwrap(), rights(role)))
        .collect();
    found.sort();
    let expected = [(NAMESPACE, lines(LEASE)), ("team-a", lines(WATCHED)), ("team-b", lines(WATCHED))];
    assert_eq!(found, expected);
}

#[test]
fn there_is_no_wildcard_and_nothing_that_gives_more_rights() {
    let chart = Chart::new();
    for variant in VARIANTS {
        let objects = chart.objects(variant, &[]);
        for role in of_kind(&objects, "ClusterRole").into_iter().chain(of_kind(&objects, "Role")) {
            for line in rights(role) {
                assert!(!line.contains('*'), "{variant}: {line}");
                for power in ["escalate", "bind", "impersonate", "rbac.", "pods", "serviceaccounts/token", "webhook"] {
                    assert!(!line.contains(power), "{variant}: {line}");
                }
            }
        }
    }
}

/// Each role is bound once, in its place, to the account of the operator's pod and to nobody else.
#[test]
fn the_pods_account_has_them_all() {
    let chart = Chart::new();
    for variant in VARIANTS {
        let objects = chart.objects(variant, &[]);
        let account = &the(&objects, "Deployment")["spec"]["template"]["spec"]["serviceAccountName"];
        assert_eq!(the(&objects, "ServiceAccount")["metadata"]["name"], *account);
        for kind in ["ClusterRole", "Role"] {
            let place = |object: &Value| (object["metadata"]["namespace"].clone(), object["metadata"]["name"].clone());
            let roles: Vec<_> = of_kind(&objects, kind).into_iter().map(place).collect();
            let bindings = of_kind(&objects, &format!("{kind}Binding"));
            assert_eq!(bindings.iter().map(|one| place(one)).collect::<Vec<_>>(), roles, "{variant}");
            for binding in bindings {
                assert_eq!(binding["roleRef"]["kind"], *kind);
                assert_eq!(binding["roleRef"]["name"], binding["metadata"]["name"]);
                let subjects =
                    serde_json::json!([{ "kind": "ServiceAccount", "name": account, "namespace": NAMESPACE }]);
                assert_eq!(binding["subjects"], subjects);
            }
        }
    }
}

/// Two releases of one name do not take each other's roles.
#[test]
fn what_is_in_no_namespace_is_named_after_the_releases() {
    let objects = Chart::new().objects("everything", &[]);
    for object in &objects {
        let outside = object["metadata"].get("namespace").is_none() && object["kind"] != "CustomResourceDefinition";
        assert!(
            !outside || object["metadata"]["name"].as_str().unwrap().starts_with("keys-keyrealm-system"),
            "{object}"
        );
    }
}

#[test]
fn without_a_lease_or_rights_there_are_none() {
    let chart = Chart::new();
    let objects = chart.objects("defaults", &["--set", "lease.enabled=false"]);
    assert!(of_kind(&objects, "Role").is_empty() && of_kind(&objects, "RoleBinding").is_empty());
    let objects = chart.objects("namespaced", &["--set", "rbac.create=false"]);
    assert!(objects.iter().all(|object| object["apiVersion"] != "rbac.authorization.k8s.io/v1"));
}
