use std::sync::{Arc, PoisonError};

use crate::{
    Handle, HandleSet,
    sync::{Mutex, MutexGuard},
};

/// The handles that are pinned by name.
///
/// A step searches with the set as it is, while it may grow: a step copies nothing, and a pin copies the set
/// only while a step searches with it.
#[derive(Debug, Default)]
pub(super) struct Pins(Mutex<Arc<HandleSet>>);

impl Pins {
    pub(super) fn insert(&self, handle: Handle) {
        Arc::make_mut(&mut self.set()).insert(handle);
    }

    pub(super) fn remove(&self, handle: &Handle) {
        Arc::make_mut(&mut self.set()).remove(handle);
    }

    pub(super) fn contains(&self, handle: &Handle) -> bool {
        self.set().contains(handle)
    }

    pub(super) fn all(&self) -> Arc<HandleSet> {
        Arc::clone(&self.set())
    }

    fn set(&self) -> MutexGuard<'_, Arc<HandleSet>> {
        // No code that can panic runs under this lock.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
