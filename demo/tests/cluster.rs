//! The demo against "a cluster": a small API server of this test whose pods are the servers of another demo. What a real
//! API server and kubelet do is proved on the bed; here are the ways that go wrong.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "helpers of tests fail the test")]

mod api_server;
mod support;

use std::collections::HashMap;
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use keyrealm_testkit::TestTls;
use serde_json::{Value, json};

use self::api_server::State;
use self::support::{Servers, failed};

fn service(name: &str, port: u16) -> Value {
    let labels = json!({"app.kubernetes.io/name": name});
    json!({"metadata": {"name": format!("demo-{name}"), "labels": labels},
        "spec": {"selector": labels, "ports": [{"port": port, "targetPort": "public"}]}})
}

/// `<product>-<letter>`.
fn pod(name: &str, ready: bool) -> Value {
    let labels = json!({"app.kubernetes.io/name": name.split('-').next()});
    let ports = json!([{"name": "public", "containerPort": 7000}, {"name": "admin", "containerPort": 7001}]);
    let (status, reason) = if ready { ("True", Value::Null) } else { ("False", json!("ContainersNotReady")) };
    json!({"metadata": {"name": name, "labels": labels}, "spec": {"containers": [{"name": "c", "ports": ports}]},
        "status": {"phase": "Running", "conditions": [{"type": "Ready", "status": status, "reason": reason}]}})
}

/// A run of the demo against the cluster.
struct Run {
    tls: TestTls,
    servers: Servers,
    kubeconfig: PathBuf,
    state: Arc<State>,
}

impl Run {
    /// The pods: each product's, with whether they are ready; the ports behind them are alive in `alive` alone.
    async fn new(pods: &[(&str, bool)], alive: &[&str]) -> Self {
        let (tls, servers) = (TestTls::new(), Servers::start());
        let (identity, kms) = (servers.url("issuer").port().unwrap(), servers.url("kms").port().unwrap());
        let mut ports = HashMap::new();
        for (name, _) in pods {
            let [identity_admin, kms_admin] = servers.admin();
            let behind = if name.starts_with("kms") { [kms, kms_admin] } else { [identity, identity_admin] };
            for (port, behind) in [7000, 7001].into_iter().zip(behind) {
                ports.insert(((*name).to_owned(), port), alive.contains(name).then_some(behind));
            }
        }
        let items = pods.iter().map(|(name, ready)| pod(name, *ready));
        let lists = HashMap::from([
            ("/api/v1/namespaces/demo/services".to_owned(), vec![service("identity", identity), service("kms", kms)]),
            ("/api/v1/namespaces/demo/pods".to_owned(), items.collect()),
        ]);
        let state = Arc::new(State { lists, ports, ..State::default() });
        let kubeconfig = api_server::start(&tls, Arc::clone(&state)).await;
        let kubeconfig = tls.private_file("kubeconfig", kubeconfig.to_string().as_bytes());
        Self { tls, servers, kubeconfig, state }
    }

    async fn demo(&self, more: &[&str]) -> (Option<i32>, Value) {
        let urls = [("--kms-url", self.servers.url("kms")), ("--identity-url", self.servers.url("issuer"))];
        let files = [("--ca", "ca.pem"), ("--credentials", "credentials.json")];
        let mut arguments: Vec<String> = more.iter().map(|argument| (*argument).to_owned()).collect();
        arguments.extend(urls.into_iter().flat_map(|(flag, url)| [flag.to_owned(), url.to_string()]));
        let path = |file| self.servers.folder.path().join(file).to_str().unwrap().to_owned();
        arguments.extend(files.into_iter().flat_map(|(flag, file)| [flag.to_owned(), path(file)]));
        self.told(&arguments.iter().map(String::as_str).collect::<Vec<_>>()).await
    }

    /// Without a word on where the servers are.
    async fn told(&self, arguments: &[&str]) -> (Option<i32>, Value) {
        let mut command = tokio::process::Command::new(env!("CARGO_BIN_EXE_demo"));
        command.args(["all", "--target", "kubernetes", "--json", "--kubeconfig"]).arg(&self.kubeconfig);
        let output = command.args(arguments).stdin(Stdio::null()).output().await.unwrap();
        (output.status.code(), serde_json::from_slice(&output.stdout).unwrap())
    }

    fn put(&self, path: &str, object: Value) {
        self.state.objects.lock().unwrap().insert(path.to_owned(), object);
    }

    /// DemoEnvironments with these names and the answer of their Ready condition.
    fn environments(&self, demos: &[(&str, &str)]) {
        let items: Vec<Value> = demos.iter().map(|(name, ready)| self.environment(name, ready)).collect();
        let list = json!({"apiVersion": "keyrealm.dev/v1alpha1", "kind": "DemoEnvironmentList", "metadata": {}, "items": items});
        self.put("/apis/keyrealm.dev/v1alpha1/namespaces/demo/demoenvironments", list);
    }

    fn environment(&self, name: &str, ready: &str) -> Value {
        let condition = json!({"type": "Ready", "status": ready, "observedGeneration": 1, "reason": "RolloutInProgress",
            "message": "Realm demo/shop: pods are coming", "lastTransitionTime": "2026-01-01T00:00:00Z"});
        let url = |name| self.servers.url(name).to_string().trim_end_matches('/').to_owned();
        let endpoints = json!({"issuer": url("issuer"), "kms": url("kms"), "trustBundle": "shop-trust-bundle",
            "identityService": "shop-identity", "kmsService": "shop-kms"});
        json!({"apiVersion": "keyrealm.dev/v1alpha1", "kind": "DemoEnvironment",
            "metadata": {"name": name, "namespace": "demo", "generation": 1}, "spec": {},
            "status": {"conditions": [condition], "endpoints": endpoints, "credentialsSecret": "shop-demo-credentials"}})
    }

    /// What a DemoEnvironment names.
    fn parts(&self) {
        let read = |file| std::fs::read_to_string(self.servers.folder.path().join(file)).unwrap();
        let core = "/api/v1/namespaces/demo";
        self.put(&format!("{core}/configmaps/shop-trust-bundle"), json!({"data": {"ca.crt": read("ca.pem")}}));
        let credentials = STANDARD.encode(read("credentials.json"));
        self.put(&format!("{core}/secrets/shop-demo-credentials"), json!({"data": {"credentials.json": credentials}}));
        for (product, url) in [("identity", "issuer"), ("kms", "kms")] {
            let mut service = service(product, self.servers.url(url).port().unwrap());
            service["metadata"]["name"] = json!(format!("shop-{product}"));
            self.put(&format!("{core}/services/shop-{product}"), service);
        }
    }
}

/// A pod that does not take the port is left for the next one, and one that is not ready is not asked.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_step_passes_through_port_forwards() {
    let pods = [("identity-a", true), ("identity-b", false), ("kms-a", true), ("kms-b", true)];
    let run = Run::new(&pods, &["identity-a", "identity-b", "kms-b"]).await;
    let (code, document) = run.demo(&["--namespace", "demo"]).await;
    assert_eq!(code, Some(0), "{document:#}");
    assert_eq!(document["passed_steps"], demo::STEPS.len());
    let opened = run.state.opened.lock().unwrap().clone();
    for (pod, used) in [("identity-a", true), ("identity-b", false), ("kms-a", true), ("kms-b", true)] {
        assert_eq!(opened.iter().any(|name| name == pod), used, "{pod} in {opened:?}");
    }
    // The card tells a shell the same way.
    let card = &document["card"];
    let meanwhile = card["run_meanwhile"][0].as_str().unwrap();
    assert!(meanwhile.contains("--namespace demo port-forward service/demo-identity"), "{meanwhile}");
    let command = card["commands"][0]["command"].as_str().unwrap();
    assert!(command.contains("--connect-to localhost:"), "{command}");
}

/// What the forward says is said with the step that it broke.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_breaks_a_forward_is_told_with_the_step() {
    let run = Run::new(&[("identity-a", true), ("kms-a", true), ("kms-b", false)], &["identity-a"]).await;
    let quick = ["--namespace", "demo", "--health-timeout", "1", "--retry", "0"];
    let (code, document) = run.demo(&quick).await;
    assert_eq!(code, Some(1));
    let failed = failed(&document);
    assert!(failed.contains(&"servers.health") && failed.contains(&"kms.entities"), "{failed:?}");
    assert!(!failed.contains(&"identity.token.exchange"), "{document:#}");
    let health = document["errors"][0].to_string();
    assert!(health.contains("Service demo-kms") && health.contains("kms-a: port 7001"), "{health}");
    assert!(health.contains("connection refused"), "{health}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_product_without_ready_pods_or_service_is_told() {
    let run = Run::new(&[("identity-a", true), ("kms-a", false)], &["identity-a"]).await;
    let (code, document) = run.demo(&["--namespace", "demo", "--health-timeout", "1", "--retry", "0"]).await;
    assert_eq!(code, Some(1));
    let health = document["errors"][0].to_string();
    assert!(
        health.contains("no pod of Service demo/demo-kms is ready: kms-a is Running (ContainersNotReady)"),
        "{health}"
    );

    // This user may do nothing in the other namespace: refused before the first step.
    let (code, document) = run.demo(&["--namespace", "other"]).await;
    assert_eq!(code, Some(2));
    let told = document["errors"][0].to_string();
    assert!(told.contains("cannot list the Services of namespace other at https://localhost:"), "{told}");
    assert!(told.contains("cannot do this"), "{told}");
    drop(run.tls);
}

/// The one that becomes ready while it is waited for says all that the flags say otherwise.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_demo_environment_says_where_the_servers_are() {
    let run = Run::new(&[("identity-a", true), ("kms-a", true)], &["identity-a", "kms-a"]).await;
    run.parts();
    run.environments(&[("shop", "False"), ("other", "True")]);
    let ready = async {
        tokio::time::sleep(std::time::Duration::from_secs(2)).await;
        run.environments(&[("shop", "True"), ("other", "True")]);
    };
    let flags = ["--namespace", "demo", "--demo-environment", "shop"];
    let ((code, document), ()) = tokio::join!(run.told(&flags), ready);
    assert_eq!(code, Some(0), "{document:#}");
    assert_eq!(document["passed_steps"], demo::STEPS.len());
    let card = &document["card"];
    assert_eq!(card["credentials_secret"], "Secret demo/shop-demo-credentials");
    let once = card["run_once"][0].as_str().unwrap();
    assert!(once.contains("get configmap shop-trust-bundle") && once.ends_with("> shop-trust-bundle.pem"), "{once}");
    let command = card["commands"][0]["command"].as_str().unwrap();
    assert!(command.contains("--cacert 'shop-trust-bundle.pem'"), "{command}");
    assert!(card["run_meanwhile"].to_string().contains("port-forward service/shop-kms"), "{card:#}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_wrong_with_a_demo_environment_is_told() {
    let run = Run::new(&[("identity-a", true), ("kms-a", true)], &[]).await;
    let told = async |namespace: &str| {
        let (code, document) = run.told(&["--namespace", namespace, "--health-timeout", "1"]).await;
        assert_eq!(code, Some(2), "{document:#}");
        document["errors"][0].to_string()
    };
    let text = told("other").await;
    assert!(
        text.contains("cannot list the DemoEnvironments of namespace other") && text.contains("auth can-i"),
        "{text}"
    );
    run.environments(&[]);
    let text = told("demo").await;
    assert!(text.contains("namespace demo has no DemoEnvironment") && text.contains("--kms-url"), "{text}");
    run.environments(&[("a", "True"), ("b", "True")]);
    let text = told("demo").await;
    assert!(text.contains("a, b; name one with --demo-environment"), "{text}");
    run.environments(&[("shop", "False")]);
    let text = told("demo").await;
    let why = "DemoEnvironment demo/shop is not ready after 1 s: RolloutInProgress: Realm demo/shop: pods are coming";
    assert!(text.contains(why) && text.contains("describe demoenvironment shop"), "{text}");
    // Each part is named when it cannot be read.
    run.environments(&[("shop", "True")]);
    let text = told("demo").await;
    assert!(text.contains("cannot read configmap demo/shop-trust-bundle"), "{text}");
    run.parts();
    run.put("/api/v1/namespaces/demo/secrets/shop-demo-credentials", json!({"data": {}}));
    let text = told("demo").await;
    assert!(text.contains("Secret demo/shop-demo-credentials has no credentials.json"), "{text}");
}
