use std::panic::{AssertUnwindSafe, catch_unwind};

use shape_meta_core::{Repaired, Result, ShapeStore, ShapeStoreExt, TrustedState};

use crate::flush::{Flusher, inside_observer, panic_error};

impl<S: ShapeStore> Flusher<S> {
    /// Repairs the store below, writes what is pending, and only then accepts mutations again: a pending
    /// change may rest on a shape that the repair did not save, and no further change shall rest on that.
    ///
    /// # Errors
    ///
    /// `Closed` once the store is being closed. If the store below could not be repaired, everything is as
    /// before. If something pending could not be
    /// written, mutations stay refused until a later flush, which is retried, has written it.
    pub(crate) fn repair(&self) -> Result<Repaired> {
        if self.is_running_here() {
            return Err(inside_observer());
        }
        let _one_at_a_time = self.repair_lock.lock();
        self.shared.overlay.write().writing.begin_repair()?;
        let outcome = self.repair_below().and_then(|repaired| self.write_pending().map(|()| repaired));
        self.shared.backpressure.capacity.raise();
        outcome
    }

    fn repair_below(&self) -> Result<Repaired> {
        let _running = self.running.enter();
        // No flush is in progress, and none begins.
        let flush = self.flush_lock.lock();
        // A panic, of the store or of an observer, is an error like any other.
        let repaired = catch_unwind(AssertUnwindSafe(|| {
            self.publish(&flush.committed)?;
            let last_seq = Some(self.shared.durability.settled());
            self.shared.store.rebuild_from(TrustedState { entries: None, last_seq })
        }))
        .unwrap_or_else(|panic| Err(panic_error(&*panic)));
        let mut state = self.shared.overlay.write();
        match &repaired {
            Ok(_) => {
                state.writing.repaired();
                self.shared.overlay.record_rebuild(&mut state);
                self.shared.feeds.repaired(state.last);
                // Under the lock, under which close ends: after that, receipts stay resolved.
                if !state.writing.is_closed() {
                    self.shared.durability.resume();
                }
            }
            Err(_) => state.writing.repair_failed(),
        }
        drop(state);
        // Some shapes may be lost.
        self.shared.waits.all_changed();
        // A close may wait for this.
        self.shared.backpressure.capacity.raise();
        repaired
    }

    /// Flushes until nothing is pending. If that fails, the background flusher retries it.
    pub(crate) fn write_pending(&self) -> Result<()> {
        let written = catch_unwind(AssertUnwindSafe(|| {
            while self.flush_once()?.is_some() {}
            Ok(())
        }));
        let written = written.unwrap_or_else(|panic| {
            self.record_observer_panic(&*panic);
            Err(panic_error(&*panic))
        });
        if written.is_err() {
            self.shared.requests.wake();
        }
        written
    }
}
