//! Counting the uses of an AEAD key with random nonces (NIST SP 800-38D, section 8.3: at most 2^32), in blocks that are
//! reserved ahead, so that an operation touches memory only.

use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU32, Ordering};

use tokio::sync::{Mutex, MutexGuard};

/// Uses that a version is good for.
const LIMIT: i64 = 1 << 32;
const FIRST_BLOCK: u32 = 1 << 10;
const LARGEST_BLOCK: u32 = 1 << 20;

/// The uses of one version in this process.
pub(crate) struct UsageCounter {
    /// The next use, counted from the version's beginning.
    next: AtomicI64,
    /// Uses below this are reserved.
    end: AtomicI64,
    block: AtomicU32,
    /// A reservation ahead was asked for.
    reserving: AtomicBool,
    /// Held by whoever reserves.
    reservation: Mutex<()>,
}

/// What came of asking for a use.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Take {
    /// Granted; nothing to do.
    Granted,
    /// Granted, and the block runs low: reserve the next one meanwhile.
    RunningLow,
    /// Reserve first.
    Exhausted,
    /// The version is used up.
    UsedUp,
}

impl UsageCounter {
    /// A counter that has nothing reserved yet.
    pub(crate) fn new() -> Self {
        Self {
            next: AtomicI64::new(0),
            end: AtomicI64::new(0),
            block: AtomicU32::new(FIRST_BLOCK),
            reserving: AtomicBool::new(false),
            reservation: Mutex::const_new(()),
        }
    }

    /// Waits for the right to reserve; whoever waited looks again whether it is still needed.
    pub(crate) async fn reservation(&self) -> MutexGuard<'_, ()> {
        self.reservation.lock().await
    }

    /// Whether nothing is left of what was reserved.
    pub(crate) fn is_exhausted(&self) -> bool {
        self.next.load(Ordering::Acquire) >= self.end.load(Ordering::Acquire)
    }

    /// Takes one use.
    pub(crate) fn take(&self) -> Take {
        let end = self.end.load(Ordering::Acquire);
        let taken =
            self.next.fetch_update(Ordering::AcqRel, Ordering::Acquire, |next| (next < end).then_some(next + 1));
        match taken {
            Ok(next) if next >= LIMIT => Take::UsedUp,
            Ok(next) => {
                let left = end - next;
                // The next block is twice this one: low is a quarter of this one left.
                let low = left < i64::from(self.block.load(Ordering::Relaxed)) / 8 && end < LIMIT;
                if low && !self.reserving.swap(true, Ordering::AcqRel) { Take::RunningLow } else { Take::Granted }
            }
            Err(_) if end >= LIMIT => Take::UsedUp,
            Err(_) => Take::Exhausted,
        }
    }

    /// How many to reserve next.
    pub(crate) fn block(&self) -> u32 {
        self.block.load(Ordering::Relaxed)
    }

    /// Adds a reserved block that ends at `end`; the next one will be twice as large. When another process reserved in
    /// between, what is left of the block before is given up.
    pub(crate) fn add(&self, end: i64, block: u32) {
        let begin = end - i64::from(block);
        if self.end.load(Ordering::Acquire) != begin {
            self.next.fetch_max(begin, Ordering::AcqRel);
        }
        self.end.store(end, Ordering::Release);
        self.block.store(block.saturating_mul(2).min(LARGEST_BLOCK), Ordering::Relaxed);
        self.reserving.store(false, Ordering::Release);
    }

    /// The reservation failed; it may be tried again.
    pub(crate) fn give_up(&self) {
        self.reserving.store(false, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_run_low_run_out_and_grow() {
        let counter = UsageCounter::new();
        assert_eq!(counter.take(), Take::Exhausted);
        counter.add(1024, 1024);
        assert_eq!(counter.block(), 2048);
        let takes: Vec<Take> = (0..1024).map(|_| counter.take()).collect();
        assert_eq!(takes.iter().filter(|take| **take == Take::RunningLow).count(), 1, "one caller reserves");
        assert!(takes.iter().all(|take| matches!(take, Take::Granted | Take::RunningLow)));
        assert_eq!(counter.take(), Take::Exhausted);
    }

    #[test]
    fn a_gap_by_another_process_is_skipped() {
        let counter = UsageCounter::new();
        counter.add(1024, 1024);
        counter.take();
        counter.add(4096, 1024);
        assert_eq!(counter.next.load(Ordering::Relaxed), 3072);
    }

    #[test]
    fn the_limit_is_the_end() {
        let counter = UsageCounter::new();
        counter.add(LIMIT, 1);
        assert_eq!(counter.take(), Take::Granted);
        assert_eq!(counter.take(), Take::UsedUp);
        counter.add(LIMIT + 1024, 1024);
        assert_eq!(counter.take(), Take::UsedUp);
    }
}
