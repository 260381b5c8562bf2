//! A DemoEnvironment: it says where the servers are, whom to trust and who may log in.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use crds::{ConditionStatus, DemoEndpoints, DemoEnvironment, READY, STALLED, SeedSet};
use k8s_openapi::api::core::v1::{ConfigMap, Secret, Service};
use keyrealm_crypto::SecretBytes;
use kube::api::ListParams;
use serde::de::DeserializeOwned;

use super::resolve::{Route, route_to};
use super::{Api, CALL};
use crate::attached::{Attached, Told, port_of};
use crate::target::AttachFlags;

/// DemoEnvironments that are looked at.
const MOST: u32 = 100;
/// The wait between two looks.
const PAUSE: Duration = Duration::from_secs(1);
/// Tenants that the steps need.
const TENANTS: i32 = 2;
/// How servers without a DemoEnvironment are told.
const OTHERWISE: &str = "give --kms-url, --identity-url, --ca and --credentials for servers without one";

/// Why there is none to use.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
enum EnvironmentError {
    /// There is none.
    #[error(
        "namespace {0} has no DemoEnvironment; see: kubectl get demoenvironments --all-namespaces; make one: kubectl --namespace {0} apply -f deployments/examples/demo-environment.yaml; or {OTHERWISE}"
    )]
    None(String),
    /// There is none of the name.
    #[error(
        "namespace {namespace} has no DemoEnvironment {name}, but: {found}; see: kubectl --namespace {namespace} get demoenvironments"
    )]
    Unknown {
        /// The namespace.
        namespace: String,
        /// The name that was given.
        name: String,
        /// The names.
        found: String,
    },
    /// There are several.
    #[error("namespace {namespace} has several DemoEnvironments: {found}; name one with --demo-environment")]
    Several {
        /// The namespace.
        namespace: String,
        /// The names.
        found: String,
    },
    /// It is not ready.
    #[error(
        "DemoEnvironment {namespace}/{name} is not ready{after}: {why}; see: kubectl --namespace {namespace} describe demoenvironment {name}"
    )]
    NotReady {
        /// The namespace.
        namespace: String,
        /// Its name.
        name: String,
        /// How long it was waited for.
        after: String,
        /// What its condition says.
        why: String,
    },
    /// It has not what the steps need.
    #[error(
        "DemoEnvironment {namespace}/{name} has {has}, and the steps need {TENANTS} tenants with the demo's users, clients and keys: kubectl --namespace {namespace} patch demoenvironment {name} --type merge --patch '{{\"spec\":{{\"tenants\":{TENANTS},\"seed\":\"demo\"}}}}'"
    )]
    TooLittle {
        /// The namespace.
        namespace: String,
        /// Its name.
        name: String,
        /// What it has.
        has: String,
    },
}

/// A DemoEnvironment that can be used.
pub(super) struct Found {
    pub(super) attached: Attached,
    pub(super) place: Place,
}

/// Where its servers are.
pub(super) struct Place {
    endpoints: DemoEndpoints,
}

impl Place {
    /// The ways to Identity and the KMS.
    ///
    /// # Errors
    /// When a Service is not there or not as the URL says.
    pub(super) async fn routes(&self, api: &Api, namespace: &str, attached: &Attached) -> Result<[Route; 2]> {
        let identity: Service = get(api, namespace, "service", &self.endpoints.identity_service).await?;
        let kms: Service = get(api, namespace, "service", &self.endpoints.kms_service).await?;
        Ok([
            route_to(&identity, namespace, "identity", port_of(&attached.identity))?,
            route_to(&kms, namespace, "kms", port_of(&attached.kms))?,
        ])
    }

    /// The command that writes the CA bundle into the file that the card's commands read.
    pub(super) fn fetch_bundle(&self, kubectl: &str, namespace: &str) -> String {
        let bundle = &self.endpoints.trust_bundle;
        let file = bundle_file(&self.endpoints);
        format!(
            "{kubectl} --namespace {namespace} get configmap {bundle} --output 'jsonpath={{.data.ca\\.crt}}' > {}",
            file.display()
        )
    }
}

fn bundle_file(endpoints: &DemoEndpoints) -> PathBuf {
    PathBuf::from(format!("{}.pem", endpoints.trust_bundle))
}

/// The DemoEnvironment of the namespace, once it is ready.
///
/// # Errors
/// When there is none or several, it is not ready in that time, or what it names cannot be read.
pub(super) async fn find(api: &Api, flags: &AttachFlags, namespace: &str, timeout: Duration) -> Result<Found> {
    let began = Instant::now();
    let (demo, endpoints, secret) = loop {
        let demo = choose(list(api, namespace).await?, flags.demo_environment.as_deref(), namespace)?;
        match standing(&demo) {
            Standing::Ready(endpoints, secret) => break (demo, endpoints, secret),
            Standing::Stalled(why) => return Err(not_ready(&demo, namespace, String::new(), why).into()),
            Standing::Waiting(why) if began.elapsed() >= timeout => {
                let after = format!(" after {} s", timeout.as_secs());
                return Err(not_ready(&demo, namespace, after, why).into());
            }
            Standing::Waiting(_) => tokio::time::sleep(PAUSE.min(timeout.saturating_sub(began.elapsed()))).await,
        }
    };
    let secret = enough(&demo, secret, namespace)?;
    let bundle: ConfigMap = get(api, namespace, "configmap", &endpoints.trust_bundle).await?;
    let lacks = |kind: &str, name: &str, key: &str| {
        format!(
            "{kind} {namespace}/{name} has no {key}; see: kubectl --namespace {namespace} describe {} {name}",
            kind.to_lowercase()
        )
    };
    let ca = bundle.data.and_then(|mut data| data.remove("ca.crt"));
    let ca = ca.with_context(|| lacks("ConfigMap", &endpoints.trust_bundle, "ca.crt"))?;
    let credentials: Secret = get(api, namespace, "secret", &secret).await?;
    let credentials = credentials.data.and_then(|mut data| data.remove("credentials.json"));
    let credentials = credentials.with_context(|| lacks("Secret", &secret, "credentials.json"))?;
    let told = Told {
        identity: endpoints.issuer.clone(),
        kms: endpoints.kms.clone(),
        ca,
        ca_file: bundle_file(&endpoints),
        credentials: SecretBytes::new(credentials.0),
        secret: format!("Secret {namespace}/{secret}"),
    };
    let attached = Attached::told(flags, told)
        .with_context(|| format!("DemoEnvironment {namespace}/{} cannot be used", name(&demo)))?;
    Ok(Found { attached, place: Place { endpoints } })
}

async fn list(api: &Api, namespace: &str) -> Result<Vec<DemoEnvironment>> {
    let what = || format!("cannot list the DemoEnvironments of namespace {namespace} at {}", api.server);
    let demos = kube::Api::<DemoEnvironment>::namespaced(api.client.clone(), namespace);
    let listed = tokio::time::timeout(CALL, demos.list(&ListParams::default().limit(MOST)))
        .await
        .with_context(|| format!("{}: no answer within {} s", what(), CALL.as_secs()))?;
    match listed {
        Ok(listed) => Ok(listed.items),
        // The kind itself is not known.
        Err(kube::Error::Api(status)) if status.code == 404 => anyhow::bail!(
            "{}: the cluster does not know the kind; install the operator (helm install keyrealm charts/keyrealm) or {OTHERWISE}",
            what()
        ),
        Err(error) => Err(error).with_context(|| {
            format!("{}; see: kubectl --namespace {namespace} auth can-i list demoenvironments.keyrealm.dev", what())
        }),
    }
}

/// One object by its name.
async fn get<K>(api: &Api, namespace: &str, kind: &str, name: &str) -> Result<K>
where
    K: kube::Resource<Scope = k8s_openapi::NamespaceResourceScope, DynamicType = ()>,
    K: Clone + std::fmt::Debug + DeserializeOwned,
{
    let what = || {
        format!(
            "cannot read {kind} {namespace}/{name}; see: kubectl --namespace {namespace} auth can-i get {kind}/{name}"
        )
    };
    tokio::time::timeout(CALL, kube::Api::<K>::namespaced(api.client.clone(), namespace).get(name))
        .await
        .with_context(|| format!("{}: no answer within {} s", what(), CALL.as_secs()))?
        .with_context(what)
}

fn name(demo: &DemoEnvironment) -> &str {
    demo.metadata.name.as_deref().unwrap_or_default()
}

/// The one that was named, or the only one.
fn choose(
    mut demos: Vec<DemoEnvironment>,
    named: Option<&str>,
    namespace: &str,
) -> Result<DemoEnvironment, EnvironmentError> {
    let found = demos.iter().map(name).collect::<Vec<_>>().join(", ");
    let namespace = namespace.to_owned();
    if found.is_empty() {
        return Err(EnvironmentError::None(namespace));
    }
    if let Some(wanted) = named {
        demos.retain(|demo| name(demo) == wanted);
    }
    let last = demos.pop();
    match (last, named) {
        (Some(demo), _) if demos.is_empty() => Ok(demo),
        (None, Some(named)) => Err(EnvironmentError::Unknown { namespace, name: named.to_owned(), found }),
        _ => Err(EnvironmentError::Several { namespace, found }),
    }
}

/// How it stands.
#[derive(Debug, PartialEq, Eq)]
enum Standing {
    /// Where its servers are, and its Secret.
    Ready(DemoEndpoints, Option<String>),
    /// Not yet.
    Waiting(String),
    /// Not until somebody changes something.
    Stalled(String),
}

fn standing(demo: &DemoEnvironment) -> Standing {
    let nobody = || {
        Standing::Waiting("no operator has looked at it; see: kubectl get pods --all-namespaces --selector app.kubernetes.io/name=keyrealm".to_owned())
    };
    let Some(status) = &demo.status else { return nobody() };
    // What was said of an earlier form of it does not count.
    let of_now = |kind: &str| {
        status
            .conditions
            .iter()
            .find(|condition| condition.kind == kind && Some(condition.observed_generation) == demo.metadata.generation)
    };
    let Some(ready) = of_now(READY) else { return nobody() };
    let why = format!("{}: {}", ready.reason, ready.message);
    let stalled = of_now(STALLED).is_some_and(|condition| condition.status == ConditionStatus::True);
    match (ready.status, &status.endpoints) {
        (ConditionStatus::True, Some(endpoints)) => {
            Standing::Ready(endpoints.clone(), status.credentials_secret.clone())
        }
        (ConditionStatus::True, None) => Standing::Waiting("its status has no endpoints".to_owned()),
        _ if stalled => Standing::Stalled(why),
        _ => Standing::Waiting(why),
    }
}

fn not_ready(demo: &DemoEnvironment, namespace: &str, after: String, why: String) -> EnvironmentError {
    EnvironmentError::NotReady { namespace: namespace.to_owned(), name: name(demo).to_owned(), after, why }
}

/// The credentials Secret of one that has what the steps need.
fn enough(demo: &DemoEnvironment, secret: Option<String>, namespace: &str) -> Result<String, EnvironmentError> {
    let tenants = demo.spec.tenants;
    match secret.filter(|_| tenants >= TENANTS && demo.spec.seed == SeedSet::Demo) {
        Some(secret) => Ok(secret),
        None => {
            let seed = if demo.spec.seed == SeedSet::Demo { "" } else { " and no seed" };
            let has = format!("tenants: {tenants}{seed}");
            Err(EnvironmentError::TooLittle { namespace: namespace.to_owned(), name: name(demo).to_owned(), has })
        }
    }
}

#[cfg(test)]
#[path = "environment_tests.rs"]
mod tests;
