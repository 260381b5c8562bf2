//! `operator crds`: the definitions of the resources, printed or applied.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use crds::client::{Access, ApiServer, Retry};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::ResourceExt;
use kube::api::{Api, Patch, PatchParams};
use tokio::time::timeout;

use crate::config::Settings;

const CALL: Duration = Duration::from_secs(10);
/// How long the API server may take to serve a new kind.
const ESTABLISHED: Duration = Duration::from_secs(30);

/// All definitions as YAML documents.
///
/// # Errors
/// When one cannot be written as YAML.
pub fn yaml() -> Result<String> {
    let documents: Result<Vec<String>, _> = crds::definitions().iter().map(serde_yaml::to_string).collect();
    Ok(documents?.join("---\n"))
}

/// Applies them (server-side, over whatever installed them before) and waits until they are served.
///
/// # Errors
/// Naming the definition, and what the API server says.
pub async fn apply(settings: &Settings) -> Result<Vec<String>> {
    let access = Access { kubeconfig: settings.kubeconfig.clone(), context: settings.context.clone() };
    let client = ApiServer::find(&access).await?.client(Retry::Bounded)?;
    let api = Api::<CustomResourceDefinition>::all(client);
    let mut served = Vec::new();
    for definition in crds::definitions() {
        let name = definition.name_any();
        let what = || format!("CustomResourceDefinition {name}");
        let parameters = PatchParams::apply("keyrealm-crds").force();
        timeout(CALL, api.patch(&name, &parameters, &Patch::Apply(&definition)))
            .await
            .with_context(|| format!("{}: no answer within {} s", what(), CALL.as_secs()))?
            .with_context(what)?;
        let began = Instant::now();
        loop {
            let now = timeout(CALL, api.get(&name)).await.with_context(what)?.with_context(what)?;
            if is_established(&now) {
                break;
            }
            let waited = began.elapsed() < ESTABLISHED;
            ensure!(waited, "{}: is not served after {} s; look at its conditions", what(), ESTABLISHED.as_secs());
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        served.push(name);
    }
    Ok(served)
}

fn is_established(definition: &CustomResourceDefinition) -> bool {
    let conditions = definition.status.as_ref().and_then(|status| status.conditions.as_deref()).unwrap_or_default();
    conditions.iter().any(|condition| condition.type_ == "Established" && condition.status == "True")
}
