use std::time::{Duration, Instant};

use shape_meta_core::{Activity, CloseReport, Error, NotDurable, ShapeStore, StoreControl, Unwritten};

use crate::{Buffered, lifecycle::Phase, memtable::Now};

impl<S: ShapeStore + 'static> Buffered<S> {
    pub(crate) fn close_once(&self, timeout: Duration) -> CloseReport {
        let mut closed_with = self.closed_with.lock();
        if let Some(report) = &*closed_with {
            return report.clone();
        }
        self.shared.enter(Phase::Closing);
        let begun = Instant::now();
        let deadline = begun + timeout.min(Duration::from_secs(u32::MAX.into()));
        let span = self.shared.observer.begin(Activity::Close);
        let closed = Error::closed();
        self.shared.shut(closed.clone());
        let before = self.shared.progress.settled();
        self.resume();
        let seat = self.seat.lock().take();
        if let Some(seat) = &seat {
            seat.hasten();
        }
        let outcome = self.flush(timeout);
        if let Some(seat) = seat {
            seat.leave(deadline);
        }
        // What a panic has left, unless a write still hangs. Otherwise the overlay goes on to show it.
        if let Some(_turn) = self.shared.turn.try_lock() {
            let _ = self.shared.publish();
        }
        self.shared.save_all_reads(deadline);
        // Whoever still waits for a receipt, or for room, is told.
        self.shared.progress.stop(closed);
        self.shared.room.raise();
        let trouble = self.shared.trouble.lock().clone().map(|trouble| trouble.error);
        let (unwritten, lost) = self.unwritten();
        let error = match outcome {
            Ok(()) => None,
            Err(NotDurable::Stopped(error) | NotDurable::Rejected(error)) => Some(trouble.unwrap_or(error)),
            Err(_) => trouble,
        };
        self.shared.enter(Phase::Closed);
        if let Some(span) = span {
            span.end(error.as_ref());
        }
        let flushed = self.shared.progress.settled().get() - before.get();
        let report = CloseReport { flushed, unwritten, lost, error, took: begun.elapsed() };
        closed_with.insert(report).clone()
    }

    fn unwritten(&self) -> (u64, Vec<Unwritten>) {
        let mutations = self.pending().mutations;
        let state = self.shared.overlay.read();
        let mut lost = Vec::new();
        // The older generation first. A reset hides what was before it.
        let those_that_count = if state.active.is_reset() { 1 } else { 2 };
        let generations: Vec<_> = state.pending().take(those_that_count).collect();
        for generation in generations.into_iter().rev() {
            if generation.is_reset() {
                lost.push(Unwritten::Reset);
            }
            for slot in generation.slots() {
                let handle = || slot.handle.clone();
                if slot.removed().is_some() {
                    lost.push(Unwritten::Removed(handle()));
                }
                match (&slot.now, &slot.base) {
                    (Now::Here(_, state), _) => lost.push(Unwritten::Added(handle(), *state)),
                    (Now::Marked(state), Some(_)) => lost.push(Unwritten::Marked(handle(), *state)),
                    (Now::Marked(_), None) | (Now::Gone, _) => {}
                }
            }
        }
        (mutations, lost)
    }
}
