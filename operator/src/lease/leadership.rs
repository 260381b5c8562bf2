//! Whether this process may write: asked before every write, by clocks that go on while the process does not.

use std::fmt;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use keyrealm_base::{SharedClock, Timestamp};

/// An instant by two clocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Now {
    /// Since the machine's start, the time that it slept included.
    pub boot: Duration,
    /// By the wall clock.
    pub wall: Timestamp,
}

/// A write by a process that does not lead.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("this process does not lead (any more); the leader does the work")]
pub struct NotLeading;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Term {
    No,
    Until(Now),
    Always,
}

/// The right to write, as it stands.
#[derive(Clone)]
pub struct Leadership {
    term: Arc<Mutex<Term>>,
    clock: SharedClock,
}

impl fmt::Debug for Leadership {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Leadership({:?})", self.term.lock().map(|term| *term))
    }
}

impl Leadership {
    /// Not yet.
    #[must_use]
    pub fn none(clock: SharedClock) -> Self {
        Self { term: Arc::new(Mutex::new(Term::No)), clock }
    }

    /// For ever: one process alone, without election.
    #[must_use]
    pub fn always(clock: SharedClock) -> Self {
        Self { term: Arc::new(Mutex::new(Term::Always)), clock }
    }

    /// The instant, by both clocks.
    #[must_use]
    pub fn now(&self) -> Now {
        let time = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
        let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
        let nanos = u32::try_from(time.tv_nsec).unwrap_or(0);
        Now { boot: Duration::new(seconds, nanos), wall: self.clock.now() }
    }

    /// The Lease was written; the call began at `sent`, and this process may write for `valid` from then on.
    pub fn renewed(&self, sent: Now, valid: Duration) {
        self.set(Term::Until(Now { boot: sent.boot + valid, wall: sent.wall.plus(valid) }));
    }

    /// It is over.
    pub fn end(&self) {
        self.set(Term::No);
    }

    fn set(&self, new: Term) {
        if let Ok(mut term) = self.term.lock() {
            *term = new;
        }
    }

    /// Whether a write may begin at this instant: neither clock may be past the end, whichever is ahead.
    #[must_use]
    pub fn may_write(&self, now: Now) -> bool {
        match self.term.lock().map(|term| *term) {
            Ok(Term::Always) => true,
            Ok(Term::Until(end)) => now.boot < end.boot && now.wall < end.wall,
            Ok(Term::No) | Err(_) => false,
        }
    }

    /// As an error.
    ///
    /// # Errors
    /// When this process does not lead now.
    pub fn check(&self) -> Result<(), NotLeading> {
        if self.may_write(self.now()) { Ok(()) } else { Err(NotLeading) }
    }
}
