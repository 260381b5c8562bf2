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

/// The operator's own list, which its tests compare with the calls that they made: `scope group/resource: verbs` a line.
const LISTED: &str = include_str!("../../../operator/rights.txt");

/// The rights that the operator lists in a scope, in the same form. The API server does not know the name of what is created.
fn listed(scope: &str, named: &str) -> BTreeSet<String> {
    let mut lines = BTreeSet::new();
    for line in LISTED.lines().filter_map(|line| line.strip_prefix(scope)?.strip_prefix(' ')) {
        let (what, verbs) = line.split_once(": ").unwrap();
        let (open, by_name): (Vec<&str>, Vec<&str>) =
            verbs.split(' ').partition(|verb| named.is_empty() || *verb == "create");
        for (names, mut verbs) in [(String::new(), open), (format!("[{named}]"), by_name)] {
            if !verbs.is_empty() {
                verbs.sort_unstable();
                lines.insert(format!("{what}{names}: {}", verbs.join(" ")));
            }
        }
    }
    assert!(!lines.is_empty(), "{scope}");
    lines
}

#[test]
fn by_default_they_are_those_that_the_code_lists_and_no_others() {
    let objects = Chart::new().objects("defaults", &[]);
    let mut all = listed("watched", "");
    all.extend(listed("cluster", ""));
    assert_eq!(rights(the(&objects, "ClusterRole")), all);
    let own = the(&objects, "Role");
    let lease = listed("lease", "test-keyrealm");
    assert_eq!((rights(own), &own["metadata"]["namespace"]), (lease, &NAMESPACE.into()));
}

#[test]
fn in_namespaced_mode_there_are_none_outside() {
    let objects = Chart::new().objects("namespaced", &[]);
    assert!(of_kind(&objects, "ClusterRole").is_empty() && of_kind(&objects, "ClusterRoleBinding").is_empty());
    let mut found: Vec<(&str, BTreeSet<String>)> = of_kind(&objects, "Role")
        .into_iter()
        .map(|role| (role["metadata"]["namespace"].as_str().unwrap(), rights(role)))
        .collect();
    found.sort();
    let watched = listed("watched", "");
    let lease = listed("lease", "test-keyrealm");
    assert_eq!(found, [(NAMESPACE, lease), ("team-a", watched.clone()), ("team-b", watched)]);
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
