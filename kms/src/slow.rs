//! Slow cryptography: off the async threads, and only so much of it at a time.

use std::sync::Arc;

use tokio::sync::Semaphore;

use crate::error::KmsError;

/// Room for slow work.
pub(crate) struct Slow(Arc<Semaphore>);

impl Slow {
    /// Room for so many calls at a time; more are refused.
    pub(crate) fn new(most: usize) -> Self {
        Self(Arc::new(Semaphore::new(most)))
    }

    /// Runs it. The room is taken until the work ends, also when nobody waits for it any more: it cannot be stopped.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, KmsError> {
        let permit = Arc::clone(&self.0).try_acquire_owned().map_err(|_| KmsError::Busy)?;
        let held = move || {
            let done = work();
            drop(permit);
            done
        };
        tokio::task::spawn_blocking(held).await.map_err(|_| KmsError::Busy)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::time::Duration;

    use super::*;

    /// Whoever hangs up and calls again does not start more than there is room for.
    #[tokio::test]
    async fn work_that_nobody_waits_for_keeps_its_room() {
        let slow = Slow::new(1);
        let (go, wait) = mpsc::channel::<()>();
        let work = slow.run(move || wait.recv());
        assert!(tokio::time::timeout(Duration::from_millis(50), work).await.is_err(), "the caller hangs up");
        assert!(matches!(slow.run(|| ()).await, Err(KmsError::Busy)));
        go.send(()).unwrap();
        while slow.run(|| ()).await.is_err() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}
