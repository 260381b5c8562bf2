//! The resource definitions in the chart.

use serde_json::Value;

use super::chart::{Chart, DEFINITIONS, of_kind, said, xtask};

const KIND: &str = "CustomResourceDefinition";
const KEEP: &str = "helm.sh/resource-policy";

#[test]
fn they_are_those_of_the_workspace() {
    let output = xtask("crds", &["--check"]);
    assert!(output.status.success(), "{}", said(&output));
}

/// They go through templates, and come out as they are.
#[test]
fn nothing_of_them_is_changed() {
    let chart = Chart::new();
    let objects = chart.objects("defaults", &[]);
    let found = of_kind(&objects, KIND);
    assert_eq!(found.len(), DEFINITIONS.len());
    for plural in DEFINITIONS {
        let source = chart.definition(plural);
        let rendered = found.iter().find(|one| one["metadata"]["name"] == source["metadata"]["name"]).unwrap();
        assert_eq!(plain(&rendered["spec"]), plain(&source["spec"]), "{plural}");
        assert_eq!(rendered["apiVersion"], source["apiVersion"]);
        for part in ["annotations", "labels"] {
            for (name, value) in source["metadata"][part].as_object().into_iter().flatten() {
                assert_eq!(rendered["metadata"][part][name], *value, "{plural}: {name}");
            }
        }
    }
}

/// With `1.0` as `1`, which are the same to the API server: Go writes whole numbers without a fraction.
fn plain(value: &Value) -> Value {
    match value {
        Value::Number(number) => match number.as_f64().filter(|float| float.fract() == 0.0) {
            Some(float) if number.is_f64() => Value::from(float as i64),
            _ => value.clone(),
        },
        Value::Array(values) => values.iter().map(plain).collect(),
        Value::Object(fields) => fields.iter().map(|(name, value)| (name.clone(), plain(value))).collect(),
        _ => value.clone(),
    }
}

#[test]
fn they_are_kept_when_the_release_goes_unless_it_is_said() {
    let chart = Chart::new();
    let kept = |arguments: &[&str]| -> Vec<Value> {
        let objects = chart.objects("defaults", arguments);
        of_kind(&objects, KIND).iter().map(|one| one["metadata"]["annotations"][KEEP].clone()).collect()
    };
    assert_eq!(kept(&[]), ["keep", "keep", "keep"]);
    assert_eq!(kept(&["--set", "crds.keep=false"]), [Value::Null, Value::Null, Value::Null]);
    // Nobody's annotation switches it off by the way.
    let set = "crds.annotations.helm\\.sh/resource-policy=delete";
    assert_eq!(kept(&["--set", set]), ["keep", "keep", "keep"]);
    assert!(kept(&["--set", "crds.enabled=false"]).is_empty());
}

#[test]
fn nothing_else_is_kept() {
    let chart = Chart::new();
    let objects = chart.objects("defaults", &[]);
    for object in objects.iter().filter(|object| object["kind"] != KIND) {
        assert!(object["metadata"]["annotations"].get(KEEP).is_none(), "{object}");
    }
}

#[test]
fn what_is_no_definition_is_told() {
    let chart = Chart::new();
    std::fs::write(chart.path().join("files/crds/x.yaml"), "kind: [").unwrap();
    let output = chart.template(&[]);
    assert!(!output.status.success());
    assert!(said(&output).contains("files/crds/x.yaml is no CustomResourceDefinition"), "{}", said(&output));
}
