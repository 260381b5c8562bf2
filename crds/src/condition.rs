//! Conditions as kstatus reads them: Ready, and the abnormal ones Reconciling and Stalled.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// All that the resource asks for is there and works.
pub const READY: &str = "Ready";
/// Work is under way; absent or `False` when none is.
pub const RECONCILING: &str = "Reconciling";
/// Nothing more happens until somebody changes something; absent or `False` otherwise.
pub const STALLED: &str = "Stalled";

/// Whether a condition holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum ConditionStatus {
    /// It holds.
    True,
    /// It does not.
    False,
    /// It cannot be told.
    Unknown,
}

/// A condition (as `meta/v1 Condition`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Condition {
    /// `Ready`, `Reconciling` or `Stalled`.
    #[serde(rename = "type")]
    #[schemars(length(min = 1, max = 64))]
    pub kind: String,
    /// Whether it holds.
    pub status: ConditionStatus,
    /// The generation that was looked at.
    #[schemars(range(min = 0))]
    pub observed_generation: i64,
    /// When the status changed last, RFC 3339.
    #[schemars(length(max = 40))]
    pub last_transition_time: String,
    /// One word for programs.
    #[schemars(length(min = 1, max = 128), regex(pattern = r"^[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?$"))]
    pub reason: String,
    /// A sentence for people: what is so, and how to mend it.
    #[schemars(length(max = 4096))]
    pub message: String,
}
