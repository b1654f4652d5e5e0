use std::sync::{Arc, OnceLock};

use shape_meta_core::{RequestFlush, Seq};

use crate::{
    flusher_pool::Task,
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
};

/// What callers ask of the flusher, and how they wake it. Only atomics: no call waits.
#[derive(Default)]
pub(crate) struct FlushRequests {
    is_paused: AtomicBool,
    /// A flush was requested since the flusher last looked: it shortens a back-off. However many requests
    /// there were, they count once.
    ///
    /// `through` does not say this: a second request for the same mutations must shorten a back-off too.
    shortens_backoff: AtomicBool,
    /// The largest sequence number that a flush was requested for: a flush is due until it is settled.
    ///
    /// `shortens_backoff` does not say this: a flush that retries older changes leaves the requested ones
    /// pending.
    through: AtomicU64,
    /// Empty without a background flusher.
    task: OnceLock<Arc<Task>>,
}

impl FlushRequests {
    /// Names the task of the background flusher. Only the first call counts.
    pub(crate) fn set_task(&self, task: &Arc<Task>) {
        self.task.get_or_init(|| Arc::clone(task));
    }

    /// Makes the background flusher look for work. Costs one atomic operation if it is about to look anyway,
    /// otherwise a short lock of its pool.
    pub(crate) fn wake(&self) {
        if let Some(task) = self.task.get() {
            task.wake();
        }
    }

    /// The same for want of room: a back-off is not shortened, since a retry has nothing more to write.
    pub(crate) fn need(&self, through: Seq) {
        self.through.fetch_max(through.get(), Ordering::Release);
        self.wake();
    }

    /// Whether a flush was requested for changes that are not settled yet.
    pub(crate) fn is_due(&self, settled: Seq) -> bool {
        self.through.load(Ordering::Acquire) > settled.get()
    }

    /// Returns whether a flush was requested since the last call.
    pub(crate) fn take_shortens_backoff(&self) -> bool {
        self.shortens_backoff.swap(false, Ordering::AcqRel)
    }

    pub(crate) fn set_paused(&self, is_paused: bool) {
        self.is_paused.store(is_paused, Ordering::Release);
    }

    pub(crate) fn is_paused(&self) -> bool {
        self.is_paused.load(Ordering::Acquire)
    }
}

impl RequestFlush for FlushRequests {
    /// Shortens a back-off, and wakes the background flusher.
    fn request_flush(&self, through: Seq) {
        self.shortens_backoff.store(true, Ordering::Release);
        self.need(through);
    }
}
