use std::{
    collections::HashSet,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
    time::{Duration, Instant},
};

use shape_meta_core::{Activity, Batch, Error, FlushStats, Remedy, Result, ShapeStore};

use super::{
    committed::Committed,
    end,
    join::join,
    last_reads::SaveSchedule,
    panic_error,
    running::{RunningThreads, inside_observer},
    work::FlushWork,
};
use crate::{
    memtable::{Generation, State},
    shared::Shared,
    sync::{Mutex, MutexGuard},
    write_state::AfterFailure,
};

/// Writes pending changes to the store below, on the thread that calls it.
pub(crate) struct Flusher<S> {
    pub(crate) shared: Arc<Shared<S>>,
    /// Held by a flush across disk work; lock 3 of the table in `shared.rs`. No reader and no mutation takes
    /// it.
    pub(crate) flush_lock: Mutex<FlushState>,
    /// Held by a repair across disk work; lock 1 of that table. Close does not take it.
    pub(crate) repair_lock: Mutex<()>,
    pub(crate) running: RunningThreads,
    pub(crate) save_schedule: SaveSchedule,
}

/// State that one flush passes to the next one.
#[derive(Default)]
pub(crate) struct FlushState {
    /// A flush that failed and is to be resumed.
    work: Option<FlushWork>,
    /// The number of shapes in the latest generation: the capacity that the next one is allocated with.
    last_size: usize,
    /// The generation that is committed and not published yet.
    ///
    /// Lock 4 of the table in `shared.rs`: it is published on another thread while `work` is being committed.
    pub(crate) committed: Mutex<Option<Committed>>,
}

impl FlushState {
    /// Whether some, and not all, of the changes of a generation are in the store below.
    pub(super) fn is_half_committed(&self) -> bool {
        self.work.as_ref().is_some_and(FlushWork::has_committed)
    }
}

/// When a committed generation is published.
#[derive(Clone, Copy)]
enum Publish {
    AtOnce,
    /// In parallel with the next commit, if that is due by then.
    WithNext,
}

impl<S: ShapeStore> Flusher<S> {
    pub(crate) fn new(shared: Arc<Shared<S>>) -> Self {
        let save_schedule = SaveSchedule::new(shared.options.last_read_save_interval);
        Self {
            shared,
            flush_lock: Mutex::default(),
            repair_lock: Mutex::default(),
            running: RunningThreads::default(),
            save_schedule,
        }
    }

    /// Flushes everything that is accepted when it starts: commit, publish, drop (I1, I2). Resumes the latest
    /// flush if that failed. Returns `None` if nothing is pending. Waits for a flush in progress.
    ///
    /// # Errors
    ///
    /// The error of the store below. The changes stay pending, unless the store rejected them.
    pub(crate) fn flush_once(&self) -> Result<Option<FlushStats>> {
        if self.is_running_here() {
            return Err(inside_observer());
        }
        let _running = self.running.enter();
        self.flush(self.flush_lock.lock(), Publish::AtOnce)
    }

    /// Flushes unless the store is paused. A pause is checked under the flush lock, which pausing waits for,
    /// so no flush begins after `pause` has returned.
    pub(super) fn flush_unless_paused(&self) -> Result<Option<FlushStats>> {
        let flush = self.flush_lock.lock();
        if self.shared.requests.is_paused() { Ok(None) } else { self.flush(flush, Publish::WithNext) }
    }

    /// Whether this thread flushes, publishes or saves for the store. If so, an observer made the current
    /// call on that thread, and a wait for the flush would never end.
    pub(crate) fn is_running_here(&self) -> bool {
        self.running.has_this()
    }

    fn flush(&self, mut flush: MutexGuard<'_, FlushState>, publish: Publish) -> Result<Option<FlushStats>> {
        if let Some(error) = self.shared.overlay.read().writing.stop_error() {
            return Err(error.clone());
        }
        let flushed = self.flush_with(&mut flush, publish);
        let outcome = match &flushed {
            Ok(_) => self.finish_recovery(),
            Err(error) => Err(error.clone()),
        };
        match &outcome {
            Ok(()) => self.record_success(),
            Err(error) => self.record_failure(error),
        }
        drop(flush);
        if let Ok(Some(stats)) = &flushed {
            self.shared.observer.flushed(stats);
        }
        outcome.and(flushed)
    }

    fn flush_with(&self, flush: &mut FlushState, publish: Publish) -> Result<Option<FlushStats>> {
        let FlushState { work, last_size, committed } = flush;
        // A concurrent publish needs a generation that is large enough to be worth a thread, and that has no
        // rejections: these are reconciled before a change that depends on them is committed. A generation
        // with rejections is still here if its publish panicked.
        let min_changes = self.shared.options.concurrent_publish_min_changes;
        let is_joined = |committed: &Committed| committed.is_whole() && committed.changes() >= min_changes;
        let stats = if committed.lock().as_ref().is_some_and(is_joined) {
            let (stats, published) = join(
                || self.commit_next(work, *last_size),
                || {
                    let _running = self.running.enter();
                    self.publish(committed)
                },
            );
            let stats = stats?;
            published?;
            stats
        } else {
            self.publish(committed)?;
            self.commit_next(work, *last_size)?
        };
        let Some(done) = work.take() else { return Ok(None) };
        *last_size = done.generation.len();
        let is_whole = self.mark_committed(committed, done);
        if matches!(publish, Publish::AtOnce) || !is_whole || !self.is_next_due() {
            self.publish(committed)?;
        }
        Ok(stats)
    }

    /// Seals and commits the active generation, or resumes one whose commit failed.
    ///
    /// The generation stays in `work` until it is committed and published, so that a panic of an observer
    /// leaves it to be resumed.
    fn commit_next(&self, work: &mut Option<FlushWork>, last_size: usize) -> Result<Option<FlushStats>> {
        let is_new = work.is_none();
        let work = match work {
            Some(work) => work,
            none => match self.seal(last_size) {
                Some(work) => none.insert(work),
                None => return Ok(None),
            },
        };
        let generation = Arc::clone(&work.generation);
        if is_new && let Some(latencies) = generation.latencies() {
            self.shared.observer.acknowledged(latencies);
        }
        let started_at = Instant::now();
        let mut stats = FlushStats {
            mutations: generation.mutations(),
            changes: generation.slots().iter().filter(|slot| slot.is_change()).count()
                + usize::from(generation.is_reset()),
            bytes: generation.bytes(),
            ..FlushStats::default()
        };
        let activity = Activity::Flush { changes: stats.changes, bytes: stats.bytes };
        let span = self.shared.observer.begin(activity);
        let outcome = self.commit(work);
        stats.took = started_at.elapsed();
        end(span, outcome.as_ref().err());
        outcome?;
        stats.oldest = generation.since().map_or(Duration::ZERO, |since| since.elapsed());
        self.shared.backpressure.drain_rate.flushed(stats.changes, stats.took);
        Ok(Some(stats))
    }

    fn seal(&self, last_size: usize) -> Option<FlushWork> {
        if self.shared.overlay.read().active.is_empty() {
            return None;
        }
        // The flush lock is held, so no other thread seals. The empty generation is allocated before the
        // overlay's lock is taken.
        let capacity = last_size.max(self.shared.options.initial_capacity());
        self.shared.overlay.seal(Generation::with_capacity(capacity)).map(FlushWork::new)
    }

    fn commit(&self, work: &mut FlushWork) -> Result<()> {
        while let Some((changes, through)) = work.next() {
            let batch = Batch { changes, through };
            match self.commit_batch(&batch) {
                Ok(()) => {
                    let wants_changes = self.shared.observer.wants_committed();
                    let batch = work.committed(batch);
                    if wants_changes {
                        batch.changes.iter().for_each(|change| self.shared.observer.committed(change));
                    }
                }
                Err(error) if error.kind().remedy() == Remedy::Isolate => {
                    work.isolate(batch.changes, error)?;
                }
                Err(error) => {
                    work.put_back(batch.changes);
                    return Err(error);
                }
            }
        }
        Ok(())
    }

    /// Commits one batch below. A panic there is a failure like any other: the batch is retried (C9).
    fn commit_batch(&self, batch: &Batch) -> Result<()> {
        catch_unwind(AssertUnwindSafe(|| self.shared.store.commit(batch)))
            .unwrap_or_else(|panic| Err(panic_error(&*panic)))
    }

    /// Records that a generation is committed: frees capacity, and settles its receipts unless a change was
    /// rejected. The generation before it is published already. Returns whether no change was rejected.
    fn mark_committed(&self, committed: &Mutex<Option<Committed>>, done: FlushWork) -> bool {
        self.shared.overlay.mark_committed();
        let done = done.into_committed();
        let (through, is_whole) = (done.generation.last(), done.is_whole());
        if done.generation.has_cancelled() {
            self.shared.feeds.cancelled(done.generation.first(), through);
        }
        if is_whole {
            // Before a receipt says the same.
            self.publish_durable(&done.generation, &HashSet::new(), Vec::new());
        }
        *committed.lock() = Some(done);
        if is_whole {
            self.shared.durability.settle(through);
        }
        self.shared.backpressure.capacity.raise();
        is_whole
    }

    /// Accepts mutations again once everything that was pending before a repair is published. The counts are
    /// then those of the store below: the repair may have lost shapes.
    fn finish_recovery(&self) -> Result<()> {
        let is_done = |state: &State| state.writing.is_recovering() && state.is_empty();
        if !is_done(&self.shared.overlay.read()) {
            return Ok(());
        }
        let counts = self.shared.store.counts()?;
        let mut state = self.shared.overlay.write();
        state.reset_counts(counts);
        state.writing.recovered();
        self.shared.feeds.repaired(state.last);
        drop(state);
        self.shared.backpressure.capacity.raise();
        Ok(())
    }

    fn record_success(&self) {
        if self.shared.overlay.read().writing.flush_error().is_some() {
            self.shared.overlay.write().writing.flush_succeeded();
        }
    }

    /// Records a failed flush, and stops writing if no retry helps (C9). The caller holds the flush lock.
    pub(super) fn record_failure(&self, error: &Error) {
        let backoff = self.shared.options.backoff;
        let after = self.shared.overlay.write().writing.flush_failed(error, backoff, Instant::now());
        match after {
            AfterFailure::Stop => {
                self.shared.durability.stop(error.clone());
                self.shared.backpressure.capacity.raise();
                self.shared.observer.stopped(error);
            }
            AfterFailure::Retry { failures, delay } => {
                self.shared.backpressure.drain_rate.failed(delay);
                self.shared.observer.retrying(error, failures, delay);
            }
        }
    }
}
