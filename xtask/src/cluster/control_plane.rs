//! etcd, the API server, the controllers and the scheduler: what they are started with.

use std::fs;

use anyhow::{Context, Result};

use super::layout::{Kind, Layout, NODE_ADDRESS, SERVICES};
use super::process::Daemon;
use super::programs::Programs;

/// etcd: on loopback, with certificates on both sides.
pub(crate) fn etcd(layout: &Layout, programs: &Programs) -> Daemon {
    let (client, peer) = (layout.ports.etcd, layout.ports.etcd_peer);
    let (client, peer) = (format!("https://127.0.0.1:{client}"), format!("https://127.0.0.1:{peer}"));
    let mut arguments = vec![
        format!("--data-dir={}", layout.text("etcd")),
        format!("--listen-client-urls={client}"),
        format!("--advertise-client-urls={client}"),
        format!("--listen-peer-urls={peer}"),
        format!("--initial-advertise-peer-urls={peer}"),
        format!("--initial-cluster=default={peer}"),
        "--client-cert-auth".to_owned(),
        "--peer-client-cert-auth".to_owned(),
        "--tls-min-version=TLS1.3".to_owned(),
        "--log-level=warn".to_owned(),
        // The bed ends with its machine; its data are made anew at each start.
        "--unsafe-no-fsync".to_owned(),
    ];
    for prefix in ["", "peer-"] {
        arguments.push(format!("--{prefix}trusted-ca-file={}", layout.text("pki/ca.pem")));
        arguments.push(format!("--{prefix}cert-file={}", layout.text("pki/etcd.pem")));
        arguments.push(format!("--{prefix}key-file={}", layout.text("pki/etcd-key.pem")));
    }
    Daemon { name: "etcd", program: programs.etcd.clone(), arguments }
}

/// Who called what, without bodies; what the cluster's own parts call is left out.
const AUDIT_POLICY: &str = r#"{
  "apiVersion": "audit.k8s.io/v1", "kind": "Policy", "omitStages": ["RequestReceived"],
  "rules": [
    {"level": "None", "users": [
      "system:apiserver", "system:kube-controller-manager", "system:kube-scheduler", "system:kube-proxy"
    ]},
    {"level": "None", "userGroups": ["system:nodes", "system:serviceaccounts:kube-system"]},
    {"level": "Metadata"}
  ]
}"#;

/// Writes what the API server reads at its start.
///
/// # Errors
/// When the file cannot be written.
pub(crate) fn write_audit_policy(layout: &Layout) -> Result<()> {
    let path = layout.path("audit-policy.json");
    fs::write(&path, AUDIT_POLICY).with_context(|| format!("cannot write {}", path.display()))
}

/// The API server.
pub(crate) fn api_server(layout: &Layout, programs: &Programs) -> Daemon {
    let pki = |name: &str| layout.text(&format!("pki/{name}"));
    let arguments = vec![
        format!("--bind-address={}", layout.api_host()),
        format!("--secure-port={}", layout.ports.api),
        // May not be loopback; without a node nobody goes there.
        format!("--advertise-address={NODE_ADDRESS}"),
        format!("--etcd-servers=https://127.0.0.1:{}", layout.ports.etcd),
        format!("--etcd-cafile={}", pki("ca.pem")),
        format!("--etcd-certfile={}", pki("etcd.pem")),
        format!("--etcd-keyfile={}", pki("etcd-key.pem")),
        format!("--client-ca-file={}", pki("ca.pem")),
        format!("--tls-cert-file={}", pki("apiserver.pem")),
        format!("--tls-private-key-file={}", pki("apiserver-key.pem")),
        "--tls-min-version=VersionTLS13".to_owned(),
        format!("--kubelet-certificate-authority={}", pki("ca.pem")),
        format!("--kubelet-client-certificate={}", pki("apiserver-kubelet.pem")),
        format!("--kubelet-client-key={}", pki("apiserver-kubelet-key.pem")),
        "--kubelet-preferred-address-types=InternalIP".to_owned(),
        format!("--proxy-client-cert-file={}", pki("front-proxy.pem")),
        format!("--proxy-client-key-file={}", pki("front-proxy-key.pem")),
        format!("--requestheader-client-ca-file={}", pki("ca.pem")),
        // The CA is that of all clients: without this any of them could set these headers.
        "--requestheader-allowed-names=front-proxy".to_owned(),
        "--requestheader-username-headers=X-Remote-User".to_owned(),
        "--requestheader-group-headers=X-Remote-Group".to_owned(),
        "--requestheader-extra-headers-prefix=X-Remote-Extra-".to_owned(),
        "--service-account-issuer=https://kubernetes.default.svc".to_owned(),
        // A certificate serves as public key.
        format!("--service-account-key-file={}", pki("service-accounts.pem")),
        format!("--service-account-signing-key-file={}", pki("service-accounts-key.pem")),
        format!("--service-cluster-ip-range={SERVICES}"),
        "--authorization-mode=Node,RBAC".to_owned(),
        "--enable-admission-plugins=NodeRestriction".to_owned(),
        "--allow-privileged=true".to_owned(),
        "--profiling=false".to_owned(),
        format!("--audit-policy-file={}", layout.text("audit-policy.json")),
        format!("--audit-log-path={}", layout.text("logs/audit.log")),
        "--audit-log-maxsize=100".to_owned(),
        "--audit-log-maxbackup=1".to_owned(),
    ];
    Daemon { name: "kube-apiserver", program: programs.api_server.clone(), arguments }
}

/// The controllers, garbage collection and the end of namespaces among them.
pub(crate) fn controller_manager(layout: &Layout, programs: &Programs) -> Daemon {
    let arguments = vec![
        format!("--kubeconfig={}", layout.text("pki/controller-manager.kubeconfig")),
        format!("--root-ca-file={}", layout.text("pki/ca.pem")),
        format!("--cluster-signing-cert-file={}", layout.text("pki/ca.pem")),
        format!("--cluster-signing-key-file={}", layout.text("pki/ca-key.pem")),
        format!("--service-account-private-key-file={}", layout.text("pki/service-accounts-key.pem")),
        "--use-service-account-credentials=true".to_owned(),
        "--leader-elect=false".to_owned(),
        // Nobody asks it anything.
        "--secure-port=0".to_owned(),
    ];
    Daemon { name: "kube-controller-manager", program: programs.controller_manager.clone(), arguments }
}

/// The scheduler; there is something to schedule only on the bed.
pub(crate) fn scheduler(layout: &Layout, programs: &Programs) -> Option<Daemon> {
    let arguments = vec![
        format!("--kubeconfig={}", layout.text("pki/scheduler.kubeconfig")),
        "--leader-elect=false".to_owned(),
        "--secure-port=0".to_owned(),
    ];
    (layout.kind == Kind::Bed).then(|| Daemon {
        name: "kube-scheduler",
        program: programs.node_program("kube-scheduler"),
        arguments,
    })
}

#[cfg(test)]
mod tests {
    use super::super::layout::API_SERVICE;
    use super::*;

    /// Kept apart from the addresses of pods.
    #[test]
    fn the_api_servers_service_lies_in_the_range_of_services() {
        let prefix = SERVICES.trim_end_matches("0/24");
        assert_eq!(API_SERVICE, format!("{prefix}1"));
    }
}
