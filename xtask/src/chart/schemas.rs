//! JSON schemas for kubeconform, one a kind, made from the OpenAPI document that the Go module of Kubernetes brings with it.
//!
//! They are as strict as the API server with `fieldValidation=Strict`: an unknown field and a null are errors.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use keyrealm_crypto::sha256_hex;
use serde_json::{Map, Value, json};

use crate::command::say;
use crate::lock::FileLock;
use crate::need;
use crate::tools::{KUBERNETES_1_34, KUBERNETES_1_37, Tool};

/// Where a schema lies below [`folder`], in kubeconform's words.
pub(super) const LOCATION: &str = "{{.NormalizedKubernetesVersion}}/{{.ResourceKind}}{{.KindSuffix}}.json";
/// The newest version that there are schemas of.
pub(super) const NEWEST: &str = "1.37.2";
/// The versions that there are schemas of.
const VERSIONS: &[(&str, &Tool)] = &[("1.34.4", &KUBERNETES_1_34), (NEWEST, &KUBERNETES_1_37)];
/// Raised when the converter changes.
const RECIPE: u32 = 2;
const REFERENCE: &str = "#/definitions/";
/// A text in the document; the API server takes numbers, too.
const QUANTITY: &str = "io.k8s.apimachinery.pkg.api.resource.Quantity";
const KINDS: &str = "x-kubernetes-group-version-kind";

/// The folder with the schemas; they are made first where they are missing.
///
/// # Errors
/// When the module of Kubernetes cannot be had, or its document has another form.
pub(super) fn folder() -> Result<PathBuf> {
    let schemas = need::cache()?.join("schemas");
    let versions: Vec<&str> = VERSIONS.iter().map(|(version, _)| *version).collect();
    let mut key = sha256_hex(format!("{} {RECIPE}", versions.join(" ")).as_bytes());
    key.truncate(16);
    let folder = schemas.join(&key);
    if folder.is_dir() {
        return Ok(folder);
    }
    let _lock = FileLock::wait(&schemas.join("lock"), "making schemas of Kubernetes")?;
    if folder.is_dir() {
        return Ok(folder);
    }
    let half = schemas.join(format!("{key}.half"));
    // What an interrupted task left.
    let _ = fs::remove_dir_all(&half);
    for (version, tool) in VERSIONS {
        let path = tool.source("api/openapi-spec/swagger.json")?;
        let text = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        let document: Value = serde_json::from_str(&text).with_context(|| format!("{} is not JSON", path.display()))?;
        let count = write(&document, &half.join(format!("v{version}")))
            .with_context(|| format!("no schemas of Kubernetes {version} from {}", path.display()))?;
        say(&format!("schemas of Kubernetes {version}: {count} kinds (once)"));
    }
    fs::rename(&half, &folder).with_context(|| format!("cannot make {}", folder.display()))?;
    Ok(folder)
}

/// Writes a file for each kind and says how many.
fn write(document: &Value, folder: &Path) -> Result<usize> {
    fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    let schemas = convert(document)?;
    for (name, schema) in &schemas {
        let path = folder.join(name);
        fs::write(&path, serde_json::to_vec(schema)?).with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(schemas.len())
}

/// A schema for each kind of the document, by the name of its file.
fn convert(document: &Value) -> Result<BTreeMap<String, Value>> {
    let definitions = document.get("definitions").and_then(Value::as_object).context("it has no definitions")?;
    let mut schemas = BTreeMap::new();
    for (name, definition) in definitions {
        // Lists and options of requests are of no kind, or of every group at once.
        let kinds = definition.get(KINDS).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
        let [kind] = kinds else { continue };
        let field =
            |name: &str| kind.get(name).and_then(Value::as_str).context("a kind lacks its group, version or kind");
        let file = file_name(field("group")?, field("version")?, field("kind")?);
        schemas.insert(file, whole(name, definitions)?);
    }
    ensure!(!schemas.is_empty(), "it has no kinds");
    Ok(schemas)
}

/// As in [`LOCATION`]: `deployment-apps-v1.json`, `service-v1.json`.
fn file_name(group: &str, version: &str, kind: &str) -> String {
    let group = group.split('.').next().filter(|group| !group.is_empty());
    let group = group.map(|group| format!("-{group}")).unwrap_or_default();
    format!("{kind}{group}-{version}.json").to_lowercase()
}

/// The schema of a definition with all that it refers to.
fn whole(name: &str, definitions: &Map<String, Value>) -> Result<Value> {
    let mut used = Map::new();
    let mut open = BTreeSet::from([name.to_owned()]);
    while let Some(name) = open.pop_first() {
        let definition = definitions.get(&name).with_context(|| format!("{name} is referred to and not there"))?;
        let schema = if name == QUANTITY { json!({ "type": ["number", "string"] }) } else { strict(definition) };
        references(&schema, &mut open);
        used.insert(name, schema);
        open.retain(|name| !used.contains_key(name));
    }
    Ok(json!({
        "$schema": "http://json-schema.org/draft-07/schema#",
        "$ref": format!("{REFERENCE}{name}"),
        "definitions": used,
    }))
}

fn references(schema: &Value, found: &mut BTreeSet<String>) {
    match schema {
        Value::Object(fields) => {
            let name = fields.get("$ref").and_then(Value::as_str).and_then(|text| text.strip_prefix(REFERENCE));
            found.extend(name.map(str::to_owned));
            fields.values().for_each(|value| references(value, found));
        }
        Value::Array(values) => values.iter().for_each(|value| references(value, found)),
        _ => {}
    }
}

/// A schema without what is for people and for patches, and closed: an object has its own fields and no others.
fn strict(schema: &Value) -> Value {
    let Some(fields) = schema.as_object() else { return schema.clone() };
    if fields.get("format").is_some_and(|format| format == "int-or-string") {
        return json!({ "type": ["integer", "string"] });
    }
    let mut kept = Map::new();
    for (name, value) in fields {
        let value = match name.as_str() {
            "properties" => {
                let properties = value.as_object().into_iter().flatten();
                Value::Object(properties.map(|(name, schema)| (name.clone(), strict(schema))).collect())
            }
            "items" | "additionalProperties" => strict(value),
            "type" | "required" | "enum" | "$ref" => value.clone(),
            _ => continue,
        };
        kept.insert(name.clone(), value);
    }
    if kept.contains_key("properties") && !kept.contains_key("additionalProperties") {
        kept.insert("additionalProperties".to_owned(), Value::Bool(false));
    }
    Value::Object(kept)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn document() -> Value {
        json!({ "definitions": {
            "io.k8s.Port": { "description": "x", "format": "int-or-string", "type": "string" },
            "io.k8s.Spec": { "type": "object", "properties": {
                "port": { "$ref": "#/definitions/io.k8s.Port", "description": "x" },
                "labels": { "type": "object", "additionalProperties": { "type": "string" } },
                "next": { "$ref": "#/definitions/io.k8s.Spec" },
                // A field may be named as a word of schemas is.
                "format": { "type": "string", "format": "byte" },
            }, "required": ["port"], "x-kubernetes-map-type": "atomic" },
            "io.k8s.Deployment": {
                "type": "object",
                "properties": { "spec": { "$ref": "#/definitions/io.k8s.Spec" } },
                "x-kubernetes-group-version-kind": [{ "group": "rbac.authorization.k8s.io", "kind": "Role", "version": "v1" }],
            },
            "io.k8s.Options": {
                "x-kubernetes-group-version-kind": [
                    { "group": "", "kind": "Options", "version": "v1" },
                    { "group": "apps", "kind": "Options", "version": "v1" },
                ],
            },
        }})
    }

    #[test]
    fn a_kind_has_a_closed_schema_with_all_that_it_needs() {
        let schemas = convert(&document()).unwrap();
        assert_eq!(schemas.keys().collect::<Vec<_>>(), ["role-rbac-v1.json"]);
        let schema = &schemas["role-rbac-v1.json"];
        assert_eq!(schema["$ref"], "#/definitions/io.k8s.Deployment");
        let expected = json!({
            "type": "object",
            "properties": {
                "port": { "$ref": "#/definitions/io.k8s.Port" },
                "labels": { "type": "object", "additionalProperties": { "type": "string" } },
                "next": { "$ref": "#/definitions/io.k8s.Spec" },
                "format": { "type": "string" },
            },
            "required": ["port"],
            "additionalProperties": false,
        });
        assert_eq!(schema["definitions"]["io.k8s.Spec"], expected);
        assert_eq!(schema["definitions"]["io.k8s.Port"]["type"], json!(["integer", "string"]));
        assert_eq!(schema["definitions"]["io.k8s.Deployment"]["additionalProperties"], false);
    }

    #[test]
    fn files_are_named_as_kubeconform_looks_for_them() {
        assert_eq!(file_name("", "v1", "Service"), "service-v1.json");
        assert_eq!(file_name("apps", "v1", "Deployment"), "deployment-apps-v1.json");
        assert_eq!(file_name("networking.k8s.io", "v1", "NetworkPolicy"), "networkpolicy-networking-v1.json");
    }

    #[test]
    fn a_document_of_another_form_is_told() {
        let error = |document: Value| format!("{:#}", convert(&document).unwrap_err());
        assert!(error(json!({})).contains("no definitions"));
        assert!(error(json!({ "definitions": {} })).contains("no kinds"));
        let mut broken = document();
        broken["definitions"].as_object_mut().unwrap().remove("io.k8s.Port");
        assert!(error(broken).contains("io.k8s.Port is referred to"));
    }
}
