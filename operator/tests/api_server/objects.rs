//! What is made, kept and left alone.

use std::time::Duration;

use crds::Tenant;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::ResourceExt;
use kube::api::{Api, ApiResource, DeleteParams, DynamicObject, GroupVersionKind, Patch, PatchParams, PostParams};
use operator::child::{ChildKind, ChildRef};
use operator::error::ApiError;
use operator::executor::Ensured;
use operator::report::{Report, State};
use serde_json::json;

use crate::support::{Place, child, until};

fn config_map(value: serde_json::Value) -> ConfigMap {
    serde_json::from_value(value).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_foreign_object_is_named_and_not_overwritten() {
    let place = Place::new().await;
    let tenant = place.tenant("one").await;
    let theirs = config_map(
        json!({"metadata": {"name": "one", "labels": {"app.kubernetes.io/managed-by": "them"}}, "data": {"theirs": "1"}}),
    );
    place.config_maps().create(&PostParams::default(), &theirs).await.unwrap();
    let (parts, _tasks) = place.parts().await;
    for _ in 0..2 {
        let error = parts.context.ensure(&child(&tenant, json!({"ours": "1"}))).await.unwrap_err();
        let ApiError::Foreign { at, owner } = &error else { panic!("{error}") };
        assert!(at.contains("ConfigMap") && at.contains("/one") && owner.contains("them"), "{error}");
        assert_eq!((error.report().state, error.report().reason), (State::Stalled, "ForeignObject"));
        let once = parts.context.create_once(&child(&tenant, json!({"ours": "1"}))).await.unwrap_err();
        assert!(matches!(once, ApiError::Foreign { .. }), "{once}");
    }
    // One that carries our label and another owner.
    let other = place.tenant("two").await;
    let mut stranger = child(&other, json!({"a": "1"}));
    stranger.at = ChildRef::new(ChildKind::ConfigMap, &place.namespace, "shared");
    assert!(matches!(parts.context.ensure(&stranger).await.unwrap(), Ensured::Created(_)));
    let mut mine = child(&tenant, json!({"a": "2"}));
    mine.at = stranger.at.clone();
    assert!(matches!(parts.context.ensure(&mine).await.unwrap_err(), ApiError::Foreign { .. }));
    assert_eq!(place.data("one").await.unwrap().get("theirs").map(String::as_str), Some("1"));
    assert_eq!(place.data("one").await.unwrap().len(), 1);
    assert_eq!(place.data("shared").await.unwrap().get("a").map(String::as_str), Some("1"));
    place.end().await;
}

fn body(kind: ChildKind) -> serde_json::Value {
    let labels = json!({"matchLabels": {"a": "1"}});
    let template = json!({"metadata": {"labels": {"a": "1"}}, "spec": {"containers": [{"name": "a", "image": "a"}]}});
    match kind {
        ChildKind::Secret | ChildKind::ConfigMap | ChildKind::ServiceAccount => json!({}),
        ChildKind::Service => json!({"spec": {"ports": [{"port": 1}]}}),
        ChildKind::Deployment => json!({"spec": {"replicas": 0, "selector": labels, "template": template}}),
        ChildKind::StatefulSet => {
            json!({"spec": {"replicas": 0, "serviceName": "a", "selector": labels, "template": template}})
        }
        ChildKind::PodDisruptionBudget => json!({"spec": {"maxUnavailable": 1, "selector": labels}}),
        ChildKind::NetworkPolicy => json!({"spec": {"podSelector": {}}}),
        ChildKind::Realm => json!({"spec": {"hostnames": {"kms": "kms.acme.test", "identity": "id.acme.test"},
            "database": {"external": {"secretRef": {"name": "postgres"}}}}}),
        ChildKind::Tenant => json!({"spec": {"realmRef": {"name": "realm"}}}),
    }
}

/// The executor does the same with each kind: makes it, keeps it, and looks whose it is when its name is taken.
#[tokio::test(flavor = "multi_thread")]
async fn every_kind_of_child_is_made_kept_and_not_taken_from_others() {
    let place = Place::new().await;
    let tenant = place.tenant("maker").await;
    let (parts, _tasks) = place.real_parts().await;
    for kind in ChildKind::ALL {
        let mut wanted = child(&tenant, json!({}));
        wanted.body = body(kind);
        wanted.at = ChildRef::new(kind, &place.namespace, "theirs");
        let (api_version, name, plural) = kind.api();
        let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
        let resource = ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk(group, version, name), plural);
        let api = Api::<DynamicObject>::namespaced_with(place.client.clone(), &place.namespace, &resource);
        let mut theirs = DynamicObject::new("theirs", &resource);
        theirs.data = body(kind);
        api.create(&PostParams::default(), &theirs).await.unwrap();
        let error = parts.context.ensure(&wanted).await.unwrap_err();
        assert!(matches!(&error, ApiError::Foreign { at, .. } if at.contains(name)), "{kind:?}: {error}");

        wanted.at = ChildRef::new(kind, &place.namespace, "ours");
        assert!(matches!(parts.context.ensure(&wanted).await.unwrap(), Ensured::Created(_)), "{kind:?}");
        wanted.annotations.insert("test".to_owned(), "1".to_owned());
        assert!(matches!(parts.context.ensure(&wanted).await.unwrap(), Ensured::Applied(_)), "{kind:?}");
        assert_eq!(api.get("ours").await.unwrap().annotations()["test"], "1", "{kind:?}");
        assert!(matches!(parts.context.ensure(&wanted).await.unwrap(), Ensured::Kept), "{kind:?}");
    }
    place.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn drift_is_restored_and_a_second_pass_writes_nothing() {
    let place = Place::new().await;
    let tenant = place.tenant("one").await;
    let (parts, _tasks) = place.parts().await;
    let wanted = child(&tenant, json!({"a": "1", "b": "2"}));
    assert!(matches!(parts.context.ensure(&wanted).await.unwrap(), Ensured::Created(_)));
    parts.journal.take();
    for _ in 0..5 {
        assert_eq!(parts.context.ensure(&wanted).await.unwrap(), Ensured::Kept);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let calls: Vec<_> = parts.journal.take().into_iter().filter(|call| call.verb != "watch").collect();
    assert!(calls.is_empty(), "{calls:?}");
    assert!(parts.context.metrics.render().contains("api_writes_skipped_total 5"));
    // Somebody edits it.
    let edit = Patch::Merge(json!({"data": {"a": "9"}}));
    place.config_maps().patch("one", &PatchParams::default(), &edit).await.unwrap();
    until("the edit is seen and undone", Duration::from_secs(10), async || {
        parts.context.ensure(&wanted).await.unwrap();
        place.data("one").await.unwrap().get("a").map(String::as_str) == Some("1")
    })
    .await;
    assert_eq!(parts.context.ensure(&wanted).await.unwrap(), Ensured::Kept);
    // Somebody deletes it.
    place.config_maps().delete("one", &DeleteParams::default()).await.unwrap();
    until("it is made anew", Duration::from_secs(10), async || {
        matches!(parts.context.ensure(&wanted).await.unwrap(), Ensured::Created(_))
    })
    .await;
    assert_eq!(place.data("one").await.unwrap().len(), 2);
    place.end().await;
}

/// Made by POST, changed by server-side apply: what is no longer wanted must go, what others added must stay.
#[tokio::test(flavor = "multi_thread")]
async fn a_field_that_is_no_longer_wanted_goes_and_those_of_others_stay() {
    let place = Place::new().await;
    let tenant = place.tenant("one").await;
    let (parts, _tasks) = place.parts().await;
    parts.context.ensure(&child(&tenant, json!({"a": "1", "b": "2"}))).await.unwrap();
    let theirs = Patch::Apply(json!({"apiVersion": "v1", "kind": "ConfigMap", "data": {"theirs": "3"}}));
    place.config_maps().patch("one", &PatchParams::apply("them"), &theirs).await.unwrap();
    let fewer = child(&tenant, json!({"a": "1"}));
    until("b goes", Duration::from_secs(10), async || {
        // The first try may meet a version that was not seen yet.
        let _ = parts.context.ensure(&fewer).await;
        !place.data("one").await.unwrap().contains_key("b")
    })
    .await;
    let data = place.data("one").await.unwrap();
    assert_eq!(data.keys().map(String::as_str).collect::<Vec<_>>(), ["a", "theirs"]);
    place.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn irreplaceable_objects_are_made_once_and_never_changed() {
    let place = Place::new().await;
    let tenant = place.tenant("one").await;
    let (parts, _tasks) = place.parts().await;
    let context = &parts.context;
    assert!(matches!(
        context.create_once(&child(&tenant, json!({"key": "first"}))).await.unwrap(),
        Ensured::Created(_)
    ));
    assert_eq!(context.create_once(&child(&tenant, json!({"key": "second"}))).await.unwrap(), Ensured::Kept);
    // By an operator that knows nothing yet: its POST meets the object.
    let (fresh, _tasks) = place.parts().await;
    assert_eq!(fresh.context.create_once(&child(&tenant, json!({"key": "third"}))).await.unwrap(), Ensured::Kept);
    assert_eq!(place.data("one").await.unwrap().get("key").map(String::as_str), Some("first"));
    place.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_delete_meets_only_the_object_that_was_seen() {
    let place = Place::new().await;
    let tenant = place.tenant("one").await;
    let (parts, _tasks) = place.parts().await;
    let wanted = child(&tenant, json!({"a": "1"}));
    let Ensured::Created(seen) = parts.context.ensure(&wanted).await.unwrap() else { panic!("not made") };
    let mut stale = seen.clone();
    stale.uid = "00000000-0000-4000-8000-000000000000".to_owned();
    let error = parts.context.delete_child(&wanted.at, &stale).await.unwrap_err();
    assert!(matches!(error, ApiError::Conflict { .. }), "{error}");
    parts.context.delete_child(&wanted.at, &seen).await.unwrap();
    parts.context.delete_child(&wanted.at, &seen).await.unwrap();
    assert!(place.data("one").await.is_none() && parts.context.stores.seen(&wanted.at).is_none());
    place.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn status_is_written_when_it_differs_and_finalizers_leave_those_of_others() {
    let place = Place::new().await;
    let tenant = place.tenant("one").await;
    let (parts, _tasks) = place.parts().await;
    let context = &parts.context;
    let api = Api::<Tenant>::namespaced(place.client.clone(), &place.namespace);
    let newest = || context.stores.tenants().state().into_iter().next().unwrap();
    let conditions = Report::reconciling("RealmNotFound", "there is none").conditions(1, &[], "2026-01-01T00:00:00Z");
    let status = json!({"observedGeneration": 1, "conditions": conditions, "tenantId": null});
    context.patch_status(&tenant, &status, "keyrealm-tenant").await.unwrap();
    parts.journal.take();
    context.patch_status(newest().as_ref(), &status, "keyrealm-tenant").await.unwrap();
    assert!(parts.journal.take().iter().all(|call| call.verb == "watch"), "the second one was not needed");
    assert_eq!(api.get("one").await.unwrap().status.unwrap().conditions.len(), 3);
    let theirs = Patch::Merge(json!({"metadata": {"finalizers": ["example.org/theirs"]}}));
    api.patch("one", &PatchParams::default(), &theirs).await.unwrap();
    until("ours is added", Duration::from_secs(10), async || {
        let _ = context.set_finalizer(newest().as_ref(), true).await;
        api.get("one").await.unwrap().finalizers().len() == 2
    })
    .await;
    let error = context.set_finalizer(&tenant, true).await.unwrap_err();
    assert!(matches!(error, ApiError::Conflict { .. }), "an old version says that there are none: {error}");
    context.set_finalizer(newest().as_ref(), false).await.unwrap();
    assert_eq!(api.get("one").await.unwrap().finalizers(), ["example.org/theirs"]);
    api.patch("one", &PatchParams::default(), &Patch::Merge(json!({"metadata": {"finalizers": null}}))).await.unwrap();
    place.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_check_finds_a_cluster_that_can_be_worked_in_and_names_what_lacks() {
    let place = Place::new().await;
    let findings = operator::check::check(&place.settings()).await;
    let wrong: Vec<_> = findings.iter().filter(|finding| finding.mend.is_some()).collect();
    assert!(wrong.is_empty() && findings.len() > 15, "{wrong:?}");
    place.end().await;
}
