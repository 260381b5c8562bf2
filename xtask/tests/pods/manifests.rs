//! The objects of a realm, by hand: what the operator will make of a resource.

use serde_json::{Value, json};

use crate::realm::{container_port, service_port};

/// The account of the images.
const ACCOUNT: u32 = 65532;

/// A namespace under restricted Pod Security.
pub(crate) fn namespace(name: &str) -> Value {
    let level = |what: &str| (format!("pod-security.kubernetes.io/{what}"), json!("restricted"));
    let labels: serde_json::Map<String, Value> = [level("enforce"), level("warn")].into_iter().collect();
    json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}})
}

/// A Secret or ConfigMap of texts.
pub(crate) fn texts(kind: &str, namespace: &str, name: &str, texts: &[(&str, String)]) -> Value {
    let data: serde_json::Map<String, Value> =
        texts.iter().map(|(key, text)| ((*key).to_owned(), json!(text))).collect();
    let member = if kind == "Secret" { "stringData" } else { "data" };
    json!({"apiVersion": "v1", "kind": kind, "metadata": {"name": name, "namespace": namespace}, member: data})
}

/// The service of a product: its public port is that of its URL.
pub(crate) fn service(namespace: &str, product: &str) -> Value {
    let mtls = if product == "kms" { 8443 } else { 8444 };
    json!({
        "apiVersion": "v1", "kind": "Service",
        "metadata": {"name": product, "namespace": namespace, "labels": labels(product)},
        "spec": {"selector": labels(product), "ports": [
            {"name": "public", "port": service_port(product), "targetPort": "public"},
            {"name": "mtls", "port": mtls, "targetPort": "mtls"},
        ]},
    })
}

fn labels(product: &str) -> Value {
    json!({"app.kubernetes.io/name": product})
}

/// Two replicas of a product that start seeded.
pub(crate) fn deployment(namespace: &str, product: &str, arguments: &[&str]) -> Value {
    let mtls = if product == "kms" { 8443 } else { 8444 };
    let config = "/config/config.yml";
    // Each probe is a process with a handshake of its own: on a loaded machine it takes seconds, and many of them are a load
    // by themselves. Hence a container is ended only for what lasts: a start that takes longer than it waits for its
    // database (a minute a step), and two minutes without an answer. Ended sooner, all containers of a slow machine start
    // anew at once, and make it slower. Readiness takes nobody's work away and may be quick.
    let probe = |command: &str, period: u32, timeout: u32, failures: u32| {
        json!({
            "exec": {"command": [format!("/{product}"), command, "--config", config]},
            "periodSeconds": period, "timeoutSeconds": timeout, "failureThreshold": failures,
        })
    };
    let mut args = vec!["serve", "--config", config];
    args.extend(arguments);
    let secret = |name: String| json!({"secretName": name, "defaultMode": 0o440});
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": {"name": product, "namespace": namespace, "labels": labels(product)},
        "spec": {
            "replicas": 2, "selector": {"matchLabels": labels(product)},
            "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1}},
            "template": {
                "metadata": {"labels": labels(product)},
                "spec": {
                    "automountServiceAccountToken": false, "enableServiceLinks": false,
                    "terminationGracePeriodSeconds": 30,
                    "securityContext": {
                        "runAsNonRoot": true, "runAsUser": ACCOUNT, "runAsGroup": ACCOUNT, "fsGroup": ACCOUNT,
                        "seccompProfile": {"type": "RuntimeDefault"},
                    },
                    "containers": [{
                        "name": product, "image": format!("keyrealm/{product}:dev"), "imagePullPolicy": "Never",
                        "args": args,
                        "ports": [
                            {"name": "public", "containerPort": container_port(product)},
                            {"name": "mtls", "containerPort": mtls},
                            {"name": "admin", "containerPort": 9090},
                        ],
                        "securityContext": {
                            "allowPrivilegeEscalation": false, "readOnlyRootFilesystem": true,
                            "capabilities": {"drop": ["ALL"]},
                        },
                        "startupProbe": probe("live", 2, 10, 75),
                        "readinessProbe": probe("ready", 2, 5, 2),
                        "livenessProbe": probe("live", 20, 15, 6),
                        // Until nobody is sent here any more.
                        "lifecycle": {"preStop": {"sleep": {"seconds": 3}}},
                        "resources": {"requests": {"cpu": "50m", "memory": "64Mi"}, "limits": {"memory": "256Mi"}},
                        "volumeMounts": [
                            {"name": "config", "mountPath": "/config"}, {"name": "tls", "mountPath": "/tls"},
                            {"name": "unseal", "mountPath": "/unseal"}, {"name": "database", "mountPath": "/database"},
                            {"name": "demo", "mountPath": "/demo-credentials"},
                        ],
                    }],
                    "volumes": [
                        {"name": "config", "configMap": {"name": product}},
                        {"name": "tls", "secret": secret(format!("{product}-tls"))},
                        {"name": "unseal", "secret": secret(format!("{product}-unseal"))},
                        {"name": "database", "secret": secret(format!("{product}-database"))},
                        {"name": "demo", "secret": secret("demo".to_owned())},
                    ],
                },
            },
        },
    })
}
