//! What an API server takes and refuses: the table in the YAML files beside this one.

use serde::Deserialize;
use serde_json::{Value, json};

const TABLES: [&str; 3] =
    [include_str!("realm.yaml"), include_str!("tenant.yaml"), include_str!("demoenvironment.yaml")];

/// A file of the table.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Table {
    /// An object that is taken, with as many fields as go together.
    pub(crate) valid: Value,
    rules: Vec<Row>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Row {
    says: String,
    #[serde(default)]
    update: bool,
    #[serde(default)]
    schema: bool,
    #[serde(default)]
    before: Value,
    accept: Vec<Value>,
    refuse: Vec<Value>,
}

/// An object, and whether it is taken.
pub(crate) struct Case {
    /// Unique among all cases.
    pub(crate) id: String,
    /// How the message of the rule begins.
    pub(crate) says: String,
    /// Whether the object is taken.
    pub(crate) accepted: bool,
    /// Not a CEL rule: only an API server tells.
    pub(crate) schema: bool,
    /// What it replaces.
    pub(crate) before: Option<Value>,
    /// The object.
    pub(crate) object: Value,
}

/// The files.
pub(crate) fn tables() -> Vec<Table> {
    TABLES.iter().map(|text| serde_yaml::from_str(text).unwrap()).collect()
}

impl Table {
    /// The kind in lower case.
    pub(crate) fn kind(&self) -> String {
        self.valid["kind"].as_str().unwrap().to_lowercase()
    }

    /// All its cases.
    pub(crate) fn cases(&self) -> Vec<Case> {
        let mut cases = Vec::new();
        for row in &self.rules {
            assert!(!row.accept.is_empty() && !row.refuse.is_empty(), "{}: one of each", row.says);
            let patches = row.accept.iter().map(|patch| (true, patch));
            for (accepted, patch) in patches.chain(row.refuse.iter().map(|patch| (false, patch))) {
                let id = format!("{}-{}", self.kind(), cases.len());
                let named = merged(&self.valid, &json!({ "metadata": { "name": id.clone() } }));
                let before = row.update.then(|| merged(&named, &row.before));
                let object = merged(&named, patch);
                cases.push(Case { id, says: row.says.clone(), accepted, schema: row.schema, before, object });
            }
        }
        cases
    }
}

/// The target after a merge patch (RFC 7396).
pub(crate) fn merged(target: &Value, patch: &Value) -> Value {
    let Value::Object(patch) = patch else { return if patch.is_null() { target.clone() } else { patch.clone() } };
    let mut result = target.as_object().cloned().unwrap_or_default();
    for (key, value) in patch {
        if value.is_null() {
            result.remove(key);
        } else {
            let old = result.get(key).cloned().unwrap_or(Value::Null);
            result.insert(key.clone(), merged(&old, value));
        }
    }
    Value::Object(result)
}
