//! A volume of the default class under the PostgreSQL image that managed databases use.

use std::time::{Duration, Instant};

use keyrealm_base::{ObjectId, SystemClock};
use keyrealm_crypto::SystemRandom;
use serde_json::json;

use crate::cluster::Cluster;
use crate::manifests::{namespace, texts};

/// Claims a volume, lets PostgreSQL write to it as its own account, and gives it back.
pub(crate) fn volume_comes_back(cluster: &Cluster) {
    let name = format!("volume-{}", ObjectId::new(&SystemClock, &SystemRandom));
    let claim = json!({
        "apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": "data", "namespace": name},
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}},
    });
    let pod = json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "database", "namespace": name},
        "spec": {
            "automountServiceAccountToken": false,
            "securityContext": {
                "runAsNonRoot": true, "runAsUser": 999, "runAsGroup": 999, "fsGroup": 999,
                "seccompProfile": {"type": "RuntimeDefault"},
            },
            "containers": [{
                "name": "postgres", "image": "keyrealm/postgres:15", "imagePullPolicy": "Never",
                "env": [
                    {"name": "POSTGRES_USER", "value": "owner"}, {"name": "POSTGRES_DB", "value": "realm"},
                    {"name": "POSTGRES_PASSWORD_FILE", "value": "/password/password"},
                    {"name": "PGDATA", "value": "/var/lib/postgresql/data/pgdata"},
                ],
                "securityContext": {
                    "allowPrivilegeEscalation": false, "readOnlyRootFilesystem": true, "capabilities": {"drop": ["ALL"]},
                },
                "readinessProbe": {"tcpSocket": {"port": 5432}, "periodSeconds": 1},
                "volumeMounts": [
                    {"name": "data", "mountPath": "/var/lib/postgresql/data"}, {"name": "password", "mountPath": "/password"},
                    {"name": "run", "mountPath": "/var/run/postgresql"}, {"name": "tmp", "mountPath": "/tmp"},
                ],
            }],
            "volumes": [
                {"name": "data", "persistentVolumeClaim": {"claimName": "data"}},
                {"name": "password", "secret": {"secretName": "password", "defaultMode": 0o440}},
                {"name": "run", "emptyDir": {}}, {"name": "tmp", "emptyDir": {}},
            ],
        },
    });
    cluster.apply(&[
        namespace(&name),
        texts("Secret", &name, "password", &[("password", "a-password-for-tests".to_owned())]),
        claim,
        pod,
    ]);
    cluster.kubectl(&["--namespace", &name, "wait", "pod/database", "--for=condition=Ready", "--timeout=90s"]);
    let bound = cluster.json(&["--namespace", &name, "get", "persistentvolumeclaim", "data"]);
    let volume = bound["spec"]["volumeName"].as_str().unwrap().to_owned();
    let folder = cluster.folder().join("volumes").join(&volume);
    assert!(folder.join("pgdata/PG_VERSION").is_file(), "PostgreSQL wrote its files");

    // The namespace's end takes pod and claim with it.
    cluster.kubectl(&["delete", "namespace", &name, "--wait=true", "--timeout=90s"]);
    let began = Instant::now();
    let phase = || cluster.kubectl(&["get", "persistentvolume", &volume, "--output", "jsonpath={.status.phase}"]);
    while phase() != "Available" {
        assert!(began.elapsed() < Duration::from_secs(60), "{volume} is {}", phase());
        std::thread::sleep(Duration::from_millis(300));
    }
    assert_eq!(std::fs::read_dir(&folder).unwrap().count(), 0, "nothing of the old claim is left");
}
