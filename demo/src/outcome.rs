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
    /// What was seen instead, the inner cause last.
    pub cause: Vec<String>,
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
    /// How many did not run because of `--fail-fast` or the time limit.
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
            skipped_steps: total - passed - errors.len(),
            errors,
            duration_ms: u64::try_from(took.as_millis()).unwrap_or(u64::MAX),
        }
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
        let failure = || StepFailure { step: "s".into(), phase: "p".into(), message: "m".into(), cause: vec![] };
        let code = |total, passed, failed| {
            let errors = (0..failed).map(|_| failure()).collect();
            Outcome::new(total, passed, errors, Duration::ZERO).exit_code()
        };
        assert_eq!([code(3, 3, 0), code(3, 2, 1), code(3, 2, 0), code(3, 0, 3), code(3, 0, 1)], [0, 1, 1, 2, 2]);
    }
}
