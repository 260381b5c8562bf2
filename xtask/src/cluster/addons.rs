//! What the bed's own helpers may do, and the volumes: applied once the API server answers.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};
use serde_json::{Value, json};

use super::layout::{Kind, Layout};
use super::volumes;
use crate::command::feed;

/// Applies all of it.
///
/// # Errors
/// When the API server refuses something.
pub(crate) fn apply(layout: &Layout, kubectl: &Path) -> Result<()> {
    if layout.kind != Kind::Bed {
        return Ok(());
    }
    let mut objects = volumes::objects(layout);
    // The node's certificate is in the group of nodes, which the node authorizer knows; the proxy has a role by default.
    objects.extend(role(
        "keyrealm:coredns",
        &json!([
            {"apiGroups": [""], "resources": ["endpoints", "services", "pods", "namespaces"], "verbs": ["list", "watch"]},
            {"apiGroups": ["discovery.k8s.io"], "resources": ["endpointslices"], "verbs": ["list", "watch"]},
        ]),
    ));
    let volumes =
        json!([{"apiGroups": [""], "resources": ["persistentvolumes"], "verbs": ["get", "list", "watch", "patch"]}]);
    objects.extend(role("keyrealm:volumes", &volumes));
    let list = json!({"apiVersion": "v1", "kind": "List", "items": objects});
    let mut apply = Command::new(kubectl);
    apply.arg("--kubeconfig").arg(layout.kubeconfig()).args(["apply", "--server-side", "--filename", "-"]);
    feed(&mut apply, &list.to_string()).context("cannot apply the bed's own objects")?;
    Ok(())
}

/// A role and its binding to the user of the same name.
fn role(user: &str, rules: &Value) -> [Value; 2] {
    let api = "rbac.authorization.k8s.io";
    let version = format!("{api}/v1");
    [
        json!({"apiVersion": version, "kind": "ClusterRole", "metadata": {"name": user}, "rules": rules}),
        json!({
            "apiVersion": version, "kind": "ClusterRoleBinding", "metadata": {"name": user},
            "roleRef": {"apiGroup": api, "kind": "ClusterRole", "name": user},
            "subjects": [{"apiGroup": api, "kind": "User", "name": user}],
        }),
    ]
}
