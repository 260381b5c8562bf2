//! `operator check`: can the operator work here? One line for each thing that is looked at, with the mend when it is not so.

mod lease;

use std::collections::BTreeSet;
use std::time::Duration;

use crds::client::{Access, ApiServer, Retry};
use http::Request;
use kube::Client;
use serde_json::{Value, json};

use crate::config::Settings;
use crate::rights::{RIGHTS, Scope};

const CALL: Duration = Duration::from_secs(10);

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// What.
    pub what: String,
    /// What is wrong and how to mend it; none when it is as it should be.
    pub mend: Option<String>,
}

impl Finding {
    fn good(what: impl Into<String>) -> Self {
        Self { what: what.into(), mend: None }
    }

    fn bad(what: impl Into<String>, mend: impl Into<String>) -> Self {
        Self { what: what.into(), mend: Some(mend.into()) }
    }
}

/// Looks at everything that the operator needs of the cluster.
pub async fn check(settings: &Settings) -> Vec<Finding> {
    let access = Access { kubeconfig: settings.kubeconfig.clone(), context: settings.context.clone() };
    let found = match ApiServer::find(&access).await {
        Ok(server) => server.client(Retry::Bounded).map(|client| (server, client)),
        Err(error) => Err(error),
    };
    let (server, client) = match found {
        Ok(found) => found,
        Err(error) => return vec![Finding::bad("API server", format!("{error:#}"))],
    };
    let what = format!("API server {}", server.url());
    let version = match get(&client, "/version").await {
        Ok(version) => version,
        Err(error) => {
            return vec![Finding::bad(what, format!("does not answer: {error}; check its address and network"))];
        }
    };
    let version = version.get("gitVersion").and_then(Value::as_str).unwrap_or("?").to_owned();
    let mut findings = vec![Finding::good(format!("{what} ({version})"))];
    findings.extend(definitions(&client).await);
    let lease = settings.lease_namespace(server.namespace());
    findings.extend(rights(&client, settings, &lease).await);
    findings.push(lease::look(&client, settings, &lease).await);
    findings
}

/// Whether the kinds are served, with every field that this operator knows.
async fn definitions(client: &Client) -> Vec<Finding> {
    let mend = "run `operator crds --apply`, or upgrade the chart";
    let path = format!("/openapi/v3/apis/{}/{}", crds::GROUP, crds::VERSION);
    let served = match get(client, &path).await {
        Ok(served) => served,
        Err(error) => return vec![Finding::bad("resource definitions", format!("are not served ({error}); {mend}"))],
    };
    let schemas = served.pointer("/components/schemas").and_then(Value::as_object).cloned().unwrap_or_default();
    let kind_of = |schema: &Value| schema.pointer("/x-kubernetes-group-version-kind/0/kind").cloned();
    crds::definitions()
        .into_iter()
        .map(|definition| {
            let kind = definition.spec.names.kind.clone();
            let what = format!("resource definition {kind}");
            let Some(there) = schemas.values().find(|schema| kind_of(schema) == Some(kind.clone().into())) else {
                return Finding::bad(what, format!("is not served; {mend}"));
            };
            let wanted = serde_json::to_value(&definition).unwrap_or(Value::Null);
            let wanted = wanted.pointer("/spec/versions/0/schema/openAPIV3Schema").cloned().unwrap_or(Value::Null);
            let (mut fields, mut served) = (BTreeSet::new(), BTreeSet::new());
            for part in ["spec", "status"] {
                let at = format!("/properties/{part}");
                collect(part, wanted.pointer(&at).unwrap_or(&Value::Null), &mut fields);
                collect(part, there.pointer(&at).unwrap_or(&Value::Null), &mut served);
            }
            let missing: Vec<&str> = fields.difference(&served).map(String::as_str).take(5).collect();
            if missing.is_empty() {
                Finding::good(what)
            } else {
                Finding::bad(what, format!("is older than this operator (it lacks {}); {mend}", missing.join(", ")))
            }
        })
        .collect()
}

/// The paths of all fields of a schema.
fn collect(path: &str, schema: &Value, fields: &mut BTreeSet<String>) {
    for (name, inner) in schema.get("properties").and_then(Value::as_object).into_iter().flatten() {
        let path = format!("{path}.{name}");
        collect(&path, inner, fields);
        fields.insert(path);
    }
    if let Some(items) = schema.get("items") {
        collect(&format!("{path}[]"), items, fields);
    }
}

async fn rights(client: &Client, settings: &Settings, lease: &str) -> Vec<Finding> {
    let watched = &settings.watch.namespaces;
    let everywhere: Vec<Option<&str>> =
        if watched.is_empty() { vec![None] } else { watched.iter().map(|name| Some(name.as_str())).collect() };
    let mut findings = Vec::new();
    for right in RIGHTS {
        let namespaces = match right.scope {
            Scope::Watched => everywhere.clone(),
            Scope::ClusterMode if watched.is_empty() => vec![None],
            Scope::Lease if settings.lease.enabled => vec![Some(lease)],
            Scope::ClusterMode | Scope::Lease => continue,
        };
        let (resource, subresource) = right.resource.split_once('/').unwrap_or((right.resource, ""));
        let mut lacking = Vec::new();
        for namespace in &namespaces {
            for verb in right.verbs {
                let attributes = json!({
                    "namespace": namespace, "verb": verb, "group": right.group, "resource": resource,
                    "subresource": subresource,
                });
                match may(client, attributes).await {
                    Ok(true) => {}
                    Ok(false) => lacking.push(namespace.map_or((*verb).to_owned(), |name| format!("{verb} in {name}"))),
                    Err(error) => lacking.push(format!("{verb}: {error}")),
                }
            }
        }
        let what = format!("rights on {} ({})", right.resource, right.why);
        findings.push(if lacking.is_empty() {
            Finding::good(what)
        } else {
            let mend = format!("lacks {}; bind the chart's roles to this account", lacking.join(", "));
            Finding::bad(what, mend)
        });
    }
    findings
}

async fn may(client: &Client, attributes: Value) -> Result<bool, String> {
    let review = json!({
        "apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectAccessReview",
        "spec": {"resourceAttributes": attributes},
    });
    let request = Request::post("/apis/authorization.k8s.io/v1/selfsubjectaccessreviews")
        .header(http::header::CONTENT_TYPE, "application/json")
        .body(review.to_string().into_bytes());
    let answer = ask(client, request).await?;
    Ok(answer.pointer("/status/allowed").and_then(Value::as_bool).unwrap_or(false))
}

async fn get(client: &Client, path: &str) -> Result<Value, String> {
    ask(client, Request::get(path).body(Vec::new())).await
}

async fn ask(client: &Client, request: Result<Request<Vec<u8>>, http::Error>) -> Result<Value, String> {
    let request = request.map_err(|error| error.to_string())?;
    match tokio::time::timeout(CALL, client.request::<Value>(request)).await {
        Ok(answer) => answer.map_err(|error| error.to_string()),
        Err(_) => Err(format!("no answer within {} s", CALL.as_secs())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_of_lists_are_found_too() {
        let mut fields = BTreeSet::new();
        let schema = json!({"properties": {"a": {}, "b": {"items": {"properties": {"c": {}}}}}});
        collect("spec", &schema, &mut fields);
        assert_eq!(fields.into_iter().collect::<Vec<_>>(), ["spec.a", "spec.b", "spec.b[].c"]);
    }
}
