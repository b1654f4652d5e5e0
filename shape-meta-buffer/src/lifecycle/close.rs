use std::time::{Duration, Instant};

use shape_meta_core::{Activity, CloseReport, Error, NotDurable, ShapeStore, StoreControl, Unwritten};

use crate::{
    Buffered,
    memtable::{SlotState, State},
};

/// Longer than any close takes, and short enough to be added to any moment.
const LONGEST_TIMEOUT: Duration = Duration::from_secs(u32::MAX as u64);

impl<S: ShapeStore + 'static> Buffered<S> {
    /// Closes the store, or returns the report of the first close.
    pub(crate) fn close_once(&self, timeout: Duration) -> CloseReport {
        let mut close_report = self.close_report.lock();
        if let Some(report) = &*close_report {
            return report.clone();
        }
        let started_at = Instant::now();
        let deadline = started_at + timeout.min(LONGEST_TIMEOUT);
        self.shared.overlay.write().writing.begin_close();
        let span = self.shared.observer.begin(Activity::Close);
        let before = self.shared.durability.settled();
        self.resume();
        let registration = self.registration.lock().take();
        if let Some(registration) = &registration {
            registration.expedite();
        }
        let outcome = self.flush(timeout);
        if let Some(registration) = registration {
            registration.unregister(deadline);
        }
        // A publish that panicked left its generation in the overlay, where reads would still find it.
        self.flusher.publish_if_idle();
        self.flusher.save_all_reads(deadline);
        // Resolves every receipt, and every wait for capacity, that is still open.
        self.shared.durability.stop(Error::closed());
        self.shared.backpressure.capacity.raise();
        let flush_error = self.shared.overlay.read().writing.flush_error().cloned();
        let (unwritten, lost) = self.unwritten();
        let error = match outcome {
            Ok(()) => None,
            Err(NotDurable::Stopped(error) | NotDurable::Rejected(error)) => {
                Some(flush_error.unwrap_or(error))
            }
            Err(_) => flush_error,
        };
        self.shared.overlay.write().writing.closed();
        if let Some(span) = span {
            span.end(error.as_ref());
        }
        let flushed = self.shared.durability.settled().get() - before.get();
        let report = CloseReport { flushed, unwritten, lost, error, took: started_at.elapsed() };
        close_report.insert(report).clone()
    }

    /// Returns the number of pending mutations, and the changes that they amount to.
    fn unwritten(&self) -> (u64, Vec<Unwritten>) {
        let mutations = self.pending().mutations;
        (mutations, unwritten_changes(&self.shared.overlay.read()))
    }
}

fn unwritten_changes(state: &State) -> Vec<Unwritten> {
    let mut lost = Vec::new();
    // A reset hides what was accepted before it.
    let visible = if state.active.is_reset() { 1 } else { 2 };
    let generations: Vec<_> = state.pending().take(visible).collect();
    for generation in generations.into_iter().rev() {
        if generation.is_reset() {
            lost.push(Unwritten::Reset);
        }
        for slot in generation.slots() {
            let handle = || slot.handle.clone();
            if slot.removed().is_some() {
                lost.push(Unwritten::Removed(handle()));
            }
            match (&slot.state, &slot.base) {
                (SlotState::Added(_, state), _) => lost.push(Unwritten::Added(handle(), *state)),
                (SlotState::Marked(state), Some(_)) => lost.push(Unwritten::Marked(handle(), *state)),
                (SlotState::Marked(_), None) | (SlotState::Tombstone, _) => {}
            }
        }
    }
    lost
}
