use std::{
    any::Any,
    panic::{AssertUnwindSafe, catch_unwind},
    time::Instant,
};

use shape_meta_core::ShapeStore;

use super::{Flusher, panic_error};
use crate::{flusher_pool::Step, memtable::State, write_state::NextAttempt};

impl<S: ShapeStore> Step for Flusher<S> {
    fn step(&self) -> Option<Instant> {
        let _running = self.running.enter();
        self.condense_replaced();
        let flush_at = self.flush_if_due();
        // Saving comes second, because callers may wait for the flush.
        let save_at = self.save_reads_if_due();
        flush_at.into_iter().chain(save_at).min()
    }
}

impl<S: ShapeStore> Flusher<S> {
    /// Frees what resets have replaced, off the threads of callers. Waits for a flush in progress.
    pub(crate) fn condense_replaced(&self) {
        if self.shared.overlay.read().active.has_whole_replaced() {
            let _flush = self.flush_lock.lock();
            if self.shared.overlay.condense_replaced() {
                self.shared.backpressure.capacity.raise();
            }
        }
    }

    /// The same on the thread of a caller, where no background flusher does it. Does nothing while a flush is
    /// in progress.
    pub(crate) fn condense_if_idle(&self) {
        if let Some(_flush) = self.flush_lock.try_lock()
            && self.shared.overlay.condense_replaced()
        {
            self.shared.backpressure.capacity.raise();
        }
    }

    /// Flushes if a flush is due, and returns when the next one is due; `None` for never. A request shortens
    /// a back-off; a new change does not.
    fn flush_if_due(&self) -> Option<Instant> {
        if self.shared.requests.take_shortens_backoff() {
            self.shared.overlay.write().writing.shorten_backoff();
        }
        if self.shared.requests.is_paused() {
            return None;
        }
        let due = self.due()?;
        if due > Instant::now() {
            return Some(due);
        }
        if let Err(panic) = catch_unwind(AssertUnwindSafe(|| self.flush_unless_paused())) {
            self.record_observer_panic(&*panic);
        }
        self.due()
    }

    /// Records a panic during a flush. It comes from an observer, because panics of the store are caught
    /// where the store is called. If the flush had not ended, it is resumed after a back-off, since the
    /// observer may panic again.
    pub(crate) fn record_observer_panic(&self, panic: &(dyn Any + Send)) {
        let _flush = self.flush_lock.lock();
        if self.shared.overlay.read().is_flushing() {
            // This calls an observer again.
            let _ = catch_unwind(AssertUnwindSafe(|| self.record_failure(&panic_error(panic))));
        }
    }

    /// Returns when the next flush is due: at the end of a back-off; at once if a flush or a recovery is to
    /// be resumed; otherwise when the active generation is due. `None` for never.
    fn due(&self) -> Option<Instant> {
        let state = self.shared.overlay.read();
        match state.writing.next_attempt() {
            NextAttempt::Never => None,
            NextAttempt::At(retry_at) => Some(retry_at),
            NextAttempt::WhenDue if state.is_flushing() || state.writing.is_recovering() => {
                Some(Instant::now())
            }
            NextAttempt::WhenDue => self.active_due(&state),
        }
    }

    /// Whether the next flush is due by now.
    pub(super) fn is_next_due(&self) -> bool {
        self.active_due(&self.shared.overlay.read()).is_some_and(|due| due <= Instant::now())
    }

    /// Returns when the active generation is due: because of its size, on request, or because of its age.
    ///
    /// A request stays due until its sequence number is settled, because the flush after the request may only
    /// have resumed an older generation.
    fn active_due(&self, state: &State) -> Option<Instant> {
        let since = state.active.since()?;
        if self.shared.requests.is_due(self.shared.durability.settled())
            || self.shared.options.is_large(&state.active)
        {
            Some(Instant::now())
        } else {
            // `None` if the clock cannot express the interval: its age never makes it due.
            since.checked_add(self.shared.options.flush_interval)
        }
    }
}
