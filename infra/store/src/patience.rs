//! The steps of a start wait for a database that is slow, full or away for a moment.
//!
//! A process that runs is unready meanwhile and goes on. One that starts must not be worse off: were it to end, whoever
//! supervises it would start it again and again, later and later, on a machine that has too much to do already.

use std::fmt::Display;
use std::time::Duration;

use tokio::time::Instant;

use crate::StoreError;

/// For how long a step is tried again after it failed first. Then the process ends and says why, to be seen.
const PATIENCE: Duration = Duration::from_secs(60);
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// An error that tells whether waiting helps.
pub trait Passing {
    /// Whether the same step may go well a little later, without anybody's doing.
    fn is_passing(&self) -> bool;
}

impl Passing for StoreError {
    fn is_passing(&self) -> bool {
        Self::is_passing(self)
    }
}

/// Takes a step of a start, again and again while what it fails of is passing, for a minute. A step must be such that it can
/// be taken again after it failed anywhere in the middle.
///
/// # Errors
/// What the step says: at once when waiting does not help, else the last one.
pub async fn patiently<T, E: Passing + Display>(step: impl AsyncFnMut() -> Result<T, E>) -> Result<T, E> {
    for_at_most(PATIENCE, step).await
}

async fn for_at_most<T, E: Passing + Display>(
    patience: Duration,
    mut step: impl AsyncFnMut() -> Result<T, E>,
) -> Result<T, E> {
    let (mut until, mut pause) = (None, FIRST_PAUSE);
    loop {
        let error = match step().await {
            Err(error) if error.is_passing() => error,
            done => return done,
        };
        let now = Instant::now();
        if now + pause > *until.get_or_insert(now + patience) {
            return Err(error);
        }
        tracing::warn!(%error, "a step of the start is tried again");
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Space;

    fn busy() -> StoreError {
        StoreError::Busy { space: Space::Control }
    }

    #[tokio::test(start_paused = true)]
    async fn what_passes_is_waited_for() {
        let (mut steps, began) = (0, Instant::now());
        let step = async || {
            steps += 1;
            // An attempt takes its time, too.
            tokio::time::sleep(Duration::from_secs(5)).await;
            if steps < 5 { Err(busy()) } else { Ok(steps) }
        };
        assert_eq!(patiently(step).await.unwrap(), 5);
        assert!((25..30).contains(&began.elapsed().as_secs()), "{:?}", began.elapsed());
    }

    #[tokio::test(start_paused = true)]
    async fn not_for_ever_and_a_long_step_has_all_of_it() {
        let began = Instant::now();
        assert!(matches!(patiently(async || Err::<(), _>(busy())).await, Err(StoreError::Busy { .. })));
        assert!((57..=60).contains(&began.elapsed().as_secs()), "{:?}", began.elapsed());
        let mut steps = 0;
        let step = async || {
            steps += 1;
            tokio::time::sleep(PATIENCE * 2).await;
            if steps == 1 { Err(busy()) } else { Ok(()) }
        };
        assert!(patiently(step).await.is_ok(), "counted from the first failure on");
    }

    #[tokio::test(start_paused = true)]
    async fn what_somebody_has_to_mend_is_said_at_once() {
        let began = Instant::now();
        let mut steps = 0;
        let step = async || {
            steps += 1;
            Err::<(), _>(StoreError::NoRegistrar)
        };
        assert!(matches!(patiently(step).await, Err(StoreError::NoRegistrar)));
        assert_eq!((steps, began.elapsed()), (1, Duration::ZERO));
    }
}
