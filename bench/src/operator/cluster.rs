//! The control plane, and objects made fast.

use std::path::{Path, PathBuf};
use std::sync::Mutex;

use anyhow::{Context, Result};
use crds::client::{Access, ApiServer, Retry};
use crds::{Realm, Tenant};
use futures_util::{StreamExt, TryStreamExt, stream};
use k8s_openapi::api::core::v1::{Namespace, Secret};
use keyrealm_base::{ObjectId, SystemClock};
use keyrealm_crypto::SystemRandom;
use kube::api::{Api, DeleteParams, ListParams, Patch, PatchParams, PostParams};
use kube::{Client, ResourceExt};
use operator::config::Settings;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

/// Calls at a time.
const PARALLEL: usize = 32;

/// A control plane.
pub(crate) struct Cluster {
    pub(crate) client: Client,
    pub(crate) kubeconfig: PathBuf,
    namespaces: Mutex<Vec<String>>,
}

impl Cluster {
    /// Connects, and applies our definitions.
    pub(crate) async fn connect(kubeconfig: &Path) -> Result<Self> {
        let settings = Settings { kubeconfig: Some(kubeconfig.to_owned()), ..Settings::default() };
        operator::definitions::apply(&settings).await?;
        let access = Access { kubeconfig: Some(kubeconfig.to_owned()), context: None };
        let client = ApiServer::find(&access).await?.client(Retry::Bounded)?;
        Ok(Self { client, kubeconfig: kubeconfig.to_owned(), namespaces: Mutex::default() })
    }

    /// Makes a namespace.
    pub(crate) async fn namespace(&self) -> Result<String> {
        let name = format!("bench-{}", ObjectId::new(&SystemClock, &SystemRandom));
        let object: Namespace = serde_json::from_value(json!({"metadata": {"name": name}}))?;
        Api::<Namespace>::all(self.client.clone()).create(&PostParams::default(), &object).await?;
        if let Ok(mut all) = self.namespaces.lock() {
            all.push(name.clone());
        }
        Ok(name)
    }

    pub(crate) fn api<K>(&self, namespace: &str) -> Api<K>
    where
        K: kube::Resource<DynamicType = (), Scope = k8s_openapi::NamespaceResourceScope>,
    {
        Api::namespaced(self.client.clone(), namespace)
    }

    /// Makes objects, many at a time.
    pub(crate) async fn create<K>(&self, namespace: &str, objects: impl Iterator<Item = Value>) -> Result<Vec<K>>
    where
        K: kube::Resource<DynamicType = (), Scope = k8s_openapi::NamespaceResourceScope>
            + Clone
            + std::fmt::Debug
            + Serialize
            + DeserializeOwned,
    {
        let api = &self.api::<K>(namespace);
        let make = async |object: Value| -> Result<K> {
            let object: K = serde_json::from_value(object)?;
            Ok(api.create(&PostParams::default(), &object).await?)
        };
        stream::iter(objects).map(make).buffer_unordered(PARALLEL).try_collect().await
    }

    /// Makes small Secrets that are nobody's business.
    pub(crate) async fn foreign_secrets(&self, count: usize) -> Result<()> {
        let namespace = self.namespace().await?;
        let secret = |index: usize| json!({"metadata": {"name": format!("foreign-{index}")}, "stringData": {"a": "b"}});
        self.create::<Secret>(&namespace, (0..count).map(secret)).await.map(drop)
    }

    /// Takes away what was made. Operators must have ended.
    pub(crate) async fn clean(&self) -> Result<()> {
        let all = self.namespaces.lock().map(|all| all.clone()).unwrap_or_default();
        let namespaces = Api::<Namespace>::all(self.client.clone());
        for namespace in &all {
            self.release(self.api::<Tenant>(namespace)).await?;
            self.release(self.api::<Realm>(namespace)).await?;
            namespaces.delete(namespace, &DeleteParams::default()).await.context("deleting a namespace")?;
        }
        Ok(())
    }

    /// Nobody is left who would take the finalizers away.
    async fn release<K>(&self, api: Api<K>) -> Result<()>
    where
        K: kube::Resource<DynamicType = ()> + Clone + std::fmt::Debug + DeserializeOwned,
    {
        let none = &Patch::Merge(json!({"metadata": {"finalizers": null}}));
        let (api, parameters) = (&api, &PatchParams::default());
        let all = api.list(&ListParams::default()).await?;
        let released = stream::iter(all.items)
            .map(async |one| api.patch(&one.name_any(), parameters, none).await.map(drop))
            .buffer_unordered(PARALLEL);
        Ok(released.try_collect::<Vec<()>>().await.map(drop)?)
    }
}
