//! The cluster's own chain, its certificates and the kubeconfigs that show them.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use keyrealm_base::{Clock, Timestamp};
use keyrealm_crypto::SystemRandom;
use keyrealm_pki::{CaChain, CertificateInfo, ChainSpec, LeafSpec, LeafUsage, NameStyle, certificates};
use keyrealm_tls::{write_private, write_public};
use serde_json::{Value, json};

use super::layout::{API_SERVICE, Kind, Layout, NODE_ADDRESS, NODE_NAME};

/// What a certificate says: file, common name, group (Kubernetes reads it from O), DNS names.
struct Row {
    file: &'static str,
    common_name: &'static str,
    organization: Option<&'static str>,
    dns: &'static [&'static str],
    usage: LeafUsage,
}

const MASTERS: Option<&str> = Some("system:masters");

const ROWS: &[Row] = &[
    Row {
        file: "apiserver",
        common_name: "kube-apiserver",
        organization: None,
        dns: &["localhost", "kubernetes", "kubernetes.default", "kubernetes.default.svc"],
        usage: LeafUsage::Server,
    },
    client("apiserver-kubelet", "kube-apiserver-kubelet-client", MASTERS),
    client("front-proxy", "front-proxy", None),
    client("admin", "keyrealm-bed-admin", MASTERS),
    client("controller-manager", "system:kube-controller-manager", None),
    client("scheduler", "system:kube-scheduler", None),
    client("proxy", "system:kube-proxy", None),
    client("coredns", "keyrealm:coredns", None),
    client("volumes", "keyrealm:volumes", None),
    Row {
        file: "etcd",
        common_name: "etcd",
        organization: None,
        dns: &["localhost"],
        usage: LeafUsage::ServerAndClient,
    },
    Row {
        file: "kubelet",
        common_name: "system:node:bed",
        organization: Some("system:nodes"),
        dns: &[NODE_NAME],
        usage: LeafUsage::ServerAndClient,
    },
    // Only its key is used: it signs the tokens of service accounts.
    client("service-accounts", "service-accounts", None),
];

const fn client(file: &'static str, common_name: &'static str, organization: Option<&'static str>) -> Row {
    Row { file, common_name, organization, dns: &["client.keyrealm-bed"], usage: LeafUsage::Client }
}

/// Who has a kubeconfig.
const KUBECONFIGS: &[&str] = &["admin", "controller-manager", "scheduler", "proxy", "coredns", "volumes", "kubelet"];

/// Makes the chain, all certificates and all kubeconfigs below `pki/`, and the administrator's beside it.
///
/// # Errors
/// When something cannot be made or written.
pub(crate) fn write(layout: &Layout, clock: &dyn Clock) -> Result<()> {
    let folder = layout.path("pki");
    fs::create_dir_all(&folder)?;
    // The controller manager signs with the CA itself and reads one certificate: hence no intermediate.
    let style = NameStyle::Descriptive { name: "Keyrealm bed".to_owned() };
    let chain = CaChain::generate(&ChainSpec { length: 2, ..ChainSpec::new(style) }, clock, &SystemRandom)?;
    write_public(&folder.join("ca.pem"), chain.trust_bundle_pem().as_bytes())?;
    write_private(&folder.join("ca-key.pem"), chain.issuing_key_pem().as_bytes())?;
    for row in ROWS {
        issue(&chain, &folder, layout, row, clock).with_context(|| format!("the certificate of {}", row.file))?;
    }
    for name in KUBECONFIGS {
        let text = serde_json::to_vec_pretty(&kubeconfig(layout, &folder, name)?)?;
        let path = if *name == "admin" { layout.kubeconfig() } else { folder.join(format!("{name}.kubeconfig")) };
        write_private(&path, &text)?;
    }
    Ok(())
}

fn issue(chain: &CaChain, folder: &Path, layout: &Layout, row: &Row, clock: &dyn Clock) -> Result<()> {
    let mut spec = LeafSpec::new(row.common_name, row.usage);
    spec.dns = row.dns.iter().map(|name| (*name).to_owned()).collect();
    if let Some(organization) = row.organization {
        spec = spec.with_organization(organization);
    }
    if row.usage != LeafUsage::Client {
        spec.ips.push("127.0.0.1".parse()?);
        if row.file == "apiserver" {
            spec.ips.push(API_SERVICE.parse()?);
        }
        if layout.kind == Kind::Bed {
            spec.ips.push(NODE_ADDRESS.parse()?);
        }
    }
    let leaf = chain.issue_leaf(&spec, clock, &SystemRandom)?;
    write_public(&folder.join(format!("{}.pem", row.file)), leaf.chain_pem.as_bytes())?;
    write_private(&folder.join(format!("{}-key.pem", row.file)), leaf.key_pem.as_bytes())?;
    Ok(())
}

/// Refuses certificates that the time has left behind: a cluster that runs over the end of their 90 days, or a machine whose
/// clock has jumped.
///
/// # Errors
/// With what is wrong; a new start mends it.
pub(crate) fn check_time(layout: &Layout, now: Timestamp) -> Result<()> {
    let path = layout.path("pki/apiserver.pem");
    let text = fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
    for certificate in certificates(&text)? {
        let info = CertificateInfo::parse(&certificate)?;
        if now > info.not_after {
            bail!("the certificates ended at {}, by this machine's clock it is {now}", info.not_after);
        }
        if now < info.not_before {
            bail!("the clock went back to {now}, before the certificates begin at {}", info.not_before);
        }
    }
    Ok(())
}

/// JSON is YAML. The certificates lie in the file itself, so that it can be copied.
fn kubeconfig(layout: &Layout, folder: &Path, name: &str) -> Result<Value> {
    let data = |file: String| {
        let path = folder.join(file);
        fs::read(&path).map(|bytes| STANDARD.encode(bytes)).with_context(|| format!("cannot read {}", path.display()))
    };
    Ok(json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "keyrealm-bed", "preferences": {},
        "clusters": [{"name": "keyrealm-bed", "cluster": {
            "server": layout.api(), "certificate-authority-data": data("ca.pem".to_owned())?,
        }}],
        "users": [{"name": name, "user": {
            "client-certificate-data": data(format!("{name}.pem"))?,
            "client-key-data": data(format!("{name}-key.pem"))?,
        }}],
        "contexts": [{"name": "keyrealm-bed", "context": {"cluster": "keyrealm-bed", "user": name}}],
    }))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use keyrealm_testkit::TestClock;

    use super::super::layout::{Ports, Version};
    use super::*;

    #[test]
    fn a_jump_of_the_clock_in_either_direction_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let layout = Layout {
            kind: Kind::ControlPlane,
            version: Version::V1_34,
            folder: folder.path().to_owned(),
            ports: Ports { api: 1, etcd: 2, etcd_peer: 3 },
            forwarded: false,
        };
        let clock = TestClock::default();
        write(&layout, &clock).unwrap();
        let made = clock.now();
        let day = Duration::from_hours(24);
        check_time(&layout, made).unwrap();
        check_time(&layout, made.plus(day * 89)).unwrap();
        let ended = check_time(&layout, made.plus(day * 91)).unwrap_err().to_string();
        assert!(ended.contains("the certificates ended"), "{ended}");
        let back = check_time(&layout, made.minus(day)).unwrap_err().to_string();
        assert!(back.contains("the clock went back"), "{back}");
        // A start makes them anew, whatever the time.
        clock.advance(day * 365);
        write(&layout, &clock).unwrap();
        check_time(&layout, clock.now()).unwrap();
    }
}
