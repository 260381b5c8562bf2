//! Valid edits at random, in bursts, while the operator is at work on the earlier ones: it always comes to rest, and no key,
//! client or user is lost, exchanged or given another secret.
//!
//! `KEYREALM_TEST_SEED` is the number that all follows from; it is printed.

mod draw;
mod model;
mod seen;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use keyrealm_crypto::SystemRandom;
use keyrealm_crypto::password::PasswordHash;
use kube::api::{ListParams, Patch, PatchParams, PostParams};
use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use serde_json::{Value, json};

use crate::process::Operator;
use crate::world::{LIMIT, World, is_full};
use model::{Act, Model};
use seen::Seen;

const SEED: u64 = 20_260_101;
/// Until all is at rest after a burst.
const BOUND: Duration = Duration::from_secs(60);

/// The same bursts for the same seed.
fn runner() -> TestRunner {
    let seed =
        std::env::var("KEYREALM_TEST_SEED").map_or(SEED, |text| text.parse().expect("KEYREALM_TEST_SEED: a number"));
    eprintln!("KEYREALM_TEST_SEED={seed}");
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    TestRunner::new_with_rng(Config::default(), TestRng::from_seed(RngAlgorithm::ChaCha, &bytes))
}

async fn perform(world: &World, model: &Model, act: Act) {
    match act {
        Act::Tenant(number) => {
            let tenant = &model.tenants[number];
            world.apply("Tenant", &tenant.name, json!({}), tenant.spec()).await;
        }
        Act::Realm => world.apply("Realm", "main", json!({}), model.realm.clone()).await,
        Act::Rotate(secret, value) => {
            let patch = Patch::Merge(json!({"metadata": {"annotations": {crds::ROTATE: value}}}));
            world.api::<Secret>().patch(&secret, &PatchParams::default(), &patch).await.unwrap();
        }
    }
}

/// What is not at rest yet.
async fn restless(world: &World, model: &Model) -> Option<String> {
    let tenants = model.tenants.iter().map(|tenant| ("Tenant", tenant.name.as_str()));
    for (kind, name) in tenants.clone().chain([("Realm", "main")]) {
        let ready = world.ready(kind, name).await;
        if ready.as_ref().is_none_or(|ready| ready.status != crds::ConditionStatus::True) {
            let object = world.dynamic(kind).get(name).await.unwrap();
            return Some(format!("{kind} {name} is not ready: {:#}", object.data["status"]));
        }
    }
    // What becomes of an entry that was taken out, no condition tells.
    let query = "SELECT d.kind || ' ' || d.name || ': ' || coalesce(o.status || ' ' || o.message, 'not looked at') \
        FROM keyrealm.desired d LEFT JOIN keyrealm.observed o USING (tenant, product, kind, name) \
        WHERE d.deleted_at IS NOT NULL AND coalesce(o.status, '') NOT IN ('orphaned', 'disabled', 'deleted')";
    if let Some(first) = world.texts(query).await.first() {
        return Some(format!("an entry that was taken out: {first}"));
    }
    for (_, name) in tenants {
        if !Seen::of(world, name).await.rests() {
            return Some(format!("{name}: a Secret and the registry differ, or a rotation is not done"));
        }
    }
    None
}

async fn rests(world: &World, model: &Model) -> Result<Duration, String> {
    let began = Instant::now();
    // Others use the machine with all its tests.
    let bound = if is_full() { LIMIT } else { BOUND };
    loop {
        let Some(why) = restless(world, model).await else { return Ok(began.elapsed()) };
        if began.elapsed() > bound {
            return Err(format!("not at rest within {bound:?}: {why}"));
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// What a Realm never changes: the CAs, unseal keys and passwords of roles, and whose data it has.
async fn keepsakes(world: &World) -> BTreeMap<String, Vec<u8>> {
    let mut all = world.secrets().await;
    all.retain(|name, _| !name.contains("-tls/") && !name.contains("-client-"));
    all.insert("deployment".to_owned(), world.deployment_id("main").await.into_bytes());
    all
}

/// The Realm's objects say what its spec says.
async fn check_realm(world: &World, realm: &Value) {
    for part in ["kms", "identity"] {
        let deployment = world.api::<Deployment>().get(&format!("main-{part}")).await.unwrap().spec.unwrap();
        let by_profile = if realm["profile"] == "prod" { 2 } else { 1 };
        let wanted = realm[part]["replicas"].as_i64().unwrap_or(by_profile);
        assert_eq!(deployment.replicas.map(i64::from), Some(wanted), "{part}: {realm}");
        if let Some(image) = realm[part]["image"].as_str() {
            assert_eq!(deployment.template.spec.unwrap().containers[0].image.as_deref(), Some(image));
        }
    }
    let config = world.api::<ConfigMap>().get("main-identity").await.unwrap().data.unwrap();
    let config: Value = serde_json::from_str(&config["config.yml"]).unwrap();
    for (field, default, setting) in [
        ("accessSeconds", 900, "access_seconds"),
        ("codeSeconds", 60, "code_seconds"),
        ("idleSeconds", 1800, "idle_seconds"),
    ] {
        let wanted = realm["tokens"][field].as_i64().unwrap_or(default);
        assert_eq!(config["tokens"][setting].as_i64(), Some(wanted), "{field}: {realm}");
    }
    let policies = world.api::<NetworkPolicy>().list(&ListParams::default()).await.unwrap().items;
    assert_eq!(policies.is_empty(), realm["networkPolicy"]["enabled"] == false, "{realm}");
}

/// Secrets that entries refer to.
async fn sources(world: &World) {
    let hash = || PasswordHash::dummy(&SystemRandom).to_string();
    for (name, data) in [
        ("own", json!({"one": "1".repeat(32), "two": "2".repeat(64)})),
        ("hashes", json!({"one": hash(), "two": hash()})),
    ] {
        let secret: Secret = serde_json::from_value(json!({"metadata": {"name": name}, "stringData": data})).unwrap();
        world.api::<Secret>().create(&PostParams::default(), &secret).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_is_edited_it_comes_to_rest_and_nothing_is_lost() {
    let count = if is_full() { 1000 } else { 100 };
    let (mut runner, mut model) = (runner(), Model::new());
    let world = World::new().await;
    sources(&world).await;
    let mut operator = Operator::start(&world.namespace, None);
    perform(&world, &model, Act::Realm).await;
    for number in 0..model.tenants.len() {
        perform(&world, &model, Act::Tenant(number)).await;
    }
    let first = rests(&world, &model).await.unwrap();
    let kept = keepsakes(&world).await;
    let (began, mut edits, mut slowest) = (Instant::now(), 0, Duration::ZERO);
    eprintln!("{}: ready after {:.1} s", world.namespace, first.as_secs_f64());
    while edits < count {
        let mut done = Vec::new();
        for (tenant, edit) in draw::burst().new_tree(&mut runner).unwrap().current() {
            if let Some(act) = model.apply(tenant, edit.clone()) {
                perform(&world, &model, act).await;
                done.push(format!("tenant-{tenant} {edit:?}"));
            }
        }
        edits += done.len();
        let took = rests(&world, &model).await.unwrap_or_else(|why| panic!("{why}\nafter {done:#?}"));
        eprintln!("{edits} edits, the last {} at rest after {:.1} s", done.len(), took.as_secs_f64());
        slowest = slowest.max(took);
        for tenant in &mut model.tenants {
            let seen = Seen::of(&world, &tenant.name).await;
            seen.check(tenant).unwrap_or_else(|why| panic!("{} after {done:#?}: {why}", tenant.name));
        }
        check_realm(&world, &model.realm).await;
        assert_eq!(keepsakes(&world).await, kept, "what cannot be made again is another one");
        assert!(operator.has_ended().is_none(), "it ended: {}", operator.text());
    }
    let seconds = began.elapsed().as_secs_f64();
    eprintln!("{edits} edits in {seconds:.1} s; at rest {:.1} s after a burst at most", slowest.as_secs_f64());
    world.end().await;
}
