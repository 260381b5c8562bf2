//! Named points at which a test may stop a process or make a step fail. They come in with a server's dependencies.

use std::fmt;
use std::sync::Arc;

type Hook = dyn Fn(&str) + Send + Sync;

/// Called with the name of each point as it is passed. The default does nothing.
#[derive(Clone, Default)]
pub struct Failpoints(Option<Arc<Hook>>);

impl Failpoints {
    /// A set that calls `hook` at each point; a hook that ends the process stands for a crash there.
    pub fn new(hook: impl Fn(&str) + Send + Sync + 'static) -> Self {
        Self(Some(Arc::new(hook)))
    }

    /// Passes the point `name`.
    pub fn hit(&self, name: &str) {
        if let Some(hook) = &self.0 {
            hook(name);
        }
    }
}

impl fmt::Debug for Failpoints {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "Failpoints(set)" } else { "Failpoints(none)" })
    }
}
