//! What the operator needs goes away and comes back: it says so, does not end, and goes on by itself.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use keyrealm_testkit::{On, PostgresServer, SilentProxy, TestDatabase};
use serde_json::json;

use crate::process::Operator;
use crate::world::{LIMIT, World, kubeconfig, until};

/// Until all is well once it could be.
const RECOVERY: Duration = Duration::from_secs(10);

async fn ready(world: &World) -> Operator {
    let operator = Operator::start(&world.namespace, None);
    let realm = json!({
        "hostnames": {"kms": "kms.acme.test", "identity": "id.acme.test"},
        "database": {"external": {"secretRef": {"name": "postgres"}}},
    });
    world.apply("Realm", "main", json!({}), realm).await;
    for name in ["one", "two"] {
        world.apply("Tenant", name, json!({}), json!({"realmRef": {"name": "main"}})).await;
        world.stands("Tenant", name, "Ready").await;
    }
    operator
}

async fn is_ready(world: &World) -> bool {
    for (kind, name) in [("Realm", "main"), ("Tenant", "one"), ("Tenant", "two")] {
        if world.ready(kind, name).await.is_none_or(|ready| ready.reason != "Ready") {
            return false;
        }
    }
    true
}

#[tokio::test(flavor = "multi_thread")]
async fn a_silent_database_is_named_and_ten_seconds_after_it_speaks_all_is_ready() {
    let database = TestDatabase::new(On::Postgres).await;
    let proxy = SilentProxy::start(database.server().port).await;
    let world = World::on(database, Some(proxy.port)).await;
    let mut operator = ready(&world).await;
    for pause in [0, 20] {
        proxy.fall_silent();
        world.stands("Realm", "main", "DatabaseUnreachable").await;
        world.stands("Tenant", "one", "DatabaseUnreachable").await;
        tokio::time::sleep(Duration::from_secs(pause)).await;
        proxy.speak_again();
        let began = Instant::now();
        world.stands("Tenant", "one", "Ready").await;
        until("all is ready", RECOVERY, async || is_ready(&world).await).await;
        eprintln!("ready {:.1} s after the silence", began.elapsed().as_secs_f64());
        assert!(began.elapsed() < RECOVERY * 2, "{:?}", began.elapsed());
    }
    assert!(operator.has_ended().is_none(), "{}", operator.text());
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_is_gone_and_started_again_is_found_again() {
    let server = PostgresServer::start().unwrap();
    let world = World::on(TestDatabase::on_server(server.clone()).await, None).await;
    let mut operator = ready(&world).await;
    server.stop();
    world.stands("Realm", "main", "DatabaseUnreachable").await;
    server.start_again().unwrap();
    let began = Instant::now();
    until("all is ready", RECOVERY * 2, async || is_ready(&world).await).await;
    eprintln!("ready {:.1} s after the start", began.elapsed().as_secs_f64());
    assert!(operator.has_ended().is_none(), "{}", operator.text());
    world.end().await;
    drop(operator);
    let folder = server.folder.clone();
    server.stop();
    let _ = fs::remove_dir_all(folder);
}

/// The API server of the control plane that the tests run on.
struct ApiServer {
    pid: String,
    arguments: Vec<String>,
    environment: Vec<(String, String)>,
}

impl ApiServer {
    fn find() -> Self {
        let mark = format!("KEYREALM_CLUSTER={}", kubeconfig().parent().unwrap().display());
        let texts = |file: PathBuf| -> Vec<String> {
            let bytes = fs::read(file).unwrap_or_default();
            let texts = bytes.split(|byte| *byte == 0).map(|text| String::from_utf8_lossy(text).into_owned());
            texts.filter(|text| !text.is_empty()).collect()
        };
        for entry in fs::read_dir("/proc").unwrap().flatten() {
            let environment = texts(entry.path().join("environ"));
            if environment.contains(&mark)
                && environment.contains(&"KEYREALM_CLUSTER_PROGRAM=kube-apiserver".to_owned())
            {
                let environment = environment.iter().filter_map(|text| text.split_once('='));
                return Self {
                    pid: entry.file_name().into_string().unwrap(),
                    arguments: texts(entry.path().join("cmdline")),
                    environment: environment.map(|(name, value)| (name.to_owned(), value.to_owned())).collect(),
                };
            }
        }
        panic!("no kube-apiserver runs with {mark}: this needs a control plane of `cargo xtask cluster`");
    }

    fn kill(&self) {
        assert!(Command::new("kill").args(["-9", &self.pid]).status().unwrap().success());
    }

    /// As it was started, and it outlives this test.
    #[allow(clippy::zombie_processes, reason = "whoever started the control plane ends it")]
    fn start_again(&self) {
        use std::os::unix::process::CommandExt;
        let log = kubeconfig().parent().unwrap().join("logs/kube-apiserver.log");
        let log = fs::OpenOptions::new().create(true).append(true).open(log).unwrap();
        let mut command = Command::new(&self.arguments[0]);
        command.args(&self.arguments[1..]).env_clear().envs(self.environment.clone()).current_dir("/");
        command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log).process_group(0);
        command.spawn().unwrap();
    }
}

/// Alone: nobody else can use the control plane meanwhile.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "restarts the API server: run it alone"]
async fn an_api_server_that_is_killed_and_started_again_is_found_again() {
    let world = World::new().await;
    let mut operator = ready(&world).await;
    let server = ApiServer::find();
    server.kill();
    tokio::time::sleep(Duration::from_secs(5)).await;
    server.start_again();
    until("it answers", LIMIT, async || world.ready("Realm", "main").await.is_some()).await;
    let spec = json!({"realmRef": {"name": "main"}});
    until("it takes a Tenant", LIMIT, async || {
        let object = json!({
            "apiVersion": "keyrealm.dev/v1alpha1", "kind": "Tenant", "metadata": {"name": "three"}, "spec": spec,
        });
        let parameters = kube::api::PatchParams::apply("test").force();
        world.dynamic("Tenant").patch("three", &parameters, &kube::api::Patch::Apply(object)).await.is_ok()
    })
    .await;
    let began = Instant::now();
    world.stands("Tenant", "three", "Ready").await;
    eprintln!("a new Tenant is ready {:.1} s after it was taken", began.elapsed().as_secs_f64());
    assert!(is_ready(&world).await);
    assert!(operator.has_ended().is_none(), "{}", operator.text());
    world.end().await;
}
