use std::time::{Duration, Instant};

use shape_meta_core::{Activity, ApplyChanges, Error, ErrorKind, Handle, NotDurable, SnapshotState};

use crate::{Buffered, slot::Now};

/// What closing came to (C10).
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct CloseReport {
    /// How many mutations closing has written.
    pub flushed: u64,
    /// How many mutations it could not write in time. They are lost when the process ends.
    pub unwritten: u64,
    /// The changes that those came to. Until the store is dropped, reads still show them.
    pub lost: Vec<Unwritten>,
    /// Why, if something failed rather than took too long.
    pub error: Option<Error>,
    /// How long it took.
    pub took: Duration,
}

impl CloseReport {
    /// Whether all that was accepted is on disk.
    pub fn is_complete(&self) -> bool {
        self.unwritten == 0
    }
}

/// A change that was not written.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Unwritten {
    /// The shape was added, in this state.
    Added(Handle, SnapshotState),
    /// The shape was removed.
    Removed(Handle),
    /// The snapshot of the shape has come so far.
    Marked(Handle, SnapshotState),
    /// Everything was removed.
    Reset,
}

/// Whether and how closing has ended, so that the second call says the same.
#[derive(Default)]
pub(crate) struct Closing {
    report: Option<CloseReport>,
}

impl<S: ApplyChanges + 'static> Buffered<S> {
    /// Accepts no more mutations, writes what is pending, also while paused, and ends the flusher thread,
    /// all within about this time. Reads go on until the store is dropped. Closing again returns the same
    /// report.
    ///
    /// A write that hangs in the store below is not waited for longer; what it was to write is reported as
    /// unwritten, although it may still succeed.
    pub fn close(&self, timeout: Duration) -> CloseReport {
        let mut closing = self.closing.lock();
        if let Some(report) = &closing.report {
            return report.clone();
        }
        let begun = Instant::now();
        let deadline = begun + timeout.min(Duration::from_secs(u32::MAX.into()));
        let span = self.shared.observer.begin(Activity::Close);
        let closed = Error::new(ErrorKind::Closed, "the store is closed; open it again to change it");
        self.shared.shut(closed.clone());
        let before = self.shared.progress.settled();
        self.resume();
        let outcome = self.flush(timeout);
        if let Some(flusher) = self.flusher.lock().take() {
            flusher.stop(|| self.shared.wake(), deadline);
        }
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
        if let Some(span) = span {
            span.end(error.as_ref());
        }
        let flushed = self.shared.progress.settled().get() - before.get();
        let report = CloseReport { flushed, unwritten, lost, error, took: begun.elapsed() };
        closing.report = Some(report.clone());
        report
    }

    fn unwritten(&self) -> (u64, Vec<Unwritten>) {
        let mutations = self.pending().mutations;
        let state = self.shared.overlay.read();
        let mut lost = Vec::new();
        // The older generation first.
        let generations: Vec<_> = state.generations().collect();
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
