//! A later definition of the same version takes what an earlier one took. `crds/tests/released/<release>/*.yaml` are the
//! definitions of releases; none was made yet.

use std::path::Path;

use serde_json::{Value, json};

/// Bounds that must not fall, and bounds that must not rise.
const UPPER: [&str; 4] = ["maximum", "maxLength", "maxItems", "maxProperties"];
const LOWER: [&str; 4] = ["minimum", "minLength", "minItems", "minProperties"];

/// What objects of the old schema the new one refuses or loses.
fn broken(path: &str, old: &Value, new: &Value) -> Vec<String> {
    let mut found = Vec::new();
    for (name, before) in old["properties"].as_object().into_iter().flatten() {
        match new["properties"].get(name) {
            Some(after) => found.extend(broken(&format!("{path}.{name}"), before, after)),
            None => found.push(format!("{path}.{name} is gone")),
        }
    }
    for key in ["items", "additionalProperties"] {
        if let Some(before) = old.get(key) {
            found.extend(broken(&format!("{path}.{key}"), before, new.get(key).unwrap_or(&Value::Null)));
        }
    }
    for key in ["type", "format", "default", "x-kubernetes-list-type", "x-kubernetes-list-map-keys"] {
        if old.get(key) != new.get(key) {
            found.push(format!("{path}: {key} was {} and is {}", old[key], new[key]));
        }
    }
    let list = |schema: &Value, key: &str| schema[key].as_array().cloned().unwrap_or_default();
    for name in list(new, "required").iter().filter(|name| !list(old, "required").contains(name)) {
        found.push(format!("{path}: {name} is required now"));
    }
    let (before, after) = (list(old, "enum"), list(new, "enum"));
    if !after.is_empty() && (before.is_empty() || before.iter().any(|value| !after.contains(value))) {
        found.push(format!("{path}: enum was {before:?} and is {after:?}"));
    }
    let rule = |rule: &Value| rule["rule"].clone();
    let before: Vec<Value> = list(old, "x-kubernetes-validations").iter().map(rule).collect();
    for rule in list(new, "x-kubernetes-validations").iter().map(rule).filter(|rule| !before.contains(rule)) {
        found.push(format!("{path}: the rule {rule} is new"));
    }
    let bound = |schema: &Value, key: &str| schema[key].as_f64();
    for key in UPPER {
        if bound(new, key).is_some_and(|new| bound(old, key).is_none_or(|old| new < old)) {
            found.push(format!("{path}: {key} was {} and is {}", old[key], new[key]));
        }
    }
    for key in LOWER {
        if bound(new, key).is_some_and(|new| bound(old, key).is_none_or(|old| new > old)) {
            found.push(format!("{path}: {key} was {} and is {}", old[key], new[key]));
        }
    }
    found
}

#[test]
fn objects_of_earlier_releases_stay_valid() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/released");
    for release in std::fs::read_dir(folder).into_iter().flatten() {
        for file in std::fs::read_dir(release.unwrap().path()).unwrap() {
            let text = std::fs::read_to_string(file.unwrap().path()).unwrap();
            let old: Value = serde_yaml::from_str(&text).unwrap();
            let kind = old["spec"]["names"]["singular"].as_str().unwrap();
            let old = &old["spec"]["versions"][0]["schema"]["openAPIV3Schema"];
            assert_eq!(broken(kind, old, &crate::schema(kind)), Vec::<String>::new());
        }
    }
}

#[test]
fn what_would_break_an_object_is_found() {
    let old = json!({"type": "object", "required": ["a"], "properties": {
        "a": {"type": "string", "enum": ["x", "y"]},
        "b": {"type": "integer", "minimum": 1, "maximum": 9},
        "c": {"type": "array", "maxItems": 3, "items": {"type": "string", "maxLength": 5}}}});
    assert!(broken("s", &old, &old).is_empty());
    let change = |pointer: &str, value: Value| {
        let mut new = old.clone();
        match new.pointer_mut(pointer) {
            Some(place) => *place = value,
            None => {
                let (parent, key) = pointer.rsplit_once('/').unwrap();
                new.pointer_mut(parent).unwrap()[key] = value;
            }
        }
        broken("s", &old, &new)
    };
    for (pointer, value) in [
        ("/properties/a/enum", json!(["x", "y", "z"])),
        ("/properties/b/maximum", json!(10)),
        ("/properties/b/minimum", json!(0)),
        ("/properties/d", json!({"type": "string", "maxLength": 5})),
        ("/required", json!([])),
    ] {
        assert_eq!(change(pointer, value), Vec::<String>::new(), "{pointer}");
    }
    for (pointer, value) in [
        ("/properties/a/enum", json!(["x"])),
        ("/properties/a/type", json!("integer")),
        ("/properties/b", json!({"type": "integer", "minimum": 2, "maximum": 9})),
        ("/properties/b/maximum", json!(8)),
        ("/properties/b/default", json!(3)),
        ("/properties/c/maxItems", json!(2)),
        ("/properties/c/items/maxLength", json!(4)),
        ("/properties/c/items/minLength", json!(1)),
        ("/properties/c/x-kubernetes-list-type", json!("set")),
        ("/properties/c/x-kubernetes-validations", json!([{"rule": "self.size() > 1"}])),
        ("/properties", json!({})),
        ("/required", json!(["a", "b"])),
    ] {
        assert!(!change(pointer, value).is_empty(), "{pointer}");
    }
}
