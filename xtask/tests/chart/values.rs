//! Values that are refused, with a message that names the value and what is wanted.

use std::collections::BTreeSet;
use std::fs;

use serde_json::Value;

use super::chart::{Chart, said, source};

/// `--set`, the place that is named, and what is said of it.
const REFUSED: &[(&str, &str, &str)] = &[
    ("replicas=0", "/replicas", "minimum: got 0, want 1"),
    ("replicas=6", "/replicas", "maximum: got 6, want 5"),
    ("replicas=two", "/replicas", "got string, want integer"),
    ("replicas=null", "''", "missing property 'replicas'"),
    ("replica=2", "''", "additional properties 'replica' not allowed"),
    ("enabled=false", "/enabled", "value must be true"),
    ("nameOverride=Keys", "/nameOverride", "does not match pattern"),
    ("commonLabels.a=-", "/commonLabels/a", "does not match pattern"),
    ("image.tagg=1", "/image", "additional properties 'tagg' not allowed"),
    ("image.repository=x:1.2", "/image/repository", "does not match pattern"),
    ("image.repository=", "/image/repository", "does not match pattern"),
    ("image.digest=sha256:12", "/image/digest", "does not match pattern"),
    ("image.pullPolicy=Sometimes", "/image/pullPolicy", "must be one of 'Always', 'IfNotPresent', 'Never'"),
    ("image.pullSecrets={a,a}", "/image/pullSecrets", "items at 0 and 1 are equal"),
    ("workloads.vault.tag=1", "/workloads", "additional properties 'vault' not allowed"),
    ("workloads.postgres.tag=15", "/workloads/postgres/tag", "got number, want string"),
    ("watch.namespaces={Team}", "/watch/namespaces/0", "does not match pattern"),
    ("watch.namespaces={a.b}", "/watch/namespaces/0", "does not match pattern"),
    ("watch.namespaces={a,a}", "/watch/namespaces", "items at 0 and 1 are equal"),
    ("watch.namespaces=a", "/watch/namespaces", "got string, want array"),
    ("lease.enabled=maybe", "/lease/enabled", "got string, want boolean"),
    ("crds.keep=1", "/crds/keep", "got number, want boolean"),
    ("crds.annotations.a=1", "/crds/annotations/a", "got number, want string"),
    ("serviceAccount.name=A", "/serviceAccount/name", "does not match pattern"),
    ("telemetry.format=text", "/telemetry/format", "must be one of 'json', 'human'"),
    ("telemetry.level=", "/telemetry/level", "minLength"),
    ("service.port=0", "/service/port", "minimum: got 0, want 1"),
    ("service.port=70000", "/service/port", "maximum"),
    ("resources.limits.memory=1GB", "/resources/limits/memory", "does not match pattern"),
    ("resources.limits.gpu=1", "/resources/limits", "additional properties 'gpu' not allowed"),
    ("resources.requests.cpu=-1", "/resources/requests/cpu", "minimum"),
    ("tolerations[0].operator=Like", "/tolerations/0/operator", "must be one of 'Exists', 'Equal'"),
    ("spread.antiAffinity=soft", "/spread/antiAffinity", "must be one of"),
    ("networkPolicy.apiServer.ports={https}", "/networkPolicy/apiServer/ports/0", "got string, want integer"),
    ("networkPolicy.postgresql.cidrs={10.0.0.1}", "/networkPolicy/postgresql/cidrs/0", "does not match pattern"),
    ("networkPolicy.postgresql.cidrs={10.0.0.0/33}", "/networkPolicy/postgresql/cidrs/0", "does not match pattern"),
    ("networkPolicy.metrics.namespaces={A}", "/networkPolicy/metrics/namespaces/0", "does not match pattern"),
    ("metrics.tls.secretName=A", "/metrics/tls/secretName", "does not match pattern"),
    ("metrics.tls.certificate=a", "/metrics/tls", "additional properties 'certificate' not allowed"),
    ("flowSchema.matchingPrecedence=1", "/flowSchema/matchingPrecedence", "minimum: got 1, want 151"),
    ("extraEnv[0].name=PATH", "/extraEnv/0", "missing property 'value'"),
    ("extraEnv[0].name=PATH,extraEnv[0].value=x", "/extraEnv/0/name", "does not match pattern"),
];

#[test]
fn wrong_values_are_refused_by_name() {
    let chart = Chart::new();
    for (set, place, told) in REFUSED {
        let output = chart.template(&["--set", set]);
        let said = said(&output);
        assert!(!output.status.success(), "{set} is accepted");
        let line =
            said.lines().find(|line| line.contains(&format!("at '{place}")) || line.contains(&format!("at {place}")));
        assert!(line.is_some_and(|line| line.contains(told)), "{set}: {said}");
    }
}

#[test]
fn values_that_exclude_each_other_are_refused_with_the_reason() {
    let chart = Chart::new();
    for (set, told) in [
        ("replicas=2,lease.enabled=false", "replicas: 2 needs lease.enabled: true"),
        ("serviceAccount.create=false", "serviceAccount.create: false needs serviceAccount.name"),
        ("networkPolicy.dns.podLabels.k8s-app=null", "networkPolicy.dns needs podLabels or cidrs"),
    ] {
        let output = chart.template(&["--set", set]);
        assert!(!output.status.success() && said(&output).contains(told), "{set}: {}", said(&output));
    }
}

/// Values are never made into YAML as they are: a text cannot become a field.
#[test]
fn texts_stay_texts() {
    let chart = Chart::new();
    let tricky = "x\"\nhostNetwork: true\ny: \"";
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("values.json");
    let values = serde_json::json!({
        "extraEnv": [{ "name": "KEYREALM_OPERATOR__A", "value": tricky }],
        "podAnnotations": { "a": tricky },
    });
    fs::write(&file, values.to_string()).unwrap();
    let objects = chart.objects("defaults", &["--values", &file.display().to_string()]);
    let template = &super::chart::the(&objects, "Deployment")["spec"]["template"];
    assert!(template["spec"].get("hostNetwork").is_none());
    assert_eq!(template["metadata"]["annotations"]["a"], tricky);
    assert_eq!(template["spec"]["containers"][0]["env"].as_array().unwrap().last().unwrap()["value"], tricky);
}

/// The table of the guide has every value with its default.
#[test]
fn the_guide_knows_every_value() {
    let values: Value = serde_yaml::from_str(&fs::read_to_string(source().join("values.yaml")).unwrap()).unwrap();
    let guide = fs::read_to_string(source().join("README.md")).unwrap();
    let rows = guide.lines().filter_map(|line| line.strip_prefix("| `")?.split_once("` | `"));
    let row = |(name, rest): (&str, &str)| {
        let (default, _) = rest.split_once("` |").unwrap();
        let default: Value = serde_json::from_str(default).unwrap_or_else(|_| panic!("{name}: {default}"));
        (name.to_owned(), default.to_string())
    };
    let named: BTreeSet<(String, String)> = rows.map(row).collect();
    let mut there = BTreeSet::new();
    leaves(&values, "", &mut there);
    assert_eq!(named, there);
}

fn leaves(value: &Value, path: &str, found: &mut BTreeSet<(String, String)>) {
    match value.as_object().filter(|fields| !fields.is_empty()) {
        // A map of the user's own names is one value.
        Some(fields) if !path.ends_with("podLabels") => {
            for (name, value) in fields {
                leaves(value, &format!("{path}.{name}"), found);
            }
        }
        _ => drop(found.insert((path.trim_start_matches('.').to_owned(), value.to_string()))),
    }
}

/// Every object of the schema is closed, and every value has a description.
#[test]
fn the_schema_is_strict_and_knows_every_value() {
    let schema: Value =
        serde_json::from_str(&fs::read_to_string(source().join("values.schema.json")).unwrap()).unwrap();
    let values: Value = serde_yaml::from_str(&fs::read_to_string(source().join("values.yaml")).unwrap()).unwrap();
    let mut looked_at = 0;
    closed(&schema, "", &mut looked_at);
    assert!(looked_at >= 25, "{looked_at}");
    same_keys(&schema, &schema, &values, "");
}

fn closed(schema: &Value, path: &str, looked_at: &mut usize) {
    // Helm's own; it is the parent chart's.
    if path == "/properties/global" {
        return;
    }
    match schema {
        Value::Object(fields) => {
            if fields.get("type").is_some_and(|kind| kind == "object") {
                *looked_at += 1;
                let others = fields.get("additionalProperties");
                let maps = others.is_some_and(|others| others["type"] == "string");
                assert!(others == Some(&Value::Bool(false)) || maps, "{path} is open");
            }
            if fields.contains_key("type")
                && !path.is_empty()
                && !path.ends_with("/items")
                && !path.ends_with("Properties")
            {
                assert!(fields.contains_key("description"), "{path} has no description");
            }
            for (name, value) in fields {
                closed(value, &format!("{path}/{name}"), looked_at);
            }
        }
        Value::Array(values) => values.iter().for_each(|value| closed(value, path, looked_at)),
        _ => {}
    }
}

/// What the schema names has a default, and the reverse.
fn same_keys(root: &Value, schema: &Value, values: &Value, path: &str) {
    let target = schema["$ref"].as_str().and_then(|text| root.pointer(text.strip_prefix('#').unwrap()));
    let Some(properties) = target.unwrap_or(schema)["properties"].as_object() else { return };
    let values = values.as_object().unwrap_or_else(|| panic!("{path} is no object"));
    let exempt = |name: &&str| !matches!(*name, "enabled" | "global") || !path.is_empty();
    let named: BTreeSet<&str> = properties.keys().map(String::as_str).filter(exempt).collect();
    let there: BTreeSet<&str> = values.keys().map(String::as_str).collect();
    if !path.starts_with("/resources/") {
        assert_eq!(named, there, "{path}");
    }
    for (name, value) in values {
        same_keys(root, &properties[name], value, &format!("{path}/{name}"));
    }
}
