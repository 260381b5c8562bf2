//! The operator is killed at every step, before and after it, and started again: all comes to the same end, nothing is there
//! twice, and what was made before stays what it was.

use std::collections::BTreeSet;

use futures_util::StreamExt;

use crate::acts::{Act, Life};
use crate::process::Operator;
use crate::world::{World, is_full};

/// Lives at a time.
const AT_ONCE: usize = 4;

/// Every step of every plan is in an act.
#[test]
fn no_step_is_forgotten() {
    let plans = [
        operator::realm::plan::Step::NAMES,
        operator::tenant::plan::Step::NAMES,
        operator::demo_environment::plan::Step::NAMES,
    ];
    let all: BTreeSet<&str> = plans.into_iter().flatten().copied().collect();
    let acts = Act::REALM.into_iter().chain(Act::DEMO).chain([Act::Managed]);
    let covered: BTreeSet<&str> = acts.flat_map(Act::steps).copied().collect();
    assert_eq!(covered, all);
}

/// Where an act is ended: at the step, and behind it.
fn points(act: Act, every: usize) -> Vec<String> {
    let steps = act.steps().iter().step_by(every);
    steps.flat_map(|step| [(*step).to_owned(), format!("{step}#2")]).collect()
}

/// One act: prepared, killed, brought to its end.
async fn perform(world: &World, act: Act, point: Option<&str>, life: &mut Life) {
    world.prepare(act, life).await;
    let mut before = None;
    if let Some(point) = point {
        Operator::start(&world.namespace, Some(point)).dies(point).await;
        before = Some((point, world.secrets().await));
    }
    let mut operator = Operator::start(&world.namespace, None);
    world.settles(act, life).await;
    assert!(operator.has_ended().is_none(), "{act:?} {point:?}: it ended: {}", operator.text());
    let Some((point, before)) = before else { return };
    let after = world.secrets().await;
    for (key, value) in &before {
        // What is wanted to change does so once, and that was before or after the end.
        let changes = act == Act::Changed && key.starts_with("one-client-app/") && !point.contains("refresh")
            || act == Act::DemoResets
            || act == Act::DemoGrows && key.ends_with("credentials.json")
            || act == Act::DemoShrinks && key.ends_with("credentials.json")
            || act == Act::Adopted && key.contains("-tls/");
        let kept = after.get(key);
        assert!(
            changes && point != "tenant.rotate-secret#2" || kept.is_none_or(|kept| kept == value),
            "{act:?} {point}: {key} is another one"
        );
    }
}

async fn live(acts: Vec<(Act, Option<String>)>) {
    let world = World::new().await;
    let mut life = Life::default();
    for (act, point) in acts {
        let began = std::time::Instant::now();
        perform(&world, act, point.as_deref(), &mut life).await;
        eprintln!("{} {act:?} {}: {:.1} s", world.namespace, point.unwrap_or_default(), began.elapsed().as_secs_f64());
    }
    world.end().await;
}

/// As many lives as it takes for each act to be ended at each of its points.
async fn lives(acts: &[Act], every: usize) {
    let points: Vec<(Act, Vec<String>)> = acts.iter().map(|act| (*act, points(*act, every))).collect();
    let count = points.iter().map(|(_, points)| points.len()).max().unwrap();
    let lives = (0..count).map(|number| {
        let acts = points.iter().map(|(act, points)| (*act, points.get(number).cloned()));
        let mut acts: Vec<_> = acts.collect();
        // What comes after the last point was seen in other lives.
        acts.truncate(acts.iter().rposition(|(_, point)| point.is_some()).map_or(0, |last| last + 1));
        live(acts)
    });
    futures_util::stream::iter(lives).for_each_concurrent(AT_ONCE, |life| life).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_at_each_step_of_realms_and_tenants_it_goes_on_where_it_was() {
    lives(&Act::REALM, if is_full() { 1 } else { 3 }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_at_each_step_of_a_managed_database_it_goes_on_where_it_was() {
    lives(&[Act::Managed], 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_at_each_step_of_a_demonstration_it_goes_on_where_it_was() {
    lives(&Act::DEMO, if is_full() { 1 } else { 3 }).await;
}
