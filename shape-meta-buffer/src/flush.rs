use std::{
    any::Any,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
    time::{Duration, Instant},
};

use shape_meta_core::{Activity, ApplyChanges, Batch, Error, ErrorKind, Flushed, Remedy, Result, Span};

use crate::{
    flushers::Step,
    generation::Generation,
    shared::Shared,
    sync::{MutexGuard, atomic::Ordering},
    work::{Rejection, Work},
};

/// What whoever flushes carries from one flush to the next.
#[derive(Default)]
pub(crate) struct Turn {
    /// A flush that failed, to be gone on with.
    work: Option<Work>,
    /// The size of the latest generation: the room that the next one is given ahead.
    size: usize,
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

impl<S: ApplyChanges> Shared<S> {
    /// One flush: everything that is accepted now, in one transaction; commit, publish, drop (I1, I2). If
    /// the last one failed, that one is gone on with. `None` if nothing is pending.
    pub(crate) fn flush_once(&self) -> Result<Option<Flushed>> {
        self.flush_in(self.turn.lock())
    }

    /// The same, unless flushing is held up. That is asked with the turn in hand: pausing waits for the turn, so
    /// no flush begins after it has returned.
    fn flush_unless_paused(&self) -> Result<Option<Flushed>> {
        let turn = self.turn.lock();
        if self.paused.load(Ordering::Acquire) { Ok(None) } else { self.flush_in(turn) }
    }

    fn flush_in(&self, mut turn: MutexGuard<'_, Turn>) -> Result<Option<Flushed>> {
        if let Some(trouble) = &*self.trouble.lock()
            && trouble.stopped
        {
            return Err(trouble.error.clone());
        }
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
        let mut flushed = Flushed {
            mutations: generation.mutations(),
            changes: generation.slots().iter().filter(|slot| slot.is_change()).count()
                + usize::from(generation.is_reset()),
            bytes: generation.bytes(),
            ..Flushed::default()
        };
        let span = self.observer.begin(Activity::Flush { changes: flushed.changes, bytes: flushed.bytes });
        let outcome = self.commit(work);
        flushed.took = begun.elapsed();
        end(span, outcome.as_ref().err());
        if let Err(error) = outcome {
            self.failed(&error);
            return Err(error);
        }
        flushed.oldest = generation.since().map_or(Duration::ZERO, |since| since.elapsed());
        let rejections = self.overlay.drop_sealed(|state| work.settle_rejected(state, &self.hashing));
        let through = generation.last();
        (turn.work, turn.size) = (None, generation.len());
        *self.trouble.lock() = None;
        self.drain.flushed(flushed.changes, flushed.took);
        for rejection in &rejections {
            for seq in &rejection.mutations {
                self.progress.reject(*seq, rejection.error.clone());
            }
        }
        self.progress.settle(through);
        self.room.raise();
        drop(turn);
        for Rejection { change, error, mutations } in &rejections {
            let handle = change.entry().map(|entry| entry.handle());
            self.observer.rejected(handle, mutations, error);
        }
        self.observer.flushed(&flushed);
        Ok(Some(flushed))
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
            match self.apply(&batch) {
                Ok(()) => {
                    work.done(through);
                    if self.observer.wants_committed() {
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
    fn apply(&self, batch: &Batch) -> Result<()> {
        catch_unwind(AssertUnwindSafe(|| self.inner.apply(batch)))
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
        if state.sealed.is_some() {
            return Some(Instant::now());
        }
        let since = state.active.since()?;
        let is_asked = self.asked.load(Ordering::Acquire) > self.progress.settled().get();
        // An age that no moment has means that it is never due for its age.
        if is_asked || self.is_large(&state) {
            Some(Instant::now())
        } else {
            since.checked_add(self.options.flush_age)
        }
    }
}

impl<S: ApplyChanges> Step for Shared<S> {
    fn step(&self) -> Option<Instant> {
        let due = self.flush_if_due();
        // After the flush, which somebody may wait for.
        let save = self.save_reads_if_due();
        due.into_iter().chain(save).min()
    }
}

impl<S: ApplyChanges> Shared<S> {
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
        if self.overlay.read().sealed.is_some() {
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
