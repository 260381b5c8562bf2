//! What was applied last, by object: while nobody touched the object since, nothing has to be written.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use crate::child::{Applied, ChildRef};

/// The memory of this process. Empty after a start: then each object is applied once, which changes nothing where nothing
/// differs.
#[derive(Debug, Clone, Default)]
pub struct AppliedMemory(Arc<Mutex<HashMap<ChildRef, Applied>>>);

impl AppliedMemory {
    /// What was applied.
    #[must_use]
    pub fn get(&self, at: &ChildRef) -> Option<Applied> {
        self.0.lock().ok()?.get(at).cloned()
    }

    /// Remembers.
    pub fn set(&self, at: &ChildRef, applied: Applied) {
        if let Ok(mut memory) = self.0.lock() {
            memory.insert(at.clone(), applied);
        }
    }

    /// Forgets: the object is gone, or somebody else's.
    pub fn forget(&self, at: &ChildRef) {
        if let Ok(mut memory) = self.0.lock() {
            memory.remove(at);
        }
    }

    /// How many objects are remembered.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.lock().map_or(0, |memory| memory.len())
    }

    /// Whether none is.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}
