//! The node: containerd, the kubelet, kube-proxy and the names of services.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};
use serde_json::json;

use super::cgroup::GROUP;
use super::layout::{Layout, NODE_ADDRESS, NODE_NAME};
use super::network::BRIDGE;
use super::process::Daemon;
use super::programs::Programs;
use crate::command::{quietly, say};
use crate::need;
use crate::tools::KUBERNETES_1_34;

/// The image that holds a pod's namespaces.
const PAUSE: &str = "keyrealm.dev/pause:bed";
/// Addresses of pods, all on the node's bridge.
const PODS: (&str, &str, &str) = ("198.18.0.0/24", "198.18.0.10", "198.18.0.250");
/// Where Debian puts the plugins.
const CNI_PLUGINS: &str = "/usr/lib/cni";

/// Writes the configuration of every program of the node.
///
/// # Errors
/// When a file cannot be written.
pub(crate) fn configure(layout: &Layout) -> Result<()> {
    let write = |name: &str, text: String| {
        let path = layout.path(name);
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder)?;
        }
        fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))
    };
    write("containerd.toml", containerd_config(layout))?;
    write("cni/10-bed.conflist", serde_json::to_string_pretty(&cni_config(layout))?)?;
    write("kubelet.json", serde_json::to_string_pretty(&kubelet_config(layout))?)?;
    write("kube-proxy.json", serde_json::to_string_pretty(&proxy_config(layout))?)?;
    write("Corefile", corefile(layout))?;
    // Pods ask the node alone: what it does not know there is not.
    write("resolv.conf", format!("nameserver {NODE_ADDRESS}\n"))
}

/// containerd, apart from any other on the machine.
pub(crate) fn containerd(layout: &Layout) -> Result<Daemon> {
    let program = need::find("containerd").context("containerd is not on PATH")?;
    let arguments = vec!["--config".to_owned(), layout.text("containerd.toml")];
    Ok(Daemon { name: "containerd", program, arguments })
}

/// The kubelet.
pub(crate) fn kubelet(layout: &Layout, programs: &Programs) -> Daemon {
    let arguments = vec![
        format!("--config={}", layout.text("kubelet.json")),
        format!("--kubeconfig={}", layout.text("pki/kubelet.kubeconfig")),
        format!("--root-dir={}", layout.text("kubelet")),
        format!("--hostname-override={NODE_NAME}"),
        format!("--node-ip={NODE_ADDRESS}"),
    ];
    Daemon { name: "kubelet", program: programs.node_program("kubelet"), arguments }
}

/// kube-proxy.
pub(crate) fn proxy(layout: &Layout, programs: &Programs) -> Daemon {
    let arguments = vec![format!("--config={}", layout.text("kube-proxy.json"))];
    Daemon { name: "kube-proxy", program: programs.node_program("kube-proxy"), arguments }
}

/// The names of services.
pub(crate) fn coredns(layout: &Layout, programs: &Programs) -> Daemon {
    let arguments = vec!["-conf".to_owned(), layout.text("Corefile")];
    Daemon { name: "coredns", program: programs.coredns.clone(), arguments }
}

fn containerd_config(layout: &Layout) -> String {
    // restrict_oom_score_adj: a machine that may not lower a score refuses to start containers otherwise.
    format!(
        r#"version = 2
root = "{root}"
state = "{state}"
disabled_plugins = ["io.containerd.internal.v1.opt", "io.containerd.tracing.processor.v1.otlp"]
[grpc]
  address = "{socket}"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{PAUSE}"
  restrict_oom_score_adj = true
  netns_mounts_under_state_dir = true
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "{CNI_PLUGINS}"
    conf_dir = "{cni}"
  [plugins."io.containerd.grpc.v1.cri".containerd]
    snapshotter = "overlayfs"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
      runtime_type = "io.containerd.runc.v2"
      [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
        Root = "{runc}"
"#,
        root = layout.text("containerd"),
        state = layout.text("containerd-state"),
        socket = layout.containerd().display(),
        runc = layout.text("runc"),
        cni = layout.text("cni"),
    )
}

fn cni_config(layout: &Layout) -> serde_json::Value {
    let (subnet, first, last) = PODS;
    json!({
        "cniVersion": "1.0.0", "name": "keyrealm-bed",
        "plugins": [{
            "type": "bridge", "bridge": BRIDGE, "isGateway": false, "ipMasq": false, "hairpinMode": true,
            "ipam": {
                "type": "host-local", "dataDir": layout.text("addresses"),
                "ranges": [[{"subnet": subnet, "rangeStart": first, "rangeEnd": last, "gateway": NODE_ADDRESS}]],
                "routes": [{"dst": "0.0.0.0/0"}],
            },
        }],
    })
}

fn kubelet_config(layout: &Layout) -> serde_json::Value {
    json!({
        "apiVersion": "kubelet.config.k8s.io/v1beta1", "kind": "KubeletConfiguration",
        "address": NODE_ADDRESS, "healthzPort": 0,
        "tlsCertFile": layout.path("pki/kubelet.pem"), "tlsPrivateKeyFile": layout.path("pki/kubelet-key.pem"),
        "tlsMinVersion": "VersionTLS13",
        "authentication": {
            "anonymous": {"enabled": false}, "webhook": {"enabled": true},
            "x509": {"clientCAFile": layout.path("pki/ca.pem")},
        },
        "authorization": {"mode": "Webhook"},
        "cgroupDriver": "cgroupfs", "cgroupRoot": format!("/{GROUP}"), "failSwapOn": false,
        "containerRuntimeEndpoint": format!("unix://{}", layout.containerd().display()),
        "clusterDNS": [NODE_ADDRESS], "clusterDomain": "cluster.local", "resolvConf": layout.path("resolv.conf"),
        "podLogsDir": layout.path("pod-logs"), "volumePluginDir": layout.path("volume-plugins"),
        "evictionHard": {"nodefs.available": "1%", "imagefs.available": "1%", "nodefs.inodesFree": "1%", "memory.available": "100Mi"},
        "imageGCHighThresholdPercent": 100, "imageGCLowThresholdPercent": 99,
        "oomScoreAdj": 0, "maxPods": 110, "registerNode": true,
        // What a test waits for.
        "syncFrequency": "5s", "nodeStatusUpdateFrequency": "2s", "fileCheckFrequency": "60s",
        "shutdownGracePeriod": "0s",
    })
}

fn proxy_config(layout: &Layout) -> serde_json::Value {
    json!({
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1", "kind": "KubeProxyConfiguration",
        "clientConnection": {"kubeconfig": layout.path("pki/proxy.kubeconfig")},
        "mode": "iptables", "clusterCIDR": PODS.0, "hostnameOverride": NODE_NAME,
        "iptables": {"localhostNodePorts": false, "syncPeriod": "30s", "minSyncPeriod": "200ms"},
        // The machine's own settings stay as they are.
        "conntrack": {"maxPerCore": 0, "min": 0, "tcpEstablishedTimeout": "0s", "tcpCloseWaitTimeout": "0s"},
        "nodePortAddresses": [format!("{NODE_ADDRESS}/32")],
        "healthzBindAddress": format!("{NODE_ADDRESS}:10256"), "metricsBindAddress": format!("{NODE_ADDRESS}:10249"),
        "oomScoreAdj": 0,
    })
}

fn corefile(layout: &Layout) -> String {
    format!(
        ".:53 {{\n    bind {NODE_ADDRESS}\n    errors\n    kubernetes cluster.local in-addr.arpa ip6.arpa {{\n        \
         kubeconfig {}\n        ttl 5\n    }}\n    cache 5\n}}\n",
        layout.text("pki/coredns.kubeconfig")
    )
}

/// The pause image: a static program, compiled from the source that Kubernetes brings, and nothing else.
///
/// # Errors
/// When there is no C compiler, or containerd does not take the image.
pub(crate) fn load_pause(layout: &Layout) -> Result<()> {
    let archive = need::cache()?.join("pause.tar");
    if !archive.is_file() {
        make_pause(&archive)?;
    }
    super::images::import(layout, &archive)
}

fn make_pause(archive: &Path) -> Result<()> {
    let source = KUBERNETES_1_34.source("build/pause/linux/pause.c")?;
    let folder = tempfile::tempdir()?;
    let program = folder.path().join("pause");
    let mut compile = Command::new("cc");
    compile.args(["-Os", "-Wall", "-static", "-DVERSION=bed", "-o"]).arg(&program).arg(source);
    quietly(&mut compile).context("a C compiler with a static C library is needed (Debian: gcc, libc6-dev)")?;
    say("made the pause image");
    super::images::single_program(archive, PAUSE, &program)
}

#[cfg(test)]
mod tests {
    use super::super::layout::{Kind, Ports, Version};
    use super::*;

    fn layout() -> Layout {
        Layout {
            kind: Kind::Bed,
            version: Version::V1_34,
            folder: "/bed".into(),
            ports: Ports { api: 6443, etcd: 1, etcd_peer: 2 },
            forwarded: false,
        }
    }

    #[test]
    fn every_path_lies_in_the_beds_own_folder() {
        let layout = layout();
        let text = format!("{}{}{}", kubelet_config(&layout), proxy_config(&layout), containerd_config(&layout));
        for part in text.split(['"', ' ', '=']).filter(|part| part.starts_with('/')) {
            let own = part.starts_with("/bed/") || part == CNI_PLUGINS || part == format!("/{GROUP}");
            assert!(own, "{part}");
        }
    }

    #[test]
    fn pods_have_addresses_beside_the_nodes() {
        let (subnet, first, _) = PODS;
        assert!(subnet.starts_with("198.18.0.") && first != NODE_ADDRESS);
        assert!(cni_config(&layout()).to_string().contains("\"ipMasq\":false"), "nothing is let out");
    }
}
