//! ServiceAccounts: one a part, without any right and without a token in the pod.

use serde_json::json;

use super::{Home, Part};
use crate::child::{Child, ChildKind};

/// The account of a part's pods.
#[must_use]
pub fn of(home: &Home<'_>, part: Part) -> Child {
    let body = json!({"automountServiceAccountToken": false});
    home.child(ChildKind::ServiceAccount, part.name(), Some(part), body)
}
