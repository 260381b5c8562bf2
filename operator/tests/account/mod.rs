//! A service account with rights that a test chooses: what the operator is given for its own.

use std::path::{Path, PathBuf};

use k8s_openapi::api::rbac::v1::{Role, RoleBinding};
use kube::Client;
use kube::api::{Api, PostParams};
use kube::config::Kubeconfig;
use serde_json::{Value, json};

/// As the chart does it: a Role and its binding, for the account `operator` of another or the same namespace.
pub(crate) async fn grant(client: &Client, namespace: &str, name: &str, rules: Value, account: &str) {
    let role: Role = serde_json::from_value(json!({"metadata": {"name": name}, "rules": rules})).unwrap();
    let binding: RoleBinding = serde_json::from_value(json!({
        "metadata": {"name": name},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": name},
        "subjects": [{"kind": "ServiceAccount", "name": "operator", "namespace": account}],
    }))
    .unwrap();
    let new = PostParams::default();
    Api::<Role>::namespaced(client.clone(), namespace).create(&new, &role).await.unwrap();
    Api::<RoleBinding>::namespaced(client.clone(), namespace).create(&new, &binding).await.unwrap();
}

/// This kubeconfig, as the account `operator` of a namespace.
pub(crate) fn impersonate(kubeconfig: PathBuf, namespace: &str, folder: &Path) -> PathBuf {
    let mut kubeconfig = Kubeconfig::read_from(kubeconfig).unwrap();
    let user = kubeconfig.auth_infos.first_mut().unwrap().auth_info.as_mut().unwrap();
    user.impersonate = Some(format!("system:serviceaccount:{namespace}:operator"));
    // Without its groups the account could not even ask what is served.
    user.impersonate_groups = Some(vec!["system:authenticated".to_owned()]);
    let path = folder.join("kubeconfig");
    std::fs::write(&path, serde_json::to_string(&kubeconfig).unwrap()).unwrap();
    path
}
