//! From a URL's port to a pod and its port: pure, over what the API server listed.

use k8s_openapi::api::core::v1::{Pod, Service};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

/// The label that names the product.
pub(super) const LABEL: &str = "app.kubernetes.io/name";
/// The admin listener's port: its name, and its number in the product's images.
const ADMIN: (&str, u16) = ("admin", 9090);

/// Why there is no way to a server.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum ResolveError {
    /// No Service has the label.
    #[error(
        "namespace {namespace} has no Service with the label {LABEL}={product}; see: kubectl --namespace {namespace} get services --show-labels"
    )]
    NoService {
        /// The namespace.
        namespace: String,
        /// The product.
        product: &'static str,
    },
    /// No Service has the port.
    #[error(
        "no Service with the label {LABEL}={product} in namespace {namespace} has the TCP port {port} of --{product}-url; there are: {found}"
    )]
    NoPort {
        /// The namespace.
        namespace: String,
        /// The product.
        product: &'static str,
        /// The URL's port.
        port: u16,
        /// Services and their ports.
        found: String,
    },
    /// The Service has not the port.
    #[error(
        "the Service of {product} in namespace {namespace} has not the TCP port {port} of its URL: {found}; see: kubectl --namespace {namespace} get services"
    )]
    NoPortOf {
        /// The namespace.
        namespace: String,
        /// The product.
        product: &'static str,
        /// The URL's port.
        port: u16,
        /// The Service and its ports.
        found: String,
    },
    /// Several Services have label and port.
    #[error(
        "namespace {namespace} has several Services with the label {LABEL}={product} and the port {port}: {found}; the demo needs a namespace with one realm"
    )]
    Several {
        /// The namespace.
        namespace: String,
        /// The product.
        product: &'static str,
        /// The URL's port.
        port: u16,
        /// The Services' names.
        found: String,
    },
    /// The Service has no selector.
    #[error("Service {namespace}/{service} has no selector, so that its pods are not known")]
    NoSelector {
        /// The namespace.
        namespace: String,
        /// The Service.
        service: String,
    },
    /// No pod is ready.
    #[error("no pod of Service {namespace}/{service} is ready: {found}")]
    NotReady {
        /// The namespace.
        namespace: String,
        /// The Service.
        service: String,
        /// The pods and how they are.
        found: String,
    },
    /// The pod has no port of the name.
    #[error("Service {service} leads to the port `{port}`, which no container of pod {pod} has")]
    NoNamedPort {
        /// The Service.
        service: String,
        /// The pod.
        pod: String,
        /// The port's name.
        port: String,
    },
}

/// A way to the pods behind a Service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Route {
    pub(super) namespace: String,
    pub(super) service: String,
    /// Labels of the pods, as the API server wants them.
    pub(super) selector: String,
    pub(super) port: PodPort,
}

/// The port in the pod.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum PodPort {
    /// Known by its number.
    Number(u16),
    /// Known by its name.
    Named(String),
    /// The admin listener.
    Admin,
}

/// The way to the Service of a product whose port is that of the URL.
///
/// # Errors
/// When there is no such Service, or more than one.
pub(super) fn route(
    services: &[Service],
    namespace: &str,
    product: &'static str,
    port: u16,
) -> Result<Route, ResolveError> {
    let labelled = |service: &&Service| {
        service.metadata.labels.as_ref().and_then(|labels| labels.get(LABEL)).is_some_and(|name| name == product)
    };
    let own: Vec<&Service> = services.iter().filter(labelled).collect();
    if own.is_empty() {
        return Err(ResolveError::NoService { namespace: namespace.to_owned(), product });
    }
    let matching: Vec<(&Service, PodPort)> =
        own.iter().filter_map(|service| target(service, port).map(|target| (*service, target))).collect();
    // A headless Service beside the other one leads to the same pods.
    let headless = |service: &Service| {
        service.spec.as_ref().and_then(|spec| spec.cluster_ip.as_deref()).is_some_and(|address| address == "None")
    };
    let with_address: Vec<&(&Service, PodPort)> = matching.iter().filter(|(service, _)| !headless(service)).collect();
    let chosen = if with_address.is_empty() { matching.iter().collect() } else { with_address };
    match chosen.as_slice() {
        [] => Err(ResolveError::NoPort {
            namespace: namespace.to_owned(),
            product,
            port,
            found: own.iter().map(|service| described(service)).collect::<Vec<_>>().join(", "),
        }),
        [(service, target)] => Ok(Route {
            namespace: namespace.to_owned(),
            service: name(service).to_owned(),
            selector: selector(service, namespace)?,
            port: target.clone(),
        }),
        several => Err(ResolveError::Several {
            namespace: namespace.to_owned(),
            product,
            port,
            found: several.iter().map(|(service, _)| name(service)).collect::<Vec<_>>().join(", "),
        }),
    }
}

/// The way to a Service that is known by its name.
///
/// # Errors
/// When it has not the port of the URL.
pub(super) fn route_to(
    service: &Service,
    namespace: &str,
    product: &'static str,
    port: u16,
) -> Result<Route, ResolveError> {
    let found = || ResolveError::NoPortOf { namespace: namespace.to_owned(), product, port, found: described(service) };
    Ok(Route {
        namespace: namespace.to_owned(),
        service: name(service).to_owned(),
        selector: selector(service, namespace)?,
        port: target(service, port).ok_or_else(found)?,
    })
}

impl Route {
    /// The way to the admin listener of the same pods.
    pub(super) fn to_admin(&self) -> Self {
        Self { port: PodPort::Admin, ..self.clone() }
    }

    /// The pods that are ready, by name.
    ///
    /// # Errors
    /// When there is none: then with each pod's state.
    pub(super) fn ready<'p>(&self, pods: &'p [Pod]) -> Result<Vec<&'p Pod>, ResolveError> {
        let mut ready: Vec<&Pod> = pods.iter().filter(|pod| is_ready(pod)).collect();
        ready.sort_by_key(|pod| pod_name(pod));
        if ready.is_empty() {
            let found = pods.iter().map(state).collect::<Vec<_>>().join(", ");
            let found = if found.is_empty() { format!("no pod has the labels {}", self.selector) } else { found };
            return Err(ResolveError::NotReady {
                namespace: self.namespace.clone(),
                service: self.service.clone(),
                found,
            });
        }
        Ok(ready)
    }

    /// The port's number in a pod.
    ///
    /// # Errors
    /// When the pod has no port of the name.
    pub(super) fn port_in(&self, pod: &Pod) -> Result<u16, ResolveError> {
        match &self.port {
            PodPort::Number(port) => Ok(*port),
            PodPort::Admin => Ok(named(pod, ADMIN.0).unwrap_or(ADMIN.1)),
            PodPort::Named(port) => named(pod, port).ok_or_else(|| ResolveError::NoNamedPort {
                service: self.service.clone(),
                pod: pod_name(pod).to_owned(),
                port: port.clone(),
            }),
        }
    }
}

/// Where a Service's port leads, if it has that port.
fn target(service: &Service, port: u16) -> Option<PodPort> {
    let ports = service.spec.as_ref()?.ports.as_deref().unwrap_or_default();
    let own = ports.iter().find(|own| own.port == i32::from(port) && is_tcp(own.protocol.as_deref()))?;
    match &own.target_port {
        None => Some(PodPort::Number(port)),
        Some(IntOrString::Int(number)) => u16::try_from(*number).ok().map(PodPort::Number),
        Some(IntOrString::String(name)) => Some(PodPort::Named(name.clone())),
    }
}

fn selector(service: &Service, namespace: &str) -> Result<String, ResolveError> {
    let labels = service.spec.as_ref().and_then(|spec| spec.selector.as_ref());
    let text = labels.into_iter().flatten().map(|(key, value)| format!("{key}={value}")).collect::<Vec<_>>().join(",");
    if text.is_empty() {
        return Err(ResolveError::NoSelector { namespace: namespace.to_owned(), service: name(service).to_owned() });
    }
    Ok(text)
}

fn named(pod: &Pod, port: &str) -> Option<u16> {
    let containers = pod.spec.as_ref()?.containers.iter();
    let own = containers
        .flat_map(|container| container.ports.iter().flatten())
        .find(|own| own.name.as_deref() == Some(port) && is_tcp(own.protocol.as_deref()))?;
    u16::try_from(own.container_port).ok()
}

fn is_tcp(protocol: Option<&str>) -> bool {
    protocol.is_none_or(|protocol| protocol == "TCP")
}

fn condition<'p>(pod: &'p Pod, kind: &str) -> Option<&'p k8s_openapi::api::core::v1::PodCondition> {
    pod.status.as_ref()?.conditions.iter().flatten().find(|condition| condition.type_ == kind)
}

fn is_ready(pod: &Pod) -> bool {
    pod.metadata.deletion_timestamp.is_none()
        && condition(pod, "Ready").is_some_and(|condition| condition.status == "True")
}

/// A pod and what keeps it.
fn state(pod: &Pod) -> String {
    let status = pod.status.as_ref();
    let phase = status.and_then(|status| status.phase.as_deref()).unwrap_or("unknown");
    let phase = if pod.metadata.deletion_timestamp.is_some() { "terminating" } else { phase };
    let waiting = status.and_then(|status| status.container_statuses.as_ref()).into_iter().flatten();
    let waiting = waiting.filter_map(|container| container.state.as_ref()?.waiting.as_ref()?.reason.as_deref()).next();
    let reason = waiting.or_else(|| condition(pod, "Ready").and_then(|condition| condition.reason.as_deref()));
    match reason {
        Some(reason) => format!("{} is {phase} ({reason})", pod_name(pod)),
        None => format!("{} is {phase}", pod_name(pod)),
    }
}

fn described(service: &Service) -> String {
    let ports = service.spec.as_ref().and_then(|spec| spec.ports.as_deref()).unwrap_or_default();
    let ports = ports.iter().map(|port| port.port.to_string()).collect::<Vec<_>>().join(" ");
    format!("{} ({ports})", name(service))
}

fn name(service: &Service) -> &str {
    service.metadata.name.as_deref().unwrap_or_default()
}

/// A pod's name.
pub(super) fn pod_name(pod: &Pod) -> &str {
    pod.metadata.name.as_deref().unwrap_or_default()
}

#[cfg(test)]
#[path = "resolve_tests.rs"]
mod tests;
