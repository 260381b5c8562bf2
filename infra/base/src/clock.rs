//! The clock that every decision is given; nothing else reads the wall clock.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use crate::Timestamp;

/// Where "now" comes from. Production passes [`SystemClock`], tests a clock that they move themselves.
pub trait Clock: Send + Sync + 'static {
    /// The present instant, in whole milliseconds since the Unix epoch.
    fn now(&self) -> Timestamp;
}

/// A clock shared by the parts of one server.
pub type SharedClock = Arc<dyn Clock>;

/// The machine's wall clock.
#[derive(Debug, Default, Clone, Copy)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        #[allow(clippy::disallowed_methods, reason = "the one place that reads the wall clock")]
        let now = SystemTime::now();
        // A clock before 1970 reads as the epoch: every expiry check then fails closed.
        let since = now.duration_since(UNIX_EPOCH).unwrap_or_default();
        Timestamp::from_millis(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
    }
}
