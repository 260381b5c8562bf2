//! What became of a run.

use std::time::Duration;

use serde::Serialize;

/// A step that failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct StepFailure {
    /// The step's id.
    pub step: String,
    /// Its phase.
    pub phase: String,
    /// What was tried.
    pub message: String,
    /// What was seen on the way: what carries the bytes complained of, and the last exchanges, without secrets.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub details: Vec<String>,
    /// What was seen instead.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cause: Option<Box<Cause>>,
}

/// A cause, with its own.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Cause {
    /// What happened.
    pub message: String,
    /// Why.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cause: Option<Box<Cause>>,
}

impl StepFailure {
    /// From an error with its causes.
    pub(crate) fn new(step: &str, phase: &str, error: &anyhow::Error, details: Vec<String>) -> Self {
        let cause = error
            .chain()
            .skip(1)
            .rev()
            .fold(None, |cause, own| Some(Box::new(Cause { message: own.to_string(), cause })));
        Self { step: step.to_owned(), phase: phase.to_owned(), message: error.to_string(), details, cause }
    }

    /// The servers could not be had.
    pub(crate) fn of_start(error: &anyhow::Error) -> Self {
        Self::new("start", "start", error, Vec::new())
    }

    /// The causes, the inner one last.
    pub(crate) fn causes(&self) -> impl Iterator<Item = &str> {
        std::iter::successors(self.cause.as_deref(), |cause| cause.cause.as_deref()).map(|cause| cause.message.as_str())
    }
}

/// The counts of a run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Outcome {
    /// Whether all passed.
    pub success: bool,
    /// How many steps there are.
    pub total_steps: usize,
    /// How many passed.
    pub passed_steps: usize,
    /// How many failed.
    pub failed_steps: usize,
    /// How many did not run, because of `--fail-fast`, the time limit, a signal, or since the servers could not be had.
    pub skipped_steps: usize,
    /// The failures.
    pub errors: Vec<StepFailure>,
    /// How long it took.
    pub duration_ms: u64,
}

impl Outcome {
    /// From the counts.
    #[must_use]
    pub fn new(total: usize, passed: usize, errors: Vec<StepFailure>, took: Duration) -> Self {
        Self {
            success: passed == total,
            total_steps: total,
            passed_steps: passed,
            failed_steps: errors.len(),
            skipped_steps: total.saturating_sub(passed + errors.len()),
            errors,
            duration_ms: u64::try_from(took.as_millis()).unwrap_or(u64::MAX),
        }
    }

    /// Of a run whose steps were never begun.
    #[must_use]
    pub fn not_started(total: usize, why: StepFailure, took: Duration) -> Self {
        Self { errors: vec![why], success: false, ..Self::new(total, 0, Vec::new(), took) }
    }

    /// 0 all passed, 1 some, 2 none.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match (self.success, self.passed_steps) {
            (true, _) => 0,
            (false, 0) => 2,
            (false, _) => 1,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exit_codes_follow_the_counts() {
        let failure = || StepFailure::new("s", "p", &anyhow::anyhow!("m"), vec![]);
        let code = |total, passed, failed| {
            let errors = (0..failed).map(|_| failure()).collect();
            Outcome::new(total, passed, errors, Duration::ZERO).exit_code()
        };
        assert_eq!([code(3, 3, 0), code(3, 2, 1), code(3, 2, 0), code(3, 0, 3), code(3, 0, 1)], [0, 1, 1, 2, 2]);
        let never = Outcome::not_started(3, failure(), Duration::ZERO);
        assert_eq!((never.exit_code(), never.failed_steps, never.skipped_steps, never.errors.len()), (2, 0, 3, 1));
    }

    #[test]
    fn causes_are_nested() {
        let error = anyhow::anyhow!("inner").context("middle").context("outer");
        let failure = StepFailure::new("s", "p", &error, vec![]);
        assert_eq!(failure.causes().collect::<Vec<_>>(), ["middle", "inner"]);
        let json = serde_json::to_value(&failure).unwrap();
        let wanted = serde_json::json!({"step": "s", "phase": "p", "message": "outer",
            "cause": {"message": "middle", "cause": {"message": "inner"}}});
        assert_eq!(json, wanted, "details are optional");
    }
}
