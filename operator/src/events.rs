//! Kubernetes events: one for each transition of Ready or Stalled. Losing one harms nothing; a pass never waits for one.

use std::time::Duration;

use crds::{Condition, ConditionStatus, READY, STALLED};
use k8s_openapi::api::core::v1::ObjectReference;
use kube::Client;
use kube::runtime::events::{Event, EventType, Recorder, Reporter};
use tokio::sync::mpsc;

use crate::stores::Kind;
use crate::wake::OwnerKind;

/// Events that wait to be sent; more are dropped.
const WAITING: usize = 256;
const CALL: Duration = Duration::from_secs(5);
/// The longest note (events.k8s.io/v1).
const NOTE: usize = 1000;

/// Where transitions are told.
#[derive(Clone)]
pub struct Events(mpsc::Sender<Told>);

struct Told {
    kind: OwnerKind,
    regarding: ObjectReference,
    event: Event,
}

/// Sends what was told.
pub struct Sender {
    told: mpsc::Receiver<Told>,
}

impl Events {
    /// The two ends.
    #[must_use]
    pub fn new() -> (Self, Sender) {
        let (events, told) = mpsc::channel(WAITING);
        (Self(events), Sender { told })
    }

    /// Tells of the transition from an object's conditions to these, if there is one.
    pub fn transitions<K: Kind>(&self, object: &K, after: &[Condition]) {
        let Some((type_, condition)) = transition(object.conditions(), after) else { return };
        let event = Event {
            type_,
            reason: condition.reason.clone(),
            note: Some(condition.message.chars().take(NOTE).collect::<String>()).filter(|note| !note.is_empty()),
            action: "Reconcile".to_owned(),
            secondary: None,
        };
        // Dropped when nobody can send them: the condition says the same.
        let _ = self.0.try_send(Told { kind: K::KIND, regarding: object.object_ref(&()), event });
    }
}

/// The event that a change of conditions is worth.
fn transition<'c>(before: &[Condition], after: &'c [Condition]) -> Option<(EventType, &'c Condition)> {
    let status = |conditions: &[Condition], kind: &str| {
        let found = conditions.iter().find(|condition| condition.kind == kind);
        found.is_some_and(|condition| condition.status == ConditionStatus::True)
    };
    let changed = |kind: &str| status(before, kind) != status(after, kind);
    let of = |kind: &str| after.iter().find(|condition| condition.kind == kind);
    if changed(STALLED) && status(after, STALLED) {
        return Some((EventType::Warning, of(STALLED)?));
    }
    if changed(READY) {
        let type_ = if status(after, READY) { EventType::Normal } else { EventType::Warning };
        return Some((type_, of(READY)?));
    }
    if changed(STALLED) { Some((EventType::Normal, of(STALLED)?)) } else { None }
}

impl Sender {
    /// Sends for ever.
    pub async fn run(mut self, client: Client, instance: String) {
        let recorders = OwnerKind::ALL.map(|kind| {
            let reporter = Reporter { controller: kind.manager().to_owned(), instance: Some(instance.clone()) };
            (kind, Recorder::new(client.clone(), reporter))
        });
        while let Some(told) = self.told.recv().await {
            let Some((_, recorder)) = recorders.iter().find(|(kind, _)| *kind == told.kind) else { continue };
            match tokio::time::timeout(CALL, recorder.publish(&told.event, &told.regarding)).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => tracing::debug!(%error, reason = told.event.reason, "an event was not taken"),
                Err(_) => tracing::debug!(reason = told.event.reason, "an event was not taken in time"),
            }
        }
        // The other end lives in the context: without it there is nothing more to tell.
        std::future::pending::<()>().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::Report;

    #[test]
    fn only_transitions_are_events() {
        let at = |report: &Report, before: &[Condition]| report.conditions(1, before, "2026-01-01T00:00:00Z");
        let waiting = at(&Report::reconciling("DatabaseUnreachable", "a"), &[]);
        assert!(transition(&[], &waiting).is_none(), "a new object is not an event");
        let still = at(&Report::reconciling("RolloutInProgress", "b"), &waiting);
        assert!(transition(&waiting, &still).is_none());
        let ready = at(&Report::ready("c"), &still);
        let (type_, condition) = transition(&still, &ready).unwrap();
        assert!(matches!(type_, EventType::Normal) && condition.reason == "Ready");
        assert!(transition(&ready, &ready).is_none());
        let stalled = at(&Report::stalled("ForeignObject", "d"), &ready);
        let (type_, condition) = transition(&ready, &stalled).unwrap();
        assert!(matches!(type_, EventType::Warning) && condition.reason == "ForeignObject");
        assert!(transition(&stalled, &still).is_some(), "somebody mended it");
    }
}
