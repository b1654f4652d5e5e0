mod drain_rate;
mod join;
mod last_reads;
mod work;

pub(crate) use drain_rate::DrainRate;
pub(crate) use last_reads::NextSave;
pub(crate) use work::Committed;

use join::join;
use work::{Rejection, Work};

use std::{
    any::Any,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
    time::{Duration, Instant},
};

use shape_meta_core::{Activity, Batch, Error, ErrorKind, FlushStats, Remedy, Result, ShapeStore, Span};

use crate::{
    flusher_pool::Step,
    memtable::Generation,
    memtable::State,
    shared::Shared,
    sync::{MutexGuard, atomic::Ordering},
};

/// What whoever flushes carries from one flush to the next.
#[derive(Default)]
pub(crate) struct Turn {
    /// A flush that failed, to be gone on with.
    work: Option<Work>,
    /// The size of the latest generation: the room that the next one is given ahead.
    size: usize,
}

/// What happens to a flush that is committed.
#[derive(Clone, Copy)]
enum Then {
    Publish,
    /// It may be left to the next flush, which publishes it beside its own commit.
    GoOn,
}

/// Why flushes fail at the moment.
#[derive(Clone, Debug)]
pub(crate) struct Trouble {
    pub(crate) since: Instant,
    pub(crate) error: Error,
    pub(crate) failures: u32,
    /// When it is tried again.
    pub(crate) retry_at: Instant,
    pub(crate) stopped: bool,
}

impl<S: ShapeStore> Shared<S> {
    /// One flush: everything that is accepted now, in one transaction; commit, publish, drop (I1, I2). If
    /// the last one failed, that one is gone on with. `None` if nothing is pending.
    pub(crate) fn flush_once(&self) -> Result<Option<FlushStats>> {
        self.flush_in(self.turn.lock(), Then::Publish)
    }

    /// The same, unless flushing is held up. That is asked with the turn in hand: pausing waits for the turn, so
    /// no flush begins after it has returned.
    ///
    /// If the next one is due by then, this one is left committed, and published beside the next commit.
    fn flush_unless_paused(&self) -> Result<Option<FlushStats>> {
        let turn = self.turn.lock();
        if self.paused.load(Ordering::Acquire) { Ok(None) } else { self.flush_in(turn, Then::GoOn) }
    }

    fn flush_in(&self, mut turn: MutexGuard<'_, Turn>, then: Then) -> Result<Option<FlushStats>> {
        if let Some(trouble) = &*self.trouble.lock()
            && trouble.stopped
        {
            return Err(trouble.error.clone());
        }
        let outcome = self.flush_with(&mut turn, then);
        match &outcome {
            Ok(_) => *self.trouble.lock() = None,
            Err(error) => self.failed(error),
        }
        drop(turn);
        if let Ok(Some(flushed)) = &outcome {
            self.observer.flushed(flushed);
        }
        outcome
    }

    fn flush_with(&self, turn: &mut Turn, then: Then) -> Result<Option<FlushStats>> {
        // It must be worth a thread; and what was rejected of it is put right first (a publish that panicked may
        // have left that), so that nothing which rests on it is committed.
        let is_beside = |committed: &Committed| {
            committed.is_whole() && committed.changes() >= self.options.concurrent_publish_min_changes
        };
        let flushed = if self.committed.lock().as_ref().is_some_and(is_beside) {
            let (flushed, published) = join(|| self.commit_next(turn), || self.publish());
            let flushed = flushed?;
            published?;
            flushed
        } else {
            self.publish()?;
            self.commit_next(turn)?
        };
        let Some(work) = turn.work.take() else { return Ok(None) };
        self.committed(turn, work);
        if matches!(then, Then::Publish) || !self.may_go_on() {
            self.publish()?;
        }
        Ok(flushed)
    }

    /// Commits the next generation, or goes on with one that could not be committed. It stays in its place in
    /// `turn`.
    fn commit_next(&self, turn: &mut Turn) -> Result<Option<FlushStats>> {
        let room = turn.size.max(self.options.room_ahead());
        let is_new = turn.work.is_none();
        // It stays in its place until it is done, so that the panic of an observer leaves it to be gone on
        // with.
        let work = match &mut turn.work {
            Some(work) => work,
            none => match self.seal(room) {
                Some(work) => none.insert(work),
                None => return Ok(None),
            },
        };
        let generation = Arc::clone(&work.generation);
        if is_new && let Some(latencies) = generation.latencies() {
            self.observer.acknowledged(latencies);
        }
        let begun = Instant::now();
        let mut flushed = FlushStats {
            mutations: generation.mutations(),
            changes: generation.slots().iter().filter(|slot| slot.is_change()).count()
                + usize::from(generation.is_reset()),
            bytes: generation.bytes(),
            ..FlushStats::default()
        };
        let span = self.observer.begin(Activity::Flush { changes: flushed.changes, bytes: flushed.bytes });
        let outcome = self.commit(work);
        flushed.took = begun.elapsed();
        end(span, outcome.as_ref().err());
        outcome?;
        flushed.oldest = generation.since().map_or(Duration::ZERO, |since| since.elapsed());
        self.drain.flushed(flushed.changes, flushed.took);
        Ok(Some(flushed))
    }

    /// All of a generation is committed, and the one before is published.
    fn committed(&self, turn: &mut Turn, work: Work) {
        turn.size = work.generation.len();
        self.overlay.committed();
        let committed = work.into_committed();
        let (through, is_whole) = (committed.generation.last(), committed.is_whole());
        *self.committed.lock() = Some(committed);
        // Before anybody who waited for it goes on.
        *self.trouble.lock() = None;
        if is_whole {
            self.progress.settle(through);
        }
        self.room.raise();
    }

    /// Whether the next flush may begin before the latest one is published: it is due, and nothing that was
    /// rejected has to be put right first.
    fn may_go_on(&self) -> bool {
        let is_whole = self.committed.lock().as_ref().is_none_or(Committed::is_whole);
        let is_due = |state: &State| self.next_due(state).is_some_and(|due| due <= Instant::now());
        is_whole && is_due(&self.overlay.read())
    }

    /// Publishes what is committed, if anything is, and drops it (I2). Only for whoever has the turn, and on its
    /// behalf.
    pub(crate) fn publish(&self) -> Result<()> {
        let mut place = self.committed.lock();
        // As above, it stays in its place until it is done.
        let Some(committed) = &mut *place else { return Ok(()) };
        for batch in &committed.batches {
            catch_unwind(AssertUnwindSafe(|| self.inner.publish(batch)))
                .map_err(|panic| panicked(&*panic))?;
        }
        let rejections = self.overlay.drop_committed(|state| committed.settle_rejected(state, &self.hashing));
        let through = committed.generation.last();
        let dropped = place.take();
        drop(place);
        for rejection in &rejections {
            for seq in &rejection.mutations {
                self.progress.reject(*seq, rejection.error.clone());
            }
        }
        self.progress.settle(through);
        self.room.raise();
        // Its memory is freed where nobody waits for it.
        drop(dropped);
        for Rejection { change, error, mutations } in &rejections {
            let handle = change.entry().map(|entry| entry.handle());
            self.observer.rejected(handle, mutations, error);
        }
        Ok(())
    }

    fn seal(&self, room: usize) -> Option<Work> {
        if self.overlay.read().active.is_empty() {
            return None;
        }
        // Made before the lock is taken. Nobody else seals: we have the turn.
        self.overlay.seal(Generation::with_capacity(room)).map(Work::new)
    }

    fn commit(&self, work: &mut Work) -> Result<()> {
        while let Some((changes, through)) = work.next() {
            let batch = Batch { changes, through };
            match self.commit_below(&batch) {
                Ok(()) => {
                    let wants = self.observer.wants_committed();
                    let batch = work.done(batch);
                    if wants {
                        batch.changes.iter().for_each(|change| self.observer.committed(change));
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

    /// A panic below is a failure like another one: the batch stays, and is tried again (C9).
    fn commit_below(&self, batch: &Batch) -> Result<()> {
        catch_unwind(AssertUnwindSafe(|| self.inner.commit(batch)))
            .unwrap_or_else(|panic| Err(panicked(&*panic)))
    }

    /// Only whoever has the turn calls this.
    fn failed(&self, error: &Error) {
        let stopped = error.kind().remedy() != Remedy::Retry;
        self.condition.lock().latest = Some((error.clone(), Instant::now()));
        let before = self.trouble.lock().as_ref().map(|trouble| (trouble.since, trouble.failures));
        let (since, before) = before.unwrap_or_else(|| (Instant::now(), 0));
        let (first, longest) = self.options.backoff;
        let next = first.saturating_mul(1 << before.min(20)).min(longest);
        let failures = before.saturating_add(1);
        let retry_at = Instant::now() + next;
        *self.trouble.lock() = Some(Trouble { since, error: error.clone(), failures, retry_at, stopped });
        if stopped {
            // Reads go on from memory; what is pending stays visible, and can be told by close (C9).
            self.shut(error.clone());
            self.progress.stop(error.clone());
            self.room.raise();
            self.observer.stopped(error);
        } else {
            self.drain.failed(next);
            self.observer.retrying(error, failures, next);
        }
    }

    /// When a flush is due for size or age, for another attempt after one that failed, or because it was
    /// asked for and the last one did not come so far: it may have gone on with one that had failed before.
    fn due(&self) -> Option<Instant> {
        if let Some(trouble) = &*self.trouble.lock() {
            return (!trouble.stopped).then_some(trouble.retry_at);
        }
        let state = self.overlay.read();
        if state.is_flushing() {
            return Some(Instant::now());
        }
        self.next_due(&state)
    }

    /// When the active generation is due.
    fn next_due(&self, state: &State) -> Option<Instant> {
        let since = state.active.since()?;
        let is_asked = self.asked.load(Ordering::Acquire) > self.progress.settled().get();
        // An age that no moment has means that it is never due for its age.
        if is_asked || self.is_large(state) {
            Some(Instant::now())
        } else {
            since.checked_add(self.options.flush_interval)
        }
    }
}

impl<S: ShapeStore> Step for Shared<S> {
    fn step(&self) -> Option<Instant> {
        let due = self.flush_if_due();
        // After the flush, which somebody may wait for.
        let save = self.save_reads_if_due();
        due.into_iter().chain(save).min()
    }
}

impl<S: ShapeStore> Shared<S> {
    /// Flushes if it is time to. What is accepted while a failed flush waits for its next attempt is no
    /// reason to hurry; a request is.
    fn flush_if_due(&self) -> Option<Instant> {
        let requested = self.requested.swap(false, Ordering::AcqRel);
        if self.paused.load(Ordering::Acquire) {
            return None;
        }
        if !requested
            && let Some(due) = self.due()
            && due > Instant::now()
        {
            return Some(due);
        }
        if let Err(panic) = catch_unwind(AssertUnwindSafe(|| self.flush_unless_paused())) {
            self.observer_panicked(&*panic);
        }
        self.due()
    }

    /// The store's panics are caught where it is called, so this was an observer's. If it came before the
    /// flush had ended, that is gone on with, but not at once: it may panic again.
    fn observer_panicked(&self, panic: &(dyn Any + Send)) {
        let _turn = self.turn.lock();
        if self.overlay.read().is_flushing() {
            // This tells an observer again.
            let _ = catch_unwind(AssertUnwindSafe(|| self.failed(&panicked(panic))));
        }
    }
}

pub(crate) fn end(span: Option<Box<dyn Span>>, error: Option<&Error>) {
    if let Some(span) = span {
        span.end(error);
    }
}

pub(crate) fn panicked(panic: &(dyn Any + Send)) -> Error {
    let what = panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("no message");
    Error::new(
        ErrorKind::Panicked,
        format!(
            "the store below or an observer panicked ({what}); pending changes are kept and will be written again"
        ),
    )
}
