//! The rights as data against what the API server allows.

use std::path::{Path, PathBuf};
use std::time::Duration;

use k8s_openapi::api::core::v1::Namespace;
use kube::api::{Api, Patch, PatchParams};
use operator::child::{ChildKind, ChildRef};
use operator::rights::{RIGHTS, Right};
use operator::run::{Deps, Parts};
use serde_json::json;

use crate::account::{grant, impersonate};
use crate::support::{Place, child, deps, kubeconfig, until};

/// A kubeconfig of an account that has these rights in the namespace and none elsewhere.
async fn account(place: &Place, rights: &[&Right], folder: &Path) -> PathBuf {
    let namespace = &place.namespace;
    let rules: Vec<_> = rights
        .iter()
        .map(|right| json!({"apiGroups": [right.group], "resources": [right.resource], "verbs": right.verbs}))
        .collect();
    grant(&place.client, namespace, "operator", rules.into(), namespace).await;
    impersonate(kubeconfig(), namespace, folder)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_listed_rights_are_enough() {
    let place = Place::new().await;
    let folder = tempfile::tempdir().unwrap();
    let mut settings = place.settings();
    settings.kubeconfig = Some(account(&place, &RIGHTS.iter().collect::<Vec<_>>(), folder.path()).await);
    let wrong: Vec<_> =
        operator::check::check(&settings).await.into_iter().filter(|finding| finding.mend.is_some()).collect();
    assert!(wrong.is_empty(), "{wrong:?}");
    settings.lease.enabled = false;
    let tenant = place.tenant("one").await;
    let parts = Parts::new(settings, &deps()).await.unwrap();
    let mut tasks = keyrealm_http::Tasks::default();
    parts.watch(&mut tasks);
    tokio::time::timeout(Duration::from_secs(20), parts.context.stores.wait_until_ready()).await.unwrap();
    parts.context.ensure(&child(&tenant, json!({"a": "1"}))).await.unwrap();
    parts.context.ensure(&child(&tenant, json!({"a": "2"}))).await.unwrap();
    parts.context.set_finalizer(&tenant, true).await.unwrap();
    let newest = parts.context.stores.tenants().state().into_iter().next().unwrap();
    parts.context.patch_status(newest.as_ref(), &json!({"conditions": []}), "keyrealm-tenant").await.unwrap();
    let newest = parts.context.stores.tenants().state().into_iter().next().unwrap();
    parts.context.set_finalizer(newest.as_ref(), false).await.unwrap();
    let mut secret = child(&tenant, json!({}));
    let at = ChildRef::new(ChildKind::Secret, &place.namespace, "one");
    (secret.at, secret.body) = (at.clone(), json!({}));
    parts.context.ensure(&secret).await.unwrap();
    parts.context.delete_child(&at, &parts.context.stores.seen(&at).unwrap()).await.unwrap();
    for call in parts.journal.take() {
        assert_ne!(call.status, 403, "{call:?}");
        let resource = match call.subresource.as_str() {
            "" => call.resource.clone(),
            subresource => format!("{}/{subresource}", call.resource),
        };
        let listed = RIGHTS.iter().any(|right| {
            (right.group, right.resource) == (call.group.as_str(), resource.as_str())
                && right.verbs.contains(&call.verb)
        });
        assert!(listed, "no right is listed for {call:?}");
    }
    place.end().await;
}

/// One right lacks: the watch that needs it is named, and no other one waits for it.
#[tokio::test(flavor = "multi_thread")]
async fn a_missing_right_is_named_and_slows_nothing_else() {
    let place = Place::new().await;
    let folder = tempfile::tempdir().unwrap();
    let some: Vec<&Right> = RIGHTS.iter().filter(|right| right.resource != "networkpolicies").collect();
    let mut settings = place.settings();
    settings.kubeconfig = Some(account(&place, &some, folder.path()).await);
    let findings = operator::check::check(&settings).await;
    let wrong: Vec<_> = findings.iter().filter_map(|finding| Some((&finding.what, finding.mend.as_ref()?))).collect();
    assert!(wrong.len() == 1 && wrong[0].0.contains("networkpolicies") && wrong[0].1.contains("watch"), "{wrong:?}");
    let parts = Parts::new(settings, &deps()).await.unwrap();
    let mut tasks = keyrealm_http::Tasks::default();
    parts.watch(&mut tasks);
    let stores = &parts.context.stores;
    let missing = format!("NetworkPolicy in {}", place.namespace);
    until("all others are there", Duration::from_secs(20), async || stores.missing() == [missing.clone()]).await;
    place.tenant("one").await;
    until("a new Tenant is seen at once", Duration::from_secs(2), async || {
        stores.queues_depth(operator::wake::OwnerKind::Tenant) == 1
    })
    .await;
    let refused = parts.journal.take().into_iter().filter(|call| call.status == 403).count();
    assert!((1..=10).contains(&refused), "it is tried again, with pauses: {refused}");
    place.end().await;
}

/// Where all namespaces are looked at their labels are known: for that alone there are rights outside of namespaces.
#[tokio::test(flavor = "multi_thread")]
async fn an_operator_of_the_whole_cluster_knows_the_labels_of_namespaces() {
    let place = Place::new().await;
    let mut settings = place.settings();
    settings.watch.namespaces.clear();
    settings.lease.enabled = false;
    let parts = Parts::new(settings, &Deps { told: Some(crate::calls::keep), ..deps() }).await.unwrap();
    let mut tasks = keyrealm_http::Tasks::default();
    parts.watch(&mut tasks);
    let stores = &parts.context.stores;
    tokio::time::timeout(Duration::from_secs(30), stores.wait_until_ready()).await.unwrap();
    let label = || stores.namespace_labels(&place.namespace).and_then(|labels| labels.get("team").cloned());
    assert!(label().is_none());
    let patch = json!({"metadata": {"labels": {"team": "a"}}});
    let namespaces = Api::<Namespace>::all(place.client.clone());
    namespaces.patch(&place.namespace, &PatchParams::default(), &Patch::Merge(&patch)).await.unwrap();
    until("a new label is seen", Duration::from_secs(10), async || label().as_deref() == Some("a")).await;
    place.end().await;
}
