//! The schemas of the resources: what every one of them must say, and what its rules take and refuse.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "helpers of tests fail the test")]

mod bounds;
#[path = "../cases/mod.rs"]
mod cases;
mod compatible;
mod rules;

use serde_json::Value;

/// A definition as JSON, by its kind in lower case.
fn schema(kind: &str) -> Value {
    let definitions = crds::definitions();
    let definition = definitions.iter().find(|definition| definition.spec.names.singular.as_deref() == Some(kind));
    let version = definition.unwrap().spec.versions.first().unwrap();
    serde_json::to_value(version.schema.as_ref().unwrap().open_api_v3_schema.as_ref().unwrap()).unwrap()
}

/// Every node below a schema, with its path.
fn walk(path: &str, node: &Value, visit: &mut dyn FnMut(&str, &Value)) {
    visit(path, node);
    for (name, child) in node["properties"].as_object().into_iter().flatten() {
        walk(&format!("{path}.{name}"), child, visit);
    }
    for (key, step) in [("items", "[]"), ("additionalProperties", "{}")] {
        if let Some(child) = node.get(key) {
            walk(&format!("{path}{step}"), child, visit);
        }
    }
}
