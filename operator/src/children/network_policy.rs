//! NetworkPolicies: nothing but the flows that are needed. What no policy of a pod allows is denied.
//!
//! The operator calls no server; it calls the managed database, from a namespace that the policy names.

use serde_json::{Value, json};

use super::{Home, POSTGRES_PORT, Part};
use crate::child::{Child, ChildKind};

/// The label that Kubernetes puts on every namespace.
const NAMESPACE: &str = "kubernetes.io/metadata.name";

/// The policy of a part; none where the Realm wants none. `operator` is the operator's namespace, `database_port` that of
/// an external database.
#[must_use]
pub fn of(home: &Home<'_>, part: Part, operator: &str, database_port: u16) -> Option<Child> {
    if !home.spec.network_policy.enabled {
        return None;
    }
    let (ingress, egress) = match part {
        Part::Kms => (vec![public(home, part)], vec![dns(), database(home, database_port), to(home, Part::Identity)]),
        Part::Identity => {
            let callers = from(home, &[Part::Kms], Part::Identity.mtls_port());
            (vec![public(home, part), callers], vec![dns(), database(home, database_port)])
        }
        Part::Postgres => {
            let mut callers = from(home, &Part::SERVERS, POSTGRES_PORT);
            let own = json!({
                "namespaceSelector": {"matchLabels": {NAMESPACE: operator}},
                "podSelector": {"matchLabels": {"app.kubernetes.io/name": "keyrealm-operator"}},
            });
            if let Some(Value::Array(peers)) = callers.get_mut("from") {
                peers.push(own);
            }
            (vec![callers], Vec::new())
        }
    };
    let body = json!({"spec": {
        "podSelector": {"matchLabels": home.selector(part)}, "policyTypes": ["Ingress", "Egress"],
        "ingress": ingress, "egress": egress,
    }});
    Some(home.child(ChildKind::NetworkPolicy, part.name(), Some(part), body))
}

fn tcp(port: u16) -> Value {
    json!({"port": port, "protocol": "TCP"})
}

fn pods(home: &Home<'_>, part: Part) -> Value {
    json!({"podSelector": {"matchLabels": home.selector(part)}})
}

/// Clients reach the public listener, and the one for callers with a certificate.
fn public(home: &Home<'_>, part: Part) -> Value {
    let ports = json!([tcp(part.public_port()), tcp(part.mtls_port())]);
    match &home.spec.network_policy.clients {
        None => json!({"ports": ports}),
        Some(clients) => {
            json!({"ports": ports, "from": [{"namespaceSelector": {"matchLabels": clients.match_labels}}]})
        }
    }
}

fn from(home: &Home<'_>, parts: &[Part], port: u16) -> Value {
    let peers: Vec<Value> = parts.iter().map(|part| pods(home, *part)).collect();
    json!({"ports": [tcp(port)], "from": peers})
}

fn to(home: &Home<'_>, part: Part) -> Value {
    json!({"ports": [tcp(part.mtls_port())], "to": [pods(home, part)]})
}

/// The managed database's pods, or the port of an external one, wherever that is.
fn database(home: &Home<'_>, port: u16) -> Value {
    if home.is_managed() {
        json!({"ports": [tcp(POSTGRES_PORT)], "to": [pods(home, Part::Postgres)]})
    } else {
        json!({"ports": [tcp(port)]})
    }
}

fn dns() -> Value {
    json!({
        "ports": [{"port": 53, "protocol": "UDP"}, tcp(53)],
        "to": [{
            "namespaceSelector": {"matchLabels": {NAMESPACE: "kube-system"}},
            "podSelector": {"matchLabels": {"k8s-app": "kube-dns"}},
        }],
    })
}
