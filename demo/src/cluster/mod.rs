//! Servers in a Kubernetes cluster: their Services and pods are found, and the way to them leads through the API server.
//! URL, SNI and Host stay what they are everywhere else.

mod environment;
mod forward;
mod resolve;

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, Result};
use crds::client::{Access, ApiServer, Retry};
use k8s_openapi::api::core::v1::Service;
use kube::Client;
use kube::api::ListParams;
use url::Url;

use self::forward::Forward;
use self::resolve::{LABEL, Route, route};
use crate::attached::{Addresses, AdminAt, Attached, host_port, port_of, with_port};
use crate::endpoints::{Endpoints, Notes, Shell};
use crate::target::AttachFlags;

/// The longest that one call may take.
const CALL: Duration = Duration::from_secs(10);
/// The admin listener's port in the pods, and so in its URL.
const ADMIN_PORT: u16 = 9090;
/// Services that are looked at.
const SERVICES: u32 = 100;

/// A client of the API server, and where it leads.
struct Api {
    client: Client,
    server: String,
}

impl Api {
    /// The API server that kubectl would take with the same flags.
    async fn connect(flags: &AttachFlags) -> Result<Self> {
        let access = Access { kubeconfig: flags.kubeconfig.clone(), context: flags.context.clone() };
        let server = ApiServer::find(&access).await?;
        Ok(Self { client: server.client(Retry::Bounded)?, server: server.url() })
    }
}

/// The servers, and the forwards to them.
pub(crate) struct Cluster {
    /// Where everything is.
    pub(crate) endpoints: Endpoints,
    // They close when dropped.
    _forwards: Vec<Forward>,
}

impl Cluster {
    /// Finds the Services and opens the listeners. Where no flags say where the servers are, a DemoEnvironment does, once
    /// it is ready.
    ///
    /// # Errors
    /// When the API server cannot be used, the DemoEnvironment is not ready in that time, or the Services are not as the
    /// URLs say.
    pub(crate) async fn reach(flags: &AttachFlags, timeout: Duration) -> Result<Self> {
        let namespace = flags.namespace.as_deref().context("--namespace is missing")?;
        let (attached, api, told) = if flags.kms_url.is_some() {
            // The files first: they are wrong more often than the cluster.
            (Attached::read(flags)?, Api::connect(flags).await?, None)
        } else {
            let api = Api::connect(flags).await?;
            let found = environment::find(&api, flags, namespace, timeout).await?;
            (found.attached, api, Some(found.place))
        };
        let routes = match &told {
            Some(place) => place.routes(&api, namespace, &attached).await?,
            None => {
                let services = services(&api, namespace).await?;
                let route = |product, url| route(&services, namespace, product, port_of(url));
                [route("identity", &attached.identity)?, route("kms", &attached.kms)?]
            }
        };
        let complaints = Notes::complaints();
        let mut forwards = Vec::new();
        let mut listen = async |route: Route| -> Result<SocketAddr> {
            let forward = Forward::listen(api.client.clone(), route, complaints.clone()).await?;
            let address = forward.address;
            forwards.push(forward);
            Ok(address)
        };
        let mut addresses = Addresses::new();
        let mut admin = Vec::new();
        let mut found = Vec::new();
        for (route, url) in routes.into_iter().zip([&attached.identity, &attached.kms]) {
            addresses.insert(host_port(url), listen(route.clone()).await?);
            let at = with_port(url, ADMIN_PORT)?;
            let mapped = Addresses::from([(host_port(&at), listen(route.to_admin()).await?)]);
            admin.push(AdminAt { url: at, addresses: mapped });
            found.push((route.service, url.clone()));
        }
        let mut shell = shell(flags, namespace, &found);
        shell.once.extend(told.map(|place| place.fetch_bundle(&kubectl(flags), namespace)));
        let (Some(kms), Some(identity)) = (admin.pop(), admin.pop()) else { anyhow::bail!("no admin listeners") };
        let endpoints = attached.endpoints(addresses, [identity, kms], shell, complaints)?;
        Ok(Self { endpoints, _forwards: forwards })
    }
}

async fn services(api: &Api, namespace: &str) -> Result<Vec<Service>> {
    let what = || format!("cannot list the Services of namespace {namespace} at {}", api.server);
    let wanted = ListParams::default().labels(&format!("{LABEL} in (kms,identity)")).limit(SERVICES);
    let services = kube::Api::<Service>::namespaced(api.client.clone(), namespace);
    let listed = tokio::time::timeout(CALL, services.list(&wanted))
        .await
        .with_context(|| format!("{}: no answer within {} s", what(), CALL.as_secs()))?
        .with_context(what)?;
    Ok(listed.items)
}

/// The lines of kubectl that stand in for these forwards in a shell, and how curl takes them. The first one keeps the
/// issuer's port, so that a browser, too, gets there where the name leads to this machine.
fn shell(flags: &AttachFlags, namespace: &str, found: &[(String, Url)]) -> Shell {
    let kubectl = kubectl(flags);
    let mut shell = Shell::default();
    let mut taken = Vec::new();
    for (service, url) in found {
        let port = port_of(url);
        let mut local = port;
        // Low ports are for root alone.
        while local < 1024 || taken.contains(&local) {
            local = local.wrapping_add(8000);
        }
        taken.push(local);
        shell.first.push(format!("{kubectl} --namespace {namespace} port-forward service/{service} {local}:{port}"));
        shell.curl.push_str(&format!(" --connect-to {}:127.0.0.1:{local}", host_port(url)));
    }
    shell
}

/// kubectl with the flags that lead to the same cluster.
fn kubectl(flags: &AttachFlags) -> String {
    let mut kubectl = "kubectl".to_owned();
    if let Some(file) = &flags.kubeconfig {
        let file = std::path::absolute(file).unwrap_or_else(|_| file.clone());
        kubectl.push_str(&format!(" --kubeconfig '{}'", file.display()));
    }
    if let Some(context) = &flags.context {
        kubectl.push_str(&format!(" --context '{context}'"));
    }
    kubectl
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cards_lines_keep_ports_where_they_can() {
        let found = |urls: [&str; 2]| {
            ["identity", "kms"]
                .map(str::to_owned)
                .into_iter()
                .zip(urls.map(|url| url.parse().unwrap()))
                .collect::<Vec<_>>()
        };
        let flags = AttachFlags { context: Some("bed".to_owned()), ..AttachFlags::default() };
        let lines = shell(&flags, "demo", &found(["https://id.localhost:8082", "https://kms.localhost:8080"]));
        assert_eq!(
            lines.first,
            [
                "kubectl --context 'bed' --namespace demo port-forward service/identity 8082:8082",
                "kubectl --context 'bed' --namespace demo port-forward service/kms 8080:8080",
            ]
        );
        let lines = shell(&AttachFlags::default(), "demo", &found(["https://id.example", "https://kms.example"]));
        assert_eq!(
            lines.curl,
            " --connect-to id.example:443:127.0.0.1:8443 --connect-to kms.example:443:127.0.0.1:16443"
        );
    }
}
