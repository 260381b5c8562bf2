use serde_json::{Value, json};

use super::*;

fn demo(name: &str, spec: Value, status: Value) -> DemoEnvironment {
    serde_json::from_value(json!({
        "apiVersion": "keyrealm.dev/v1alpha1", "kind": "DemoEnvironment",
        "metadata": {"name": name, "namespace": "acme", "generation": 2}, "spec": spec, "status": status,
    }))
    .unwrap()
}

fn condition(kind: &str, status: &str, generation: i64) -> Value {
    json!({"type": kind, "status": status, "observedGeneration": generation, "reason": "DatabaseUnreachable",
        "message": "it does not answer", "lastTransitionTime": "2026-01-01T00:00:00Z"})
}

fn status(conditions: &[Value]) -> Value {
    json!({"conditions": conditions, "credentialsSecret": "shop-demo-credentials", "endpoints": {"issuer": "https://id"}})
}

#[test]
fn the_named_one_or_the_only_one_is_taken() {
    let all = |names: &[&str]| names.iter().map(|name| demo(name, json!({}), Value::Null)).collect::<Vec<_>>();
    let chosen = |names: &[&str], named| choose(all(names), named, "acme").map(|demo| name(&demo).to_owned());
    assert_eq!(chosen(&["shop"], None), Ok("shop".to_owned()));
    assert_eq!(chosen(&["shop", "other"], Some("shop")), Ok("shop".to_owned()));
    let told = |names: &[&str], named| chosen(names, named).unwrap_err().to_string();
    assert!(told(&["shop", "other"], None).contains("shop, other; name one with --demo-environment"));
    assert!(told(&["shop", "other"], Some("third")).contains("no DemoEnvironment third, but: shop, other"));
    let none = told(&[], Some("shop"));
    assert!(none.contains("kubectl --namespace acme apply -f deployments/examples/demo-environment.yaml"), "{none}");
}

/// What was said before the last change says nothing.
#[test]
fn only_a_condition_of_this_generation_counts() {
    let of = |status| standing(&demo("shop", json!({}), status));
    let Standing::Ready(endpoints, secret) = of(status(&[condition("Ready", "True", 2)])) else { panic!() };
    assert_eq!((endpoints.issuer.as_str(), secret.as_deref()), ("https://id", Some("shop-demo-credentials")));
    for early in [Value::Null, status(&[]), status(&[condition("Ready", "True", 1)])] {
        assert!(matches!(of(early), Standing::Waiting(why) if why.contains("no operator has looked at it")));
    }
    let why = "DatabaseUnreachable: it does not answer".to_owned();
    let waiting = [condition("Ready", "False", 2), condition("Stalled", "True", 1)];
    assert_eq!(of(status(&waiting)), Standing::Waiting(why.clone()));
    let stalled = [condition("Ready", "False", 2), condition("Stalled", "True", 2)];
    assert_eq!(of(status(&stalled)), Standing::Stalled(why));
}

#[test]
fn one_with_too_little_for_the_steps_is_told_how_to_get_more() {
    let secret = || Some("s".to_owned());
    assert_eq!(enough(&demo("shop", json!({}), Value::Null), secret(), "acme"), Ok("s".to_owned()));
    let told = |spec| enough(&demo("shop", spec, Value::Null), secret(), "acme").unwrap_err().to_string();
    let one = told(json!({"tenants": 1}));
    assert!(one.contains("has tenants: 1, and") && one.contains(r#"'{"spec":{"tenants":2,"seed":"demo"}}'"#), "{one}");
    assert!(told(json!({"tenants": 3, "seed": "none"})).contains("tenants: 3 and no seed"));
}
