//! Services: one a part.

use serde_json::json;

use super::{Home, POSTGRES_PORT, Part};
use crate::child::{Child, ChildKind};

/// The Service of a server: the port of its URL leads to the public listener.
#[must_use]
pub fn server(home: &Home<'_>, part: Part) -> Child {
    let (_, public) = home.hostname(part);
    let body = json!({"spec": {
        "type": "ClusterIP", "selector": home.selector(part),
        "ports": [
            {"name": "public", "port": public, "protocol": "TCP", "targetPort": "public"},
            {"name": "mtls", "port": part.mtls_port(), "protocol": "TCP", "targetPort": "mtls"},
        ],
    }});
    home.child(ChildKind::Service, part.name(), Some(part), body)
}

/// The Service of the managed database.
#[must_use]
pub fn postgres(home: &Home<'_>) -> Child {
    let body = json!({"spec": {
        "type": "ClusterIP", "selector": home.selector(Part::Postgres),
        "ports": [{"name": "postgres", "port": POSTGRES_PORT, "protocol": "TCP", "targetPort": "postgres"}],
    }});
    home.child(ChildKind::Service, Part::Postgres.name(), Some(Part::Postgres), body)
}
