//! What was measured, against what was aimed at.

use serde::Serialize;

/// A figure and its target.
#[derive(Debug, Serialize)]
pub(crate) struct Measured {
    /// What it is.
    pub(crate) name: &'static str,
    /// The figure.
    pub(crate) value: f64,
    /// Its unit; empty for a ratio.
    pub(crate) unit: &'static str,
    /// What it should be.
    pub(crate) target: Target,
    /// Figures that it was made of.
    pub(crate) detail: String,
}

/// A bound.
#[derive(Debug, Clone, Copy, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Target {
    /// At least this much.
    AtLeast(f64),
    /// At most this much.
    AtMost(f64),
}

impl Measured {
    pub(crate) fn is_met(&self) -> bool {
        match self.target {
            Target::AtLeast(bound) => self.value >= bound,
            Target::AtMost(bound) => self.value <= bound,
        }
    }
}

/// One line each.
#[allow(clippy::print_stdout, reason = "the output of a command")]
pub(crate) fn print(results: &[Measured]) {
    for result in results {
        let (word, bound) = match result.target {
            Target::AtLeast(bound) => (">=", bound),
            Target::AtMost(bound) => ("<=", bound),
        };
        let verdict = if result.is_met() { "met   " } else { "MISSED" };
        let (name, value, unit) = (result.name, result.value, result.unit);
        println!("{verdict} {name:<56} {value:>9.2} {unit:<3} (target {word} {bound} {unit}) {}", result.detail);
    }
}
