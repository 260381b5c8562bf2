//! DemoEnvironments on a real API server, whose controllers collect what has lost its owner. The test plays the controllers of
//! Realms and Tenants, as far as their status goes.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use crds::{ConditionStatus, DemoEnvironment, READY, Realm, Tenant};
use k8s_openapi::api::core::v1::Secret;
use keyrealm_http::Tasks;
use keyrealm_registry::seed::DemoCredentials;
use keyrealm_testkit::TestClock;
use kube::ResourceExt;
use kube::api::{Api, DeleteParams, ListParams, Patch, PatchParams, PostParams};
use operator::report::Report;
use operator::run::{Deps, Parts};
use serde_json::{Value, json};

use crate::support::{Place, deps, until};

const SOON: Duration = Duration::from_secs(15);

/// An operator with this controller alone.
struct Run {
    place: Place,
    parts: Parts,
    clock: TestClock,
    _tasks: Tasks,
}

impl Run {
    async fn new() -> Self {
        let place = Place::new().await;
        let mut settings = place.settings();
        settings.lease.enabled = false;
        let clock = TestClock::default();
        let deps = Deps { clock: Arc::new(clock.clone()), told: Some(crate::calls::keep), ..deps() };
        let parts = Parts::new(settings, &deps).await.unwrap();
        let mut tasks = Tasks::default();
        parts.watch(&mut tasks);
        tokio::time::timeout(SOON, parts.context.stores.wait_until_ready()).await.unwrap();
        operator::controller::work(&mut tasks, &parts.context, operator::demo_environment::reconcile);
        Self { place, parts, clock, _tasks: tasks }
    }

    fn api<K>(&self) -> Api<K>
    where
        K: kube::Resource<DynamicType = (), Scope = k8s_openapi::NamespaceResourceScope>,
    {
        Api::namespaced(self.place.client.clone(), &self.place.namespace)
    }

    async fn create(&self, spec: Value) {
        let demo: DemoEnvironment = serde_json::from_value(json!({
            "apiVersion": "keyrealm.dev/v1alpha1", "kind": "DemoEnvironment", "metadata": {"name": "shop"}, "spec": spec,
        }))
        .unwrap();
        self.api().create(&PostParams::default(), &demo).await.unwrap();
    }

    async fn patch(&self, spec: Value) {
        let patch = Patch::Merge(json!({"spec": spec}));
        self.api::<DemoEnvironment>().patch("shop", &PatchParams::default(), &patch).await.unwrap();
    }

    async fn demo(&self) -> Option<DemoEnvironment> {
        self.api().get_opt("shop").await.unwrap()
    }

    /// Name and UID of the Tenants.
    async fn tenants(&self) -> BTreeMap<String, String> {
        let listed = self.api::<Tenant>().list(&ListParams::default()).await.unwrap();
        listed.into_iter().map(|tenant| (tenant.name_any(), tenant.uid().unwrap())).collect()
    }

    async fn credentials(&self) -> Option<DemoCredentials> {
        let secret: Secret = self.api().get_opt("shop-demo-credentials").await.unwrap()?;
        Some(serde_json::from_slice(&secret.data.unwrap().get("credentials.json").unwrap().0).unwrap())
    }

    async fn say<K>(&self, name: &str, report: &Report)
    where
        K: kube::Resource<DynamicType = (), Scope = k8s_openapi::NamespaceResourceScope>,
        K: Clone + std::fmt::Debug + serde::de::DeserializeOwned,
    {
        let generation = self.api::<K>().get(name).await.unwrap().meta().generation.unwrap();
        let conditions = report.conditions(generation, &[], "2026-01-01T00:00:00Z");
        let patch = Patch::Merge(json!({"status": {"conditions": conditions}}));
        self.api::<K>().patch_status(name, &PatchParams::default(), &patch).await.unwrap();
    }

    /// All that is there becomes ready, and the DemoEnvironment with it.
    async fn all_ready(&self, count: usize) {
        until("the tenants are made", SOON, async || self.tenants().await.len() == count).await;
        until("the realm is made", SOON, async || self.api::<Realm>().get_opt("shop").await.unwrap().is_some()).await;
        self.say::<Realm>("shop", &Report::ready("")).await;
        for name in self.tenants().await.keys() {
            self.say::<Tenant>(name, &Report::ready("")).await;
        }
        self.reads("Ready", "ready").await;
    }

    /// The Ready condition comes to this reason, and a message with this in it.
    async fn reads(&self, reason: &str, message: &str) {
        let what = format!("{reason}: {message}");
        until(&what, SOON, async || {
            let Some(demo) = self.demo().await else { return false };
            let conditions = demo.status.unwrap_or_default().conditions;
            conditions.iter().any(|one| {
                one.kind == READY
                    && one.observed_generation == demo.metadata.generation.unwrap()
                    && one.reason == reason
                    && one.message.contains(message)
                    && (one.status == ConditionStatus::True) == (reason == "Ready")
            })
        })
        .await;
    }
}

/// What it expands into is taken by the rules of the definitions, and at rest nothing is asked and nothing written.
#[tokio::test(flavor = "multi_thread")]
async fn it_becomes_a_realm_and_tenants_and_then_rests() {
    let run = Run::new().await;
    run.create(json!({"tenants": 3, "ttl": "8h"})).await;
    run.all_ready(3).await;
    let status = run.demo().await.unwrap().status.unwrap();
    let endpoints = status.endpoints.unwrap();
    assert_eq!(
        (endpoints.issuer.as_str(), endpoints.kms_service.as_str()),
        ("https://id.shop.localhost:8082", "shop-kms")
    );
    assert_eq!(status.credentials_secret.as_deref(), Some("shop-demo-credentials"));
    assert!(status.expires.is_some());
    let credentials = run.credentials().await.unwrap();
    assert!(credentials.missing().is_empty() && !credentials.password("demo-user-3").is_empty());
    tokio::time::sleep(Duration::from_secs(1)).await;
    run.parts.journal.take();
    tokio::time::sleep(Duration::from_secs(7)).await;
    let calls: Vec<_> = run.parts.journal.take().into_iter().filter(|call| call.verb != "watch").collect();
    assert!(calls.is_empty(), "{calls:?}");

    // Its parts speak through it.
    run.say::<Tenant>("shop-2", &Report::stalled("SlugTaken", "another has it")).await;
    run.reads("SlugTaken", "another has it").await;
    // Somebody deletes and edits what is made.
    run.api::<Realm>().delete("shop", &DeleteParams::default()).await.unwrap();
    let edit = Patch::Merge(json!({"spec": {"displayName": "Mine"}}));
    run.api::<Tenant>().patch("shop-1", &PatchParams::default(), &edit).await.unwrap();
    until("both are put right", SOON, async || {
        let name = run.api::<Tenant>().get("shop-1").await.unwrap().spec.display_name;
        run.api::<Realm>().get_opt("shop").await.unwrap().is_some() && name.as_deref() == Some("Demo One")
    })
    .await;
    run.place.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reset_makes_others_and_the_number_may_change() {
    let run = Run::new().await;
    run.create(json!({})).await;
    run.all_ready(2).await;
    let (tenants, before) = (run.tenants().await, run.credentials().await.unwrap());
    let realm = run.api::<Realm>().get("shop").await.unwrap().uid();
    // One of them takes its time.
    let hold = |finalizers: Value| Patch::Merge(json!({"metadata": {"finalizers": finalizers}}));
    run.api::<Tenant>().patch("shop-2", &PatchParams::default(), &hold(json!(["test/held"]))).await.unwrap();
    run.patch(json!({"resetToken": "again"})).await;
    run.reads("Resetting", "shop-2 is being deleted").await;
    assert!(run.credentials().await.unwrap() == before, "the passwords stay as long as a Tenant does");
    assert_eq!(run.demo().await.unwrap().status.unwrap().reset_token, None);
    run.api::<Tenant>().patch("shop-2", &PatchParams::default(), &hold(Value::Null)).await.unwrap();
    until("there are new ones", SOON, async || {
        let now = run.tenants().await;
        now.len() == 2 && now.iter().all(|(name, uid)| tenants.get(name) != Some(uid))
    })
    .await;
    run.all_ready(2).await;
    assert_eq!(run.demo().await.unwrap().status.unwrap().reset_token.as_deref(), Some("again"));
    let after = run.credentials().await.unwrap();
    assert!(after.password("demo-user") != before.password("demo-user") && after.missing().is_empty());
    assert_eq!(run.api::<Realm>().get("shop").await.unwrap().uid(), realm);

    run.patch(json!({"tenants": 4})).await;
    run.all_ready(4).await;
    let grown = run.credentials().await.unwrap();
    assert!(grown.password("demo-user") == after.password("demo-user") && !grown.password("demo-user-4").is_empty());
    run.patch(json!({"tenants": 1})).await;
    run.all_ready(1).await;
    let secret: Secret = run.api().get("shop-demo-credentials").await.unwrap();
    let keys: Vec<String> = secret.data.unwrap().into_keys().collect();
    assert!(keys.contains(&"password-demo-user".to_owned()) && !keys.iter().any(|key| key.contains("-2")), "{keys:?}");
    run.place.end().await;
}

/// With it goes all that was made for it, and nothing of others.
#[tokio::test(flavor = "multi_thread")]
async fn it_ends_by_itself_and_leaves_nothing() {
    let run = Run::new().await;
    run.create(json!({"ttl": "1h", "tenants": 1})).await;
    run.all_ready(1).await;
    run.clock.advance(Duration::from_mins(62));
    // A clock that jumps wakes nobody; whatever happens next does.
    run.say::<Tenant>("shop-1", &Report::reconciling("EntriesPending", "0/9")).await;
    until("it is gone", SOON, async || run.demo().await.is_none()).await;
    until("its parts are gone", Duration::from_secs(60), async || {
        run.tenants().await.is_empty()
            && run.credentials().await.is_none()
            && run.api::<Realm>().get_opt("shop").await.unwrap().is_none()
    })
    .await;
    run.place.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_others_have_is_named_and_stays() {
    let run = Run::new().await;
    // The operator sees no Secret without its label: it learns of this one by the answer to its own.
    let theirs: Secret = serde_json::from_value(json!({
        "metadata": {"name": "shop-demo-credentials"}, "stringData": {"theirs": "1"},
    }))
    .unwrap();
    run.api().create(&PostParams::default(), &theirs).await.unwrap();
    run.create(json!({})).await;
    run.reads("ForeignObject", "shop-demo-credentials").await;
    assert!(run.tenants().await.is_empty() && run.api::<Realm>().get_opt("shop").await.unwrap().is_none());
    let kept: Secret = run.api().get("shop-demo-credentials").await.unwrap();
    assert_eq!(kept.data.unwrap().len(), 1);
    run.api::<Secret>().delete("shop-demo-credentials", &DeleteParams::default()).await.unwrap();
    let realm: Realm = serde_json::from_value(json!({
        "apiVersion": "keyrealm.dev/v1alpha1", "kind": "Realm", "metadata": {"name": "shop"},
        "spec": {"hostnames": {"kms": "kms.example", "identity": "id.example"}, "database": {"managed": {}}},
    }))
    .unwrap();
    run.api().create(&PostParams::default(), &realm).await.unwrap();
    run.patch(json!({"tenants": 3})).await;
    run.reads("ForeignObject", "Realm ").await;
    assert!(run.tenants().await.is_empty() && run.credentials().await.is_none());
    run.place.end().await;
}
