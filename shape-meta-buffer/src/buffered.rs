use std::{
    sync::{Arc, OnceLock, Weak},
    time::{Duration, Instant},
};

use shape_meta_core::{
    AttemptContext, CloseReport, DurabilityTracker, Error, ErrorKind, FlushStats, GetOrAdd, Health,
    MutateError, MutateShapes, Mutation, NewShape, NotDurable, Observer, Pending, ReadShapes, Receipt,
    Repaired, Result, ShapeStore, Signal, StoreControl, SweepProgress, Usage,
};

use crate::{
    BufferOptions, FlusherPool,
    flush::DrainRate,
    flush::NextSave,
    flusher_pool::{Registration, Step},
    memtable::Hashing,
    memtable::Overlay,
    shared::Shared,
    sync::{
        Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

/// A store with a write buffer: mutations are validated and visible to every reader at once, and a
/// background flusher writes them to the store below in batches.
///
/// Share it behind an [`Arc`]. Dropping it flushes what is pending, within
/// [`BufferOptions::drop_timeout`]; [`close`](StoreControl::close) does so and tells.
pub struct Buffered<S: ShapeStore + 'static> {
    pub(crate) shared: Arc<Shared<S>>,
    /// Where it is flushed, until it is closed; none in manual mode.
    pub(crate) seat: Mutex<Option<Registration>>,
    /// How closing has ended, so that the second call says the same.
    pub(crate) closed_with: Mutex<Option<CloseReport>>,
}

impl<S: ShapeStore + 'static> Buffered<S> {
    /// Over this store, which must not be changed by anyone else from now on. Starts a flusher thread,
    /// unless the options say that there is none, or that others flush it.
    ///
    /// # Errors
    ///
    /// If the store cannot be read, or the thread cannot be started.
    pub fn new(inner: S, mut options: BufferOptions, observer: Arc<dyn Observer>) -> Result<Self> {
        let (counts, last) = (inner.counts()?, inner.last_seq()?);
        let flushers = options.flushers.take();
        let shared = Arc::new(Shared {
            inner,
            overlay: Overlay::new(counts, last, &options),
            hashing: Hashing::default(),
            progress: Arc::new(DurabilityTracker::observed(last, Arc::clone(&observer))),
            timed: observer.wants_acknowledged(),
            observer,
            room: Signal::new(),
            drain: DrainRate::default(),
            turn: Mutex::default(),
            committed: Mutex::default(),
            trouble: Mutex::default(),
            condition: Mutex::default(),
            paused: AtomicBool::new(false),
            requested: AtomicBool::new(false),
            asked: AtomicU64::new(0),
            next_save: NextSave::after(options.last_read_save_interval),
            task: OnceLock::new(),
            options,
        });
        let seat = if !shared.options.background_flush {
            None
        } else {
            // A store that is only read has last-read times to save.
            let due = shared.next_save.get();
            let store: Weak<Shared<S>> = Arc::downgrade(&shared);
            let seat = flushers.unwrap_or_else(FlusherPool::of_one_store).seat(store as Weak<dyn Step>, due);
            Some(seat.map_err(|error| {
                Error::new(
                    ErrorKind::Io,
                    format!("the flusher thread could not be started: {error}; the store was not opened"),
                )
                .with_source(error)
            })?)
        };
        if let Some(seat) = &seat {
            shared.task.get_or_init(|| Arc::clone(seat.task()));
        }
        Ok(Self { shared, seat: Mutex::new(seat), closed_with: Mutex::default() })
    }

    /// The store below. It lags behind what this one shows by what is pending.
    pub fn inner(&self) -> &S {
        &self.shared.inner
    }

    /// One flush, on this thread: all that is accepted when it begins, in one transaction. `None` if
    /// nothing is pending. Not held up by a pause. Waits for a flush that is under way.
    ///
    /// # Errors
    ///
    /// What the store below says. The changes stay pending, unless it refused them for good.
    pub fn flush_once(&self) -> Result<Option<FlushStats>> {
        self.shared.flush_once()
    }

    /// Saves a part of the last-read times, on this thread: what the flusher does every
    /// [`last_read_save_interval`](BufferOptions::last_read_save_interval), and closing at the end.
    ///
    /// # Errors
    ///
    /// What the store below says. The same times are tried again the next time.
    pub fn save_reads(&self) -> Result<SweepProgress> {
        self.shared.save_reads()
    }

    /// Flushes on this thread, since there is no other, until the receipt is settled or it makes no sense
    /// to go on.
    fn flush_here(&self, receipt: &Receipt, timeout: Duration) {
        let begun = Instant::now();
        while !self.is_paused() && self.shared.progress.settled() < receipt.seq() {
            if self.flush_once().is_err() || begun.elapsed() >= timeout {
                return;
            }
        }
    }

    /// Whether flushing is held up.
    pub fn is_paused(&self) -> bool {
        self.shared.paused.load(Ordering::Acquire)
    }
}

#[deny(clippy::missing_trait_methods)]
impl<S: ShapeStore + 'static> MutateShapes for Buffered<S> {
    fn try_mutate(&self, mutation: &Mutation) -> Result<Receipt, MutateError> {
        self.shared.mutate(mutation, AttemptContext::ONLY)
    }

    fn try_get_or_add(&self, shape: &NewShape) -> Result<GetOrAdd, MutateError> {
        self.shared.get_or_add(shape, AttemptContext::ONLY)
    }

    fn attempt(&self, mutation: &Mutation, attempt: AttemptContext) -> Result<Receipt, MutateError> {
        self.shared.mutate(mutation, attempt)
    }

    fn attempt_get_or_add(&self, shape: &NewShape, attempt: AttemptContext) -> Result<GetOrAdd, MutateError> {
        self.shared.get_or_add(shape, attempt)
    }

    fn room(&self) -> Option<&Signal> {
        Some(&self.shared.room)
    }
}

#[deny(clippy::missing_trait_methods)]
impl<S: ShapeStore + 'static> StoreControl for Buffered<S> {
    /// In manual mode somebody has to call [`flush_once`](Buffered::flush_once).
    fn request_flush(&self) -> Receipt {
        self.shared.request_flush()
    }

    /// In manual mode this thread flushes.
    fn flush(&self, timeout: Duration) -> Result<(), NotDurable> {
        let receipt = self.shared.request_flush();
        if !self.shared.options.background_flush {
            self.flush_here(&receipt, timeout);
            receipt.wait_durable(Duration::ZERO)
        } else {
            receipt.wait_durable(timeout)
        }
    }

    /// By size, by age and by request. A flush that is under way is waited for.
    fn pause(&self) {
        self.shared.paused.store(true, Ordering::Release);
        let _turn = self.shared.turn.lock();
        // If that panics, it is tried again with the next flush; until then, reads find it in the overlay.
        let _ = self.shared.publish();
    }

    fn resume(&self) {
        self.shared.paused.store(false, Ordering::Release);
        self.shared.request_flush();
    }

    fn pending(&self) -> Pending {
        self.shared.pending()
    }

    fn drain_rate(&self) -> f64 {
        self.shared.drain.rate()
    }

    fn health(&self) -> Health {
        self.shared.health()
    }

    fn usage(&self) -> Usage {
        let mut usage = self.shared.inner.resource_usage();
        usage.shapes = self.counts().ok();
        usage
    }

    /// Mutations are refused as busy meanwhile. What was pending is written before it returns.
    fn repair(&self) -> Result<Repaired> {
        let closed_with = self.closed_with.lock();
        if closed_with.is_some() {
            return Err(Error::closed());
        }
        self.shared.repair()
    }

    /// Also while paused, and however busy the flushers are that it shares with other stores: it does not
    /// wait for those. A write that hangs in the store below is not waited for longer; what it was to
    /// write is reported as unwritten, although it may still succeed. Ends its own flusher thread.
    fn close(&self, timeout: Duration) -> CloseReport {
        self.close_once(timeout)
    }
}

impl<S: ShapeStore + 'static> Drop for Buffered<S> {
    fn drop(&mut self) {
        self.close(self.shared.options.drop_timeout);
    }
}
