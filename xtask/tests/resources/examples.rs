//! What docs/resources.md shows is taken as it stands there, and it names every field.

use serde_json::Value;

use crate::control_plane::{ControlPlane, definitions};

fn document() -> String {
    std::fs::read_to_string(definitions().join("../docs/resources.md")).unwrap()
}

pub(crate) fn the_documentation_applies(cluster: &ControlPlane) {
    let text = document();
    let blocks = text.split("```yaml\n").skip(1).filter_map(|rest| rest.split_once("```"));
    let mut objects: Vec<Value> = Vec::new();
    for (block, _) in blocks {
        objects.extend(block.split("\n---\n").map(|one| serde_yaml::from_str::<Value>(one).unwrap()));
    }
    for kind in ["Realm", "Tenant", "DemoEnvironment"] {
        assert!(objects.iter().any(|object| object["kind"] == kind), "{kind}");
    }
    let names: Vec<String> = (0..objects.len()).map(|index| format!("example-{index}")).collect();
    for object in &mut objects {
        // Objects of a namespace of the reader's.
        object["metadata"].as_object_mut().unwrap().remove("namespace");
    }
    let sent = names.iter().map(String::as_str).zip(&objects);
    let answers = cluster.send(&["create", "--dry-run=server", "--validate=strict"], sent);
    assert!(answers.refused.is_empty() && answers.taken.len() == objects.len(), "{:#?}", answers.refused);
}

#[test]
fn the_documentation_names_every_field() {
    let text = document();
    let mut missing = Vec::new();
    for definition in ::crds::definitions() {
        let version = serde_json::to_value(definition.spec.versions.first().unwrap()).unwrap();
        let schema = &version["schema"]["openAPIV3Schema"]["properties"];
        names(&definition.spec.names.kind, &schema["spec"], &mut |path, name| {
            if !text.contains(&format!("`{name}`")) && !text.contains(&format!(".{name}`")) {
                missing.push(format!("{path}.{name}"));
            }
        });
        names(&definition.spec.names.kind, &schema["status"], &mut |path, name| {
            if !text.contains(&format!("`{name}`")) && !text.contains(&format!(".{name}`")) {
                missing.push(format!("{path}.status {name}"));
            }
        });
    }
    assert!(missing.is_empty(), "docs/resources.md does not name {missing:#?}");
}

fn names(path: &str, schema: &Value, visit: &mut dyn FnMut(&str, &str)) {
    for (name, child) in schema["properties"].as_object().into_iter().flatten() {
        visit(path, name);
        names(&format!("{path}.{name}"), child, visit);
    }
    if let Some(items) = schema.get("items") {
        names(path, items, visit);
    }
}
