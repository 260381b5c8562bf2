//! Two operators.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use futures_util::{StreamExt, pin_mut};
use k8s_openapi::api::coordination::v1::Lease;
use kube::ResourceExt as _;
use kube::api::{Api, ListParams, WatchEvent, WatchParams};

use crate::support::{Operator, Place, until};

async fn writer(place: &Place) -> Option<String> {
    place.data("busy-one").await?.get("writer").cloned()
}

/// What `operator check` says of the Lease.
async fn told(place: &Place) -> String {
    let findings = operator::check::check(&place.settings()).await;
    let finding = findings.into_iter().find(|finding| finding.what.starts_with("Lease")).unwrap();
    assert_eq!(finding.mend, None, "it is no failure, whatever it is: {}", finding.what);
    finding.what
}

/// Whether there is a Lease, whose it is, and whether he lives; looking changes nothing.
#[tokio::test(flavor = "multi_thread")]
async fn check_tells_who_holds_the_lease_and_whether_it_is_heard_of() {
    let place = Place::new().await;
    let name = format!("Lease {}/keyrealm-operator: ", place.namespace);
    let absent = told(&place).await;
    assert!(absent.starts_with(&name) && absent.contains("is not there yet"), "{absent}");
    assert_eq!(holder(&place).await, None, "it was made");
    let mut first = Operator::start(&place.settings(), "first");
    until("it leads", Duration::from_secs(30), async || holder(&place).await.is_some()).await;
    let fresh = told(&place).await;
    assert!(fresh.contains("held by first_") && fresh.contains("who renews it"), "{fresh}");
    first.signal("KILL");
    until("it is gone", Duration::from_secs(10), async || first.has_ended().is_some()).await;
    let leases = Api::<Lease>::namespaced(place.client.clone(), &place.namespace);
    let version = async || leases.get("keyrealm-operator").await.unwrap().metadata.resource_version;
    let before = version().await;
    let silent = told(&place).await;
    assert!(silent.contains("held by first_") && silent.contains("did NOT renew it"), "{silent}");
    assert_eq!(version().await, before);
    place.end().await;
}

async fn holder(place: &Place) -> Option<String> {
    let leases = Api::<Lease>::namespaced(place.client.clone(), &place.namespace);
    leases.get_opt("keyrealm-operator").await.unwrap()?.spec?.holder_identity
}

#[tokio::test(flavor = "multi_thread")]
async fn one_leads_and_hands_over_within_two_seconds() {
    let place = Place::new().await;
    place.tenant("busy-one").await;
    let mut first = Operator::start(&place.settings(), "first");
    until("the first one works", Duration::from_secs(30), async || writer(&place).await == Some(first.id())).await;
    let second = Operator::start(&place.settings(), "second");
    until("the second one is warm", Duration::from_secs(30), async || second.text().contains("the operator starts"))
        .await;
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert!(holder(&place).await.unwrap().starts_with("first_") && !second.text().contains("work begins"));
    first.signal("TERM");
    let began = Instant::now();
    until("the second one works", Duration::from_secs(20), async || writer(&place).await == Some(second.id())).await;
    let took = began.elapsed();
    println!("handed over in {took:?}");
    until("the first one ends", Duration::from_secs(10), async || first.has_ended().is_some()).await;
    assert!(first.has_ended().unwrap().success(), "{}", first.text());
    assert!(took <= Duration::from_secs(2), "{took:?}");
    place.end().await;
}

/// The leader stands still for longer than its term, in the middle of its work. When it wakes, another one leads: it must not
/// write once more.
#[tokio::test(flavor = "multi_thread")]
async fn a_leader_that_was_cut_off_writes_nothing_afterwards() {
    let place = Place::new().await;
    place.tenant("busy-one").await;
    for number in 0..20 {
        place.tenant(&format!("busy-{number}")).await;
    }
    let mut first = Operator::start(&place.settings(), "first");
    until("the first one works", Duration::from_secs(30), async || writer(&place).await == Some(first.id())).await;
    let second = Operator::start(&place.settings(), "second");
    until("the second one is there", Duration::from_secs(30), async || second.text().contains("the operator starts"))
        .await;
    // Every version of every object, from here on.
    let there = place.config_maps().list(&ListParams::default()).await.unwrap();
    let from = there.metadata.resource_version.unwrap();
    let mut known: HashMap<_, _> = there.items.into_iter().map(|map| (map.name_any(), map.data)).collect();
    let maps = place.config_maps();
    let writes = tokio::spawn(async move {
        let events = maps.watch(&WatchParams::default().timeout(120), &from).await.unwrap();
        pin_mut!(events);
        let mut writes = Vec::new();
        let end = Instant::now() + Duration::from_secs(45);
        while let Ok(Some(event)) = tokio::time::timeout_at(end.into(), events.next()).await {
            // Who takes over writes to an object's metadata, too: then the data are those that it had.
            if let Ok(WatchEvent::Modified(map)) = event
                && known.insert(map.name_any(), map.data.clone()) != Some(map.data.clone())
                && let Some(writer) = map.data.as_ref().and_then(|data| data.get("writer"))
            {
                writes.push((map.name_any(), writer.clone()));
            }
        }
        writes
    });
    first.signal("STOP");
    tokio::time::sleep(Duration::from_secs(30)).await;
    assert_eq!(writer(&place).await, Some(second.id()), "the second one took over");
    first.signal("CONT");
    until("the first one ends", Duration::from_secs(10), async || first.has_ended().is_some()).await;
    assert_eq!(first.has_ended().unwrap().code(), Some(2), "{}", first.text());
    let writes = writes.await.unwrap();
    let taken = writes.iter().position(|(_, writer)| *writer == second.id()).unwrap();
    let late: Vec<_> = writes[taken..].iter().filter(|(_, writer)| *writer != second.id()).collect();
    assert!(late.is_empty(), "the first one wrote again: {late:?}");
    assert!(writes.len() - taken > 100, "{} writes", writes.len());
    place.end().await;
}
