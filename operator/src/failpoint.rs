//! Named points at which a test lets something happen (the process ends, a call is held up). In production nothing does.

use std::fmt;
use std::sync::Arc;

/// What happens at a point, by the point's name.
#[derive(Clone)]
pub struct Failpoint(Arc<dyn Fn(&str) + Send + Sync>);

impl Failpoint {
    /// Nothing ever.
    #[must_use]
    pub fn none() -> Self {
        Self(Arc::new(|_| {}))
    }

    /// This.
    #[must_use]
    pub fn new(happens: impl Fn(&str) + Send + Sync + 'static) -> Self {
        Self(Arc::new(happens))
    }

    /// With the feature `failpoints` alone: the process ends at the point that `KEYREALM_FAILPOINT` names, as by `kill -9`;
    /// with `#2` behind the name when it is reached for the second time, which is behind the step.
    #[must_use]
    pub fn from_environment() -> Self {
        #[cfg(feature = "failpoints")]
        if let Ok(wanted) = std::env::var("KEYREALM_FAILPOINT") {
            let (wanted, time) = wanted.split_once('#').unwrap_or((&wanted, "1"));
            let (wanted, time) = (wanted.to_owned(), time.parse().unwrap_or(1_usize));
            let reached = std::sync::atomic::AtomicUsize::new(0);
            return Self::new(move |name| {
                if name == wanted && reached.fetch_add(1, std::sync::atomic::Ordering::Relaxed) + 1 >= time {
                    tracing::warn!(name, "the process ends here, as it was told to");
                    let _ = rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL);
                }
            });
        }
        Self::none()
    }

    /// The point of this name.
    pub fn reach(&self, name: &str) {
        (self.0)(name);
    }
}

impl fmt::Debug for Failpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Failpoint")
    }
}
