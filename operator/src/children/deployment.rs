//! Deployments of the two servers.

use serde_json::{Value, json};

use super::{ACCOUNT, Home, Part, container_security, pod_security, secret_volume};
use crate::child::{Child, ChildKind};
use crate::config::Images;

/// The annotation of pods that holds the hash of their settings. Certificates and keys are no part of it: the servers take
/// new ones in while they run.
pub const CONFIG_HASH: &str = "keyrealm.dev/config-hash";

/// The pods of a server.
#[must_use]
pub fn of(home: &Home<'_>, part: Part, images: &Images, config_hash: &str) -> Child {
    let replicas = home.replicas(part);
    let body = json!({"spec": {
        "replicas": replicas,
        "revisionHistoryLimit": 3,
        "progressDeadlineSeconds": 300,
        "selector": {"matchLabels": home.selector(part)},
        "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1}},
        "template": {
            "metadata": {
                "labels": {
                    super::APP_NAME: part.name(), super::APP_INSTANCE: home.name, crds::REALM_LABEL: home.name,
                },
                "annotations": {CONFIG_HASH: config_hash},
            },
            "spec": pod(home, part, images),
        },
    }});
    home.child(ChildKind::Deployment, part.name(), Some(part), body)
}

fn pod(home: &Home<'_>, part: Part, images: &Images) -> Value {
    let own = |suffix: &str| format!("{}-{}{suffix}", home.name, part.name());
    let mut pod = json!({
        "serviceAccountName": own(""), "automountServiceAccountToken": false, "enableServiceLinks": false,
        "terminationGracePeriodSeconds": 30,
        "securityContext": pod_security(ACCOUNT),
        "containers": [container(home, part, images)],
        "volumes": [
            {"name": "config", "configMap": {"name": own("")}},
            secret_volume("tls", &own("-tls")),
            secret_volume("unseal", &own("-unseal")),
            {"name": "database", "secret": {
                // Nothing of the login but its password.
                "secretName": own("-database"), "defaultMode": 0o440, "items": [{"key": "password", "path": "password"}],
            }},
        ],
    });
    if home.replicas(part) > 1
        && let Some(pod) = pod.as_object_mut()
    {
        let spread = |topology: &str| {
            json!({
                "maxSkew": 1, "topologyKey": topology, "whenUnsatisfiable": "ScheduleAnyway",
                "labelSelector": {"matchLabels": home.selector(part)},
            })
        };
        let spread = json!([spread("kubernetes.io/hostname"), spread("topology.kubernetes.io/zone")]);
        pod.insert("topologySpreadConstraints".to_owned(), spread);
    }
    pod
}

fn container(home: &Home<'_>, part: Part, images: &Images) -> Value {
    let name = part.name();
    let config = "/config/config.yml";
    // A node that has too much to do makes probes slow: who ended containers for that would give it more to do.
    let probe = |command: &str, period: u32, timeout: u32, failures: u32| {
        json!({
            "exec": {"command": [format!("/{name}"), command, "--config", config]},
            "periodSeconds": period, "timeoutSeconds": timeout, "failureThreshold": failures,
        })
    };
    let workload = home.workload(part);
    let default = if part == Part::Identity { &images.identity } else { &images.kms };
    // Some 21 MB are used at rest.
    let measured = json!({"requests": {"cpu": "50m", "memory": "64Mi"}, "limits": {"memory": "256Mi"}});
    json!({
        "name": name, "image": workload.image.as_ref().unwrap_or(default), "imagePullPolicy": images.pull_policy,
        "args": ["serve", "--config", config],
        "ports": [
            {"name": "public", "containerPort": part.public_port(), "protocol": "TCP"},
            {"name": "mtls", "containerPort": part.mtls_port(), "protocol": "TCP"},
            {"name": "admin", "containerPort": 9090, "protocol": "TCP"},
        ],
        "securityContext": container_security(),
        "startupProbe": probe("live", 1, 10, 150),
        "readinessProbe": probe("ready", 2, 5, 2),
        "livenessProbe": probe("live", 20, 15, 6),
        // Until nobody is sent here any more.
        "lifecycle": {"preStop": {"sleep": {"seconds": 3}}},
        "resources": workload.resources.as_ref().map_or(measured, |resources| json!(resources)),
        "volumeMounts": [
            {"name": "config", "mountPath": "/config", "readOnly": true},
            {"name": "tls", "mountPath": "/tls", "readOnly": true},
            {"name": "unseal", "mountPath": "/unseal", "readOnly": true},
            {"name": "database", "mountPath": "/database", "readOnly": true},
        ],
    })
}
