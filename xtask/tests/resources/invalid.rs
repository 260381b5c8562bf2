//! Objects made invalid by the schema itself: each bound of each field broken once.

use serde_json::{Value, json};

use crate::cases::tables;
use crate::control_plane::ControlPlane;

/// A valid object with one thing wrong.
struct Invalid {
    object: Value,
    /// What the API server's message has: the field as it writes it.
    says: String,
}

pub(crate) fn generated_objects_are_refused_with_the_field(cluster: &ControlPlane) {
    let definitions = ::crds::definitions();
    let mut invalid = Vec::new();
    for table in tables() {
        let kind = table.kind();
        let definition = definitions.iter().find(|one| one.spec.names.singular.as_deref() == Some(&kind)).unwrap();
        let version = serde_json::to_value(definition.spec.versions.first().unwrap()).unwrap();
        let schema = &version["schema"]["openAPIV3Schema"]["properties"]["spec"];
        break_each(&table.valid, "/spec", "spec", schema, &mut invalid);
        // Of the rules, the table has what they refuse; their messages name the field.
        for case in table.cases().iter().filter(|case| !case.accepted && case.before.is_none() && !case.schema) {
            invalid.push(Invalid { object: case.object.clone(), says: case.says.clone() });
        }
    }
    assert!(invalid.len() >= 200, "{}", invalid.len());
    let names: Vec<String> = (0..invalid.len()).map(|index| format!("invalid-{index}")).collect();
    let objects = names.iter().map(String::as_str).zip(invalid.iter().map(|one| &one.object));
    let answers = cluster.send(&["create", "--dry-run=server", "--validate=strict"], objects);
    assert!(answers.taken.is_empty(), "{:#?}", answers.taken);
    let mut wrong = Vec::new();
    for (name, one) in names.iter().zip(&invalid) {
        match answers.refused.get(name) {
            Some(message) if message.contains(&one.says) => {}
            other => wrong.push(format!("{}: {other:?}", one.says)),
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// Breaks each bound of the node at `pointer`, then those below it.
fn break_each(valid: &Value, pointer: &str, field: &str, schema: &Value, found: &mut Vec<Invalid>) {
    let Some(there) = valid.pointer(pointer) else { return };
    let mut broken = |value: Value, says: String| {
        let mut object = valid.clone();
        *object.pointer_mut(pointer).unwrap() = value;
        found.push(Invalid { object, says });
    };
    let mut with = |value: Value, what: &str| broken(value, format!("{field}: {what}"));
    let number = |key: &str| schema[key].as_f64().map(|value| value as i64);
    let size = |key: &str| schema[key].as_u64().and_then(|value| usize::try_from(value).ok());
    match schema["type"].as_str().unwrap() {
        "string" => {
            with(json!(17), "Invalid value");
            if schema.get("enum").is_some() {
                with(json!("no-such-value"), "Unsupported value");
            }
            if let Some(most) = size("maxLength") {
                with(json!("a".repeat(most + 1)), "Too long");
            }
            if size("minLength").is_some() {
                with(json!(""), "Invalid value");
            }
        }
        "integer" => {
            with(json!("many"), "Invalid value");
            with(json!(number("minimum").unwrap() - 1), "Invalid value");
            with(json!(number("maximum").unwrap() + 1), "Invalid value");
        }
        "boolean" => with(json!("maybe"), "Invalid value"),
        "array" => {
            with(json!("no list"), "Invalid value");
            let items = there.as_array().unwrap();
            with(Value::Array(vec![items[0].clone(); size("maxItems").unwrap() + 1]), "Too many");
            if size("minItems").is_some() {
                with(json!([]), "Invalid value");
            }
            break_each(valid, &format!("{pointer}/0"), &format!("{field}[0]"), &schema["items"], found);
        }
        "object" => {
            with(json!("no object"), "Invalid value");
            if let Some(most) = size("maxProperties") {
                let map: serde_json::Map<_, _> = (0..=most).map(|index| (format!("k{index}"), json!("1"))).collect();
                with(Value::Object(map), "Too many");
                return;
            }
            let mut more = there.clone();
            more["noSuchField"] = json!(1);
            broken(more, format!("unknown field \"{field}.noSuchField\""));
            for name in schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str) {
                let mut less = there.clone();
                less.as_object_mut().unwrap().remove(name);
                broken(less, format!("{field}.{name}: Required value"));
            }
            for (name, child) in schema["properties"].as_object().into_iter().flatten() {
                break_each(valid, &format!("{pointer}/{name}"), &format!("{field}.{name}"), child, found);
            }
        }
        other => panic!("{field}: {other}"),
    }
}
