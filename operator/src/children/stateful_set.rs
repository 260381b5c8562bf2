//! The managed PostgreSQL: one pod with a volume, TLS 1.3 only.

use crds::{ManagedDatabase, RealmDeletionPolicy};
use serde_json::{Value, json};

use super::{Home, POSTGRES_ACCOUNT, POSTGRES_PORT, Part, container_security, pod_security, secret_volume};
use crate::child::{Child, ChildKind};
use crate::config::Images;

/// The registrar's login of a managed database.
pub const USER: &str = "keyrealm";
/// The name of a managed database.
pub const DATABASE: &str = "keyrealm";

/// The pod of the managed database. Its volume outlives the Realm where the data shall.
#[must_use]
pub fn of(home: &Home<'_>, managed: &ManagedDatabase, images: &Images) -> Child {
    let deleted = if home.spec.deletion_policy == RealmDeletionPolicy::Delete { "Delete" } else { "Retain" };
    let labels = json!({
        super::APP_NAME: Part::Postgres.name(), super::APP_INSTANCE: home.name, crds::REALM_LABEL: home.name,
    });
    let mut claim = json!({
        "accessModes": ["ReadWriteOnce"], "volumeMode": "Filesystem",
        "resources": {"requests": {"storage": managed.storage}},
    });
    if let (Some(class), Some(claim)) = (&managed.storage_class_name, claim.as_object_mut()) {
        claim.insert("storageClassName".to_owned(), json!(class));
    }
    let body = json!({"spec": {
        "replicas": 1,
        "serviceName": format!("{}-postgres", home.name),
        "selector": {"matchLabels": home.selector(Part::Postgres)},
        "persistentVolumeClaimRetentionPolicy": {"whenDeleted": deleted, "whenScaled": "Retain"},
        "template": {"metadata": {"labels": labels}, "spec": pod(home, managed, images)},
        "volumeClaimTemplates": [{
            "apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": "data"}, "spec": claim,
        }],
    }});
    home.child(ChildKind::StatefulSet, Part::Postgres.name(), Some(Part::Postgres), body)
}

fn pod(home: &Home<'_>, managed: &ManagedDatabase, images: &Images) -> Value {
    let own = |suffix: &str| format!("{}-postgres{suffix}", home.name);
    let settings = [
        "ssl=on",
        "ssl_cert_file=/tls/tls.crt",
        "ssl_key_file=/tls/tls.key",
        "ssl_min_protocol_version=TLSv1.3",
        "hba_file=/config/pg_hba.conf",
        "password_encryption=scram-sha-256",
    ];
    let args: Vec<&str> = ["postgres"].into_iter().chain(settings.iter().flat_map(|setting| ["-c", setting])).collect();
    // The password is asked for over TCP; over the socket inside the container it is not, and probes take that.
    let (user, database) = (format!("--username={USER}"), format!("--dbname={DATABASE}"));
    let probe = |period: u32, timeout: u32, failures: u32| {
        json!({
            "exec": {"command": ["pg_isready", "--host=/var/run/postgresql", user, database, "--quiet"]},
            "periodSeconds": period, "timeoutSeconds": timeout, "failureThreshold": failures,
        })
    };
    json!({
        "serviceAccountName": own(""), "automountServiceAccountToken": false, "enableServiceLinks": false,
        "terminationGracePeriodSeconds": 60,
        "securityContext": pod_security(POSTGRES_ACCOUNT),
        "containers": [{
            "name": "postgres", "image": managed.image.as_ref().unwrap_or(&images.postgres),
            "imagePullPolicy": images.pull_policy, "args": args,
            "env": [
                {"name": "POSTGRES_USER", "value": USER}, {"name": "POSTGRES_DB", "value": DATABASE},
                {"name": "POSTGRES_PASSWORD_FILE", "value": "/admin/password"},
                // The volume's own folder may belong to root.
                {"name": "PGDATA", "value": "/var/lib/postgresql/data/pgdata"},
            ],
            "ports": [{"name": "postgres", "containerPort": POSTGRES_PORT, "protocol": "TCP"}],
            "securityContext": container_security(),
            "startupProbe": probe(1, 10, 150), "readinessProbe": probe(2, 5, 3), "livenessProbe": probe(20, 15, 6),
            "resources": {"requests": {"cpu": "50m", "memory": "128Mi"}, "limits": {"memory": "512Mi"}},
            "volumeMounts": [
                {"name": "data", "mountPath": "/var/lib/postgresql/data"},
                {"name": "tls", "mountPath": "/tls", "readOnly": true},
                {"name": "admin", "mountPath": "/admin", "readOnly": true},
                {"name": "config", "mountPath": "/config", "readOnly": true},
                {"name": "run", "mountPath": "/var/run/postgresql"},
                {"name": "tmp", "mountPath": "/tmp"},
            ],
        }],
        "volumes": [
            // 0440 and root's: PostgreSQL takes a key of root that its group may read.
            secret_volume("tls", &own("-tls")),
            secret_volume("admin", &own("-admin")),
            {"name": "config", "configMap": {"name": own("")}},
            {"name": "run", "emptyDir": {"sizeLimit": "16Mi"}},
            {"name": "tmp", "emptyDir": {"sizeLimit": "64Mi"}},
        ],
    })
}
