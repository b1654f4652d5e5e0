use std::{
    collections::HashSet,
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
};

use shape_meta_core::{
    Change, Entry, Error, ErrorKind, Result, Seq, ShapeStore, ShapeStoreExt, SnapshotState,
    feed::{FeedChange, FeedStage},
};

use super::{
    Flusher,
    committed::{Committed, Rejection, Rejections},
    flusher::FlushState,
    panic_error,
    running::{Entered, inside_observer},
};
use crate::{
    memtable::{Generation, State},
    sync::{Mutex, MutexGuard},
};

impl<S: ShapeStore> Flusher<S> {
    /// Publishes the committed generation, if there is one, drops it (I2), and reports its rejected changes.
    ///
    /// The calling thread holds the flush lock, or was started by the thread that holds it and commits.
    ///
    /// # Errors
    ///
    /// If the store below panics. The generation stays committed, and the next call publishes it again.
    pub(crate) fn publish(&self, committed: &Mutex<Option<Committed>>) -> Result<()> {
        let mut guard = committed.lock();
        let Some(committed) = &mut *guard else { return Ok(()) };
        for batch in &committed.batches {
            catch_unwind(AssertUnwindSafe(|| self.shared.store.publish(batch)))
                .map_err(|panic| panic_error(&*panic))?;
        }
        let overlay = &self.shared.overlay;
        let kept = committed.kept(&overlay.hashing);
        let mut rejected = committed.take_rejections(&overlay.hashing);
        for Rejection { change, .. } in &rejected.rejections {
            if let Change::Remove { entry } = change {
                // It stays, whatever it was removed for. Until the drop, the overlay answers that it is gone.
                self.shared.store.release(entry);
            }
        }
        let states_below = self.states_below(&rejected);
        overlay.drop_committed(&kept, |state| {
            rejected.reconcile(state, &overlay.hashing);
            if !rejected.is_empty() {
                self.emit_corrections(state, &rejected, states_below.as_deref());
            }
        });
        let through = committed.generation.last();
        if !rejected.is_empty() {
            self.shared.feeds.deliver();
            let below = states_below.unwrap_or_default();
            let corrections = rejected.corrections(through, &below, None);
            self.publish_durable(&committed.generation, &rejected.mutations(), corrections);
        }
        let Rejections { rejections, .. } = rejected;
        let dropped = guard.take();
        drop(guard);
        for rejection in &rejections {
            for seq in &rejection.mutations {
                self.shared.durability.reject(*seq, rejection.error.clone());
            }
        }
        if !rejections.is_empty() {
            // The changes that depended on them were revoked, too.
            self.shared.waits.all_changed();
        }
        self.shared.durability.settle(through);
        self.shared.backpressure.capacity.raise();
        // Their memory is freed here, where no thread waits for it.
        drop((dropped, kept));
        let mut panicked = None;
        for Rejection { change, error, mutations } in &rejections {
            let handle = change.entry().map(|entry| entry.handle());
            let report = || self.shared.observer.rejected(handle, mutations, error);
            // Each rejection is reported once, although the observer panics at an earlier one.
            panicked = catch_unwind(AssertUnwindSafe(report)).err().or(panicked);
        }
        panicked.map_or(Ok(()), |panic| resume_unwind(panic))
    }

    /// Gives the changes of a committed generation to the feeds of durable changes.
    pub(super) fn publish_durable(
        &self,
        generation: &Generation,
        rejected: &HashSet<Seq>,
        corrections: Vec<FeedChange>,
    ) {
        let mut changes = generation.fed(rejected);
        changes.extend(corrections);
        self.shared.feeds.publish(&[FeedStage::Durable], changes);
    }

    /// Returns the states below that corrections need, or `None` if no one needs them, or the store below
    /// cannot be read.
    fn states_below(&self, rejected: &Rejections) -> Option<Vec<Option<SnapshotState>>> {
        if rejected.is_empty() || self.shared.feeds.watched().by_none() {
            return None;
        }
        let state_of = |entry: &Entry| -> Result<_> {
            let live = self.shared.store.entry(entry.handle())?;
            Ok(live.filter(|live| live.created() == entry.created()).map(|live| live.state()))
        };
        rejected.states_below(state_of).ok()
    }

    /// Emits the corrections of rejected changes, under the overlay's lock. Without the states below, the
    /// subscribers list anew: the store cannot be read, or they have come since.
    fn emit_corrections(
        &self,
        state: &State,
        rejected: &Rejections,
        below: Option<&[Option<SnapshotState>]>,
    ) {
        let feeds = &self.shared.feeds;
        let corrections = below.map(|below| rejected.corrections(state.last, below, Some(&state.active)));
        if corrections.is_none() && !feeds.watched().by_none() {
            feeds.list_anew("changes were rejected, and the shapes that they concern could not be read");
        }
        feeds.correct(state.last, corrections.unwrap_or_default());
    }

    /// Waits for a flush in progress, and publishes the generation that it committed. If the store below
    /// panics, the next flush publishes it; until then readers find it in the overlay.
    pub(crate) fn settle_in_progress(&self) {
        if self.is_running_here() {
            // An observer made this call on the thread that flushes.
            return;
        }
        let _running = self.running.enter();
        let flush = self.flush_lock.lock();
        let _ = self.publish(&flush.committed);
    }

    /// Holds up flushes while the returned guards live, with no generation half committed or unpublished.
    /// Waits for a flush in progress.
    ///
    /// # Errors
    ///
    /// `Unsupported` inside of an observer on the thread that flushes. `Busy` if a flush that took several
    /// transactions has failed between them, and is to be resumed. If the store below panics.
    pub(crate) fn between_flushes(&self) -> Result<(MutexGuard<'_, FlushState>, Entered<'_>)> {
        if self.is_running_here() {
            return Err(inside_observer());
        }
        let running = self.running.enter();
        let flush = self.flush_lock.lock();
        self.publish(&flush.committed)?;
        if flush.is_half_committed() {
            let message = "a part of the pending changes is committed, and the rest could not be; it is \
                           retried; subscribe again later";
            return Err(Error::new(ErrorKind::Busy, message));
        }
        Ok((flush, running))
    }

    /// Publishes a generation that an earlier flush has committed. Does nothing while a flush is in progress,
    /// because that flush may hang.
    pub(crate) fn publish_if_idle(&self) {
        let _running = self.running.enter();
        if let Some(flush) = self.flush_lock.try_lock() {
            let _ = self.publish(&flush.committed);
        }
    }
}
