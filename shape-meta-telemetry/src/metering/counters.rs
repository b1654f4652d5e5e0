use std::{
    collections::HashSet,
    sync::{Arc, LazyLock, PoisonError, RwLock},
};

use metrics::Key;

use super::metric::increment;

/// The counters that were recorded for one named store, or for all stores without a name.
///
/// Some exporters forget a series that nothing records for a while. A counter of an open store must not be
/// forgotten: it would begin at zero again. So a [`Reporter`](crate::Reporter) keeps the counters of open
/// stores in use. The number of counters is bounded, because their labels have values from fixed sets.
#[derive(Debug, Default)]
pub(super) struct Counters(RwLock<HashSet<Key>>);

impl Counters {
    /// Those of all stores without a name, which outlast every store.
    pub(super) fn of_unnamed() -> Arc<Self> {
        static UNNAMED: LazyLock<Arc<Counters>> = LazyLock::new(Arc::default);
        Arc::clone(&UNNAMED)
    }

    pub(super) fn increment(&self, key: Key, by: u64) {
        increment(&key, by);
        // No code that can panic runs under this lock.
        let is_known = self.0.read().unwrap_or_else(PoisonError::into_inner).contains(&key);
        if !is_known {
            self.0.write().unwrap_or_else(PoisonError::into_inner).insert(key);
        }
    }

    /// Increments all of them by zero.
    pub(super) fn keep(&self) {
        for key in &*self.0.read().unwrap_or_else(PoisonError::into_inner) {
            increment(key, 0);
        }
    }
}
