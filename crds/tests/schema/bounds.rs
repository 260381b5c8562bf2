//! Everything is bounded and described: the cost of a rule, the size of an object and what `kubectl explain` shows.

use serde_json::Value;

use crate::{schema, walk};

const KINDS: [&str; 3] = ["realm", "tenant", "demoenvironment"];
const UNSIGNED: [&str; 4] = ["uint", "uint8", "uint32", "uint64"];

fn each(mut check: impl FnMut(&str, &Value)) {
    let mut looked_at = 0;
    for kind in KINDS {
        walk(kind, &schema(kind), &mut |path, node| {
            looked_at += 1;
            check(path, node);
        });
    }
    assert!(looked_at > 150, "{looked_at}");
}

#[test]
fn everything_has_bounds() {
    let mut wrong = Vec::new();
    each(|path, node| {
        let has = |key: &str| node.get(key).is_some_and(|value| !value.is_null());
        let bounded = match node["type"].as_str() {
            Some("string") => has("maxLength") || has("enum"),
            Some("array") => has("maxItems"),
            Some("object") if has("additionalProperties") => has("maxProperties"),
            // What becomes of a status is the operator's to bound.
            Some("integer") => has("minimum") && (has("maximum") || path.contains(".status.")),
            Some("object" | "boolean") => true,
            _ => false,
        };
        let unsigned = node["format"].as_str().is_some_and(|format| UNSIGNED.contains(&format));
        // Neither prunes nor checks what lies below.
        let open = has("x-kubernetes-preserve-unknown-fields") || has("x-kubernetes-embedded-resource");
        if !bounded || unsigned || open {
            wrong.push(format!("{path}: {}", node["type"]));
        }
    });
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn everything_is_described_in_one_paragraph() {
    let mut wrong = Vec::new();
    each(|path, node| {
        let text = node["description"].as_str().unwrap_or_default();
        // Items of a list and values of a map are described by it; kube adds the status object.
        let named = !path.ends_with(']') && !path.ends_with('}') && !path.ends_with(".status");
        if (named && text.is_empty()) || text.contains('\n') || text.contains("[`") {
            wrong.push(format!("{path}: {text:?}"));
        }
    });
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// A field with a default says it in the schema.
#[test]
fn what_may_be_left_out_has_a_default_or_says_what_happens() {
    let mut wrong = Vec::new();
    each(|path, node| {
        let required = node["required"].as_array().cloned().unwrap_or_default();
        for (name, field) in node["properties"].as_object().into_iter().flatten() {
            let spec = path.contains(".spec") || name == "spec";
            let said = field["description"].as_str().is_some_and(|text| text.contains("unless given"));
            let empty = matches!(field["type"].as_str(), Some("array"))
                || [
                    "description",
                    "displayName",
                    "email",
                    "requests",
                    "limits",
                    "secretRef",
                    "root",
                    "external",
                    "managed",
                ]
                .contains(&name.as_str());
            // An object of a DemoEnvironment takes the defaults of a Realm.
            let inherited = path.ends_with("demoenvironment.spec.realm") || name == "resetToken";
            if spec
                && !required.contains(&Value::from(name.clone()))
                && field.get("default").is_none()
                && !said
                && !empty
                && !inherited
            {
                wrong.push(format!("{path}.{name}"));
            }
        }
    });
    assert!(wrong.is_empty(), "{wrong:#?}");
}
