//! PodDisruptionBudgets: of several pods one at a time is taken away.

use serde_json::json;

use super::{Home, Part};
use crate::child::{Child, ChildKind};

/// The budget of a server; one pod alone has none, for it would keep its node from ever being emptied.
#[must_use]
pub fn of(home: &Home<'_>, part: Part) -> Option<Child> {
    let body = json!({"spec": {"maxUnavailable": 1, "selector": {"matchLabels": home.selector(part)}}});
    (home.replicas(part) > 1).then(|| home.child(ChildKind::PodDisruptionBudget, part.name(), Some(part), body))
}
