//! An API server with our definitions, a namespace a test, and operators on it.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::{Child as Process, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crds::Tenant;
use crds::client::{Access, ApiServer, Retry};
use k8s_openapi::api::core::v1::{ConfigMap, Namespace};
use keyrealm_base::{ObjectId, SystemClock};
use keyrealm_crypto::SystemRandom;
use keyrealm_http::Tasks;
use kube::api::{Api, DeleteParams, PostParams};
use kube::runtime::controller::Action;
use kube::{Client, ResourceExt};
use operator::child::{Child, ChildKind, ChildRef, Ownership};
use operator::config::Settings;
use operator::context::Context;
use operator::error::ApiError;
use operator::failpoint::Failpoint;
use operator::run::{Deps, Parts};
use serde_json::{Value, json};
use tokio::sync::OnceCell;

pub(crate) fn kubeconfig() -> PathBuf {
    let path = std::env::var_os("KEYREALM_TEST_KUBECONFIG").map(PathBuf::from);
    path.expect("KEYREALM_TEST_KUBECONFIG: a cluster of `cargo xtask cluster --control-plane-only NAME up`")
}

pub(crate) fn settings(namespace: &str) -> Settings {
    let mut settings = Settings { kubeconfig: Some(kubeconfig()), ..Settings::default() };
    settings.watch.namespaces = vec![namespace.to_owned()];
    settings.server.admin.address = "127.0.0.1:0".to_owned();
    settings.lease.namespace = namespace.to_owned();
    settings
}

pub(crate) fn deps() -> Deps {
    Deps {
        clock: Arc::new(SystemClock),
        random: Arc::new(SystemRandom),
        failpoint: Failpoint::none(),
        controllers: toy,
        record: true,
        told: None,
    }
}

/// A namespace that goes with the test.
pub(crate) struct Place {
    pub(crate) client: Client,
    pub(crate) namespace: String,
}

impl Place {
    pub(crate) async fn new() -> Self {
        static DEFINED: OnceCell<()> = OnceCell::const_new();
        let settings = Settings { kubeconfig: Some(kubeconfig()), ..Settings::default() };
        DEFINED
            .get_or_init(async || {
                operator::definitions::apply(&settings).await.unwrap();
            })
            .await;
        let access = Access { kubeconfig: Some(kubeconfig()), context: None };
        let client = ApiServer::find(&access).await.unwrap().client(Retry::None).unwrap();
        let namespace = format!("t-{}", ObjectId::new(&SystemClock, &SystemRandom));
        let object: Namespace = serde_json::from_value(json!({"metadata": {"name": namespace}})).unwrap();
        Api::<Namespace>::all(client.clone()).create(&PostParams::default(), &object).await.unwrap();
        Self { client, namespace }
    }

    pub(crate) fn settings(&self) -> Settings {
        settings(&self.namespace)
    }

    pub(crate) async fn tenant(&self, name: &str) -> Tenant {
        let tenant: Tenant = serde_json::from_value(json!({
            "apiVersion": "keyrealm.dev/v1alpha1", "kind": "Tenant", "metadata": {"name": name},
            "spec": {"realmRef": {"name": "realm"}, "slug": name, "displayName": name},
        }))
        .unwrap();
        Api::<Tenant>::namespaced(self.client.clone(), &self.namespace)
            .create(&PostParams::default(), &tenant)
            .await
            .unwrap()
    }

    pub(crate) fn config_maps(&self) -> Api<ConfigMap> {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    pub(crate) async fn data(&self, name: &str) -> Option<BTreeMap<String, String>> {
        self.config_maps().get_opt(name).await.unwrap().map(|map| map.data.unwrap_or_default())
    }

    /// The parts of an operator with warm stores that may write.
    pub(crate) async fn parts(&self) -> (Parts, Tasks) {
        self.parts_of(&deps()).await
    }

    /// The same for the real controllers, whose calls are kept: what tests have the parts do by hand proves no need.
    pub(crate) async fn real_parts(&self) -> (Parts, Tasks) {
        self.parts_of(&Deps { told: Some(crate::calls::keep), ..deps() }).await
    }

    async fn parts_of(&self, deps: &Deps) -> (Parts, Tasks) {
        let mut settings = self.settings();
        settings.lease.enabled = false;
        let parts = Parts::new(settings, deps).await.unwrap();
        let mut tasks = Tasks::default();
        parts.watch(&mut tasks);
        tokio::time::timeout(Duration::from_secs(20), parts.context.stores.wait_until_ready()).await.unwrap();
        (parts, tasks)
    }

    /// Ends with the test.
    pub(crate) async fn end(self) {
        let _ = Api::<Namespace>::all(self.client.clone()).delete(&self.namespace, &DeleteParams::default()).await;
    }
}

/// A ConfigMap of a Tenant.
pub(crate) fn child(tenant: &Tenant, data: Value) -> Child {
    Child {
        at: ChildRef::new(ChildKind::ConfigMap, &tenant.namespace().unwrap(), tenant.name_any()),
        ownership: Ownership::Controller {
            api_version: "keyrealm.dev/v1alpha1",
            kind: "Tenant",
            name: tenant.name_any(),
            uid: tenant.uid().unwrap(),
        },
        labels: BTreeMap::from([(crds::TENANT_LABEL.to_owned(), tenant.name_any())]),
        annotations: BTreeMap::new(),
        body: json!({"data": data}),
    }
}

/// Waits until something is so.
pub(crate) async fn until(what: &str, limit: Duration, mut holds: impl AsyncFnMut() -> bool) {
    let began = Instant::now();
    while !holds().await {
        assert!(began.elapsed() < limit, "not within {limit:?}: {what}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// What stands in for the real controllers: a ConfigMap for each Tenant. A Tenant `busy-*` is written to all the time.
fn toy(tasks: &mut Tasks, context: &Arc<Context>) {
    operator::controller::work::<Tenant, _, _, _>(tasks, context, reconcile);
}

async fn reconcile(tenant: Arc<Tenant>, context: Arc<Context>) -> Result<Action, ApiError> {
    let writer = std::process::id().to_string();
    let busy = tenant.name_any().starts_with("busy-");
    let time = if busy { context.clock.now().millis() } else { 0 };
    let data = if busy { json!({"writer": writer, "time": time.to_string()}) } else { json!({"a": "1"}) };
    context.ensure(&child(&tenant, data)).await?;
    Ok(if busy { Action::requeue(Duration::from_millis(100)) } else { Action::await_change() })
}

/// An operator as a process of its own: this test program, told to be one.
pub(crate) struct Operator {
    pub(crate) process: Process,
    pub(crate) log: PathBuf,
    _folder: tempfile::TempDir,
}

const SETTINGS: &str = "KEYREALM_TEST_OPERATOR";

impl Operator {
    pub(crate) fn start(settings: &Settings, name: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut settings = settings.clone();
        name.clone_into(&mut settings.pod.name);
        settings.runtime_dir = folder.path().join("run");
        let log = folder.path().join("log");
        let process = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "support::the_operator_process", "--ignored", "--nocapture"])
            .env(SETTINGS, serde_json::to_string(&settings).unwrap())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(std::fs::File::create(&log).unwrap())
            .spawn()
            .unwrap();
        Self { process, log, _folder: folder }
    }

    pub(crate) fn id(&self) -> String {
        self.process.id().to_string()
    }

    pub(crate) fn signal(&self, signal: &str) {
        let status = Command::new("kill").args([format!("-{signal}"), self.id()]).status().unwrap();
        assert!(status.success());
    }

    pub(crate) fn text(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    pub(crate) fn has_ended(&mut self) -> Option<std::process::ExitStatus> {
        self.process.try_wait().unwrap()
    }
}

impl Drop for Operator {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
        if std::thread::panicking() {
            eprintln!("--- operator {}\n{}", self.process.id(), self.text());
        }
    }
}

/// Of an operator with the toy the election alone is real.
fn leases(call: &operator::journal::Call) {
    if call.resource == "leases" {
        crate::calls::keep(call);
    }
}

/// No test: what [`Operator::start`] starts.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "the process of an operator, started by other tests"]
async fn the_operator_process() {
    let settings: Settings = serde_json::from_str(&std::env::var(SETTINGS).unwrap()).unwrap();
    keyrealm_telemetry::init(keyrealm_telemetry::Format::Human, "info", std::io::stderr).unwrap();
    let mut terminate = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate()).unwrap();
    let stop = async move {
        terminate.recv().await;
    };
    let ended = operator::run::run(settings, Deps { record: false, told: Some(leases), ..deps() }, stop).await;
    if let Err(error) = &ended {
        eprintln!("operator: {error:#}");
    }
    std::process::exit(if ended.is_ok() { 0 } else { 2 });
}
