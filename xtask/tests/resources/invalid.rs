//! Objects made invalid by the schema itself: each bound of each field broken once.

use serde_json::{Value, json};

use crate::cases::tables;
use crate::control_plane::ControlPlane;

/// A valid object with one thing wrong.
struct Invalid {
    object: Value,
    /// The field as the API server writes it.
    field: String,
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
        // Of the rules, the field is in the message that the table names.
        for case in table.cases().iter().filter(|case| !case.accepted && case.before.is_none() && !case.schema) {
            let field = case.says.split([':', ' ']).next().unwrap().to_owned();
            invalid.push(Invalid { object: case.object.clone(), field });
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
            Some(message) if message.contains(&one.field) => {}
            other => wrong.push(format!("{}: {other:?}", one.field)),
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// Breaks each bound of the node at `pointer`, then those below it.
fn break_each(valid: &Value, pointer: &str, field: &str, schema: &Value, found: &mut Vec<Invalid>) {
    let Some(there) = valid.pointer(pointer) else { return };
    let mut with = |value: Value, field: &str| {
        let mut object = valid.clone();
        *object.pointer_mut(pointer).unwrap() = value;
        found.push(Invalid { object, field: field.to_owned() });
    };
    let number = |key: &str| schema[key].as_f64().map(|value| value as i64);
    let size = |key: &str| schema[key].as_u64().and_then(|value| usize::try_from(value).ok());
    match schema["type"].as_str().unwrap() {
        "string" => {
            with(json!(17), field);
            if schema.get("enum").is_some() {
                with(json!("no-such-value"), field);
            }
            if let Some(most) = size("maxLength") {
                with(json!("a".repeat(most + 1)), field);
            }
            if size("minLength").is_some() {
                with(json!(""), field);
            }
        }
        "integer" => {
            with(json!("many"), field);
            with(json!(number("minimum").unwrap() - 1), field);
            with(json!(number("maximum").unwrap() + 1), field);
        }
        "boolean" => with(json!("maybe"), field),
        "array" => {
            with(json!("no list"), field);
            let items = there.as_array().unwrap();
            with(Value::Array(vec![items[0].clone(); size("maxItems").unwrap() + 1]), field);
            if size("minItems").is_some() {
                with(json!([]), field);
            }
            break_each(valid, &format!("{pointer}/0"), &format!("{field}[0]"), &schema["items"], found);
        }
        "object" => {
            with(json!("no object"), field);
            if let Some(most) = size("maxProperties") {
                let map: serde_json::Map<_, _> = (0..=most).map(|index| (format!("k{index}"), json!("1"))).collect();
                with(Value::Object(map), field);
                return;
            }
            let mut more = there.clone();
            more["noSuchField"] = json!(1);
            with(more, &format!("{field}.noSuchField"));
            for name in schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str) {
                let mut less = there.clone();
                less.as_object_mut().unwrap().remove(name);
                // The key of a list of entries is missed by the list.
                with(less, if field.ends_with(']') { name } else { field });
            }
            for (name, child) in schema["properties"].as_object().into_iter().flatten() {
                break_each(valid, &format!("{pointer}/{name}"), &format!("{field}.{name}"), child, found);
            }
        }
        other => panic!("{field}: {other}"),
    }
}
