use std::{
    sync::{Arc, Weak},
    time::{Duration, Instant},
};

use shape_meta_core::{
    AttemptContext, AwaitShapes, CloseReport, Error, ErrorKind, FlushStats, GetOrAdd, Handle, Health, Key,
    LookUp, MutateError, MutateShapes, Mutation, NewShape, NotDurable, Observer, Pending, ReadShapes,
    Receipt, Repaired, Reservation, Result, ShapeStore, ShapeWaits, Signal, StoreControl, Submitted,
    SweepProgress, Usage,
    feed::{Feed, FeedError, FeedOptions, FeedStage, Feeds},
};

use crate::{
    BufferOptions, FlusherPool,
    flush::Flusher,
    flusher_pool::{Registration, Step},
    lifecycle::Closer,
    shared::Shared,
};

/// A store with a write buffer: mutations are validated and visible to every reader at once, and a background
/// flusher writes them to the store below in batches.
///
/// Share it behind an [`Arc`]. Dropping it flushes pending changes within
/// [`BufferOptions::drop_timeout`]; [`close`](StoreControl::close) does the same and reports the outcome.
pub struct Buffered<S: ShapeStore + 'static> {
    pub(crate) shared: Arc<Shared<S>>,
    pub(crate) flusher: Arc<Flusher<S>>,
    closer: Arc<Closer<S>>,
}

impl<S: ShapeStore + 'static> Buffered<S> {
    /// Puts a buffer over this store, which nothing else may change from now on.
    ///
    /// Starts a flusher thread, unless the options turn [`background_flush`](BufferOptions::background_flush)
    /// off or name shared [`flushers`](BufferOptions::flushers).
    ///
    /// # Errors
    ///
    /// If the store cannot be read, or the thread cannot be started.
    pub fn new(inner: S, options: BufferOptions, observer: Arc<dyn Observer>) -> Result<Self> {
        Self::with_feeds(inner, options, observer, Arc::default())
    }

    /// As [`new`](Self::new), with feeds that were subscribed to before: those of a standby, which go on.
    ///
    /// # Errors
    ///
    /// Those of `new`.
    pub fn with_feeds(
        inner: S,
        mut options: BufferOptions,
        observer: Arc<dyn Observer>,
        feeds: Arc<Feeds>,
    ) -> Result<Self> {
        let flushers = options.flushers.take();
        let shared = Arc::new(Shared::new(inner, options, observer, feeds)?);
        let flusher = Arc::new(Flusher::new(Arc::clone(&shared)));
        let registration = match shared.options.background_flush {
            true => Some(register(&flusher, flushers)?),
            false => None,
        };
        if let Some(registration) = &registration {
            shared.requests.set_task(registration.task());
        }
        let closer = Arc::new(Closer::new(&shared, &flusher, registration));
        Ok(Self { shared, flusher, closer })
    }

    /// Returns the store below, which has everything but the pending changes.
    pub fn inner(&self) -> &S {
        &self.shared.store
    }

    /// Flushes everything accepted so far on this thread, in one transaction. Returns `None` if nothing is
    /// pending.
    ///
    /// Waits for a flush in progress. A pause does not hold it up.
    ///
    /// # Errors
    ///
    /// The error of the store below. The changes stay pending, unless the store rejected them for good.
    pub fn flush_once(&self) -> Result<Option<FlushStats>> {
        self.flusher.flush_once()
    }

    /// Saves a part of the last-read times on this thread, as the flusher does every
    /// [`last_read_save_interval`](BufferOptions::last_read_save_interval) and close does at the end.
    ///
    /// # Errors
    ///
    /// The error of the store below. The same times are saved again the next time.
    pub fn save_reads(&self) -> Result<SweepProgress> {
        self.flusher.save_reads()
    }

    /// Whether background flushing is paused.
    pub fn is_paused(&self) -> bool {
        self.shared.requests.is_paused()
    }

    /// Flushes on this thread until the receipt is settled, a flush fails, or the time is over.
    fn flush_here(&self, receipt: &Receipt, timeout: Duration) {
        let started_at = Instant::now();
        while !self.is_paused() && self.shared.durability.settled() < receipt.seq() {
            if self.flush_once().is_err() || started_at.elapsed() >= timeout {
                return;
            }
        }
    }
}

fn not_caught_up(error: NotDurable) -> Error {
    let message = format!(
        "pending changes could not be flushed, and the change log has only what is committed: {error}; \
         subscribe again later, or subscribe from now on and list the shapes anew"
    );
    Error::new(ErrorKind::Busy, message).with_source(error)
}

/// Registers with a shared pool, or with a pool of one thread. The first step is due when last-read times
/// are: a store that is only read has those to save.
fn register<S: ShapeStore + 'static>(
    flusher: &Arc<Flusher<S>>,
    flushers: Option<FlusherPool>,
) -> Result<Registration> {
    let due = flusher.save_schedule.next_save();
    let step: Weak<Flusher<S>> = Arc::downgrade(flusher);
    let pool = flushers.unwrap_or_else(FlusherPool::of_one_store);
    pool.register(step as Weak<dyn Step>, due).map_err(|error| {
        let message =
            format!("the flusher thread could not be started: {error}; the store was not opened; try again");
        Error::new(ErrorKind::Io, message).with_source(error)
    })
}

#[deny(clippy::missing_trait_methods)]
impl<S: ShapeStore + 'static> AwaitShapes for Buffered<S> {
    fn shape_waits(&self) -> Arc<ShapeWaits> {
        Arc::clone(&self.shared.waits)
    }

    fn shown_receipt(&self) -> Option<Receipt> {
        Some(self.shared.receipt_up_to(self.shared.overlay.last()))
    }

    /// Where it is polled: a layer has no other thread for reads.
    fn look_up_elsewhere(&self, _: &Handle) -> Option<LookUp> {
        None
    }
}

#[deny(clippy::missing_trait_methods)]
impl<S: ShapeStore + 'static> MutateShapes for Buffered<S> {
    fn get(&self, key: &Key) -> Result<Option<GetOrAdd>> {
        self.shared.find(key)
    }

    fn try_mutate(&self, mutation: &Mutation) -> Result<Receipt, MutateError> {
        self.attempt(mutation, AttemptContext::ONLY)
    }

    fn try_get_or_add(&self, shape: &NewShape) -> Result<GetOrAdd, MutateError> {
        self.shared.get_or_add(shape, AttemptContext::ONLY)
    }

    fn attempt(&self, mutation: &Mutation, attempt: AttemptContext) -> Result<Receipt, MutateError> {
        let outcome = self.shared.mutate(mutation, attempt);
        if matches!(mutation, Mutation::Reset) && !self.shared.options.background_flush {
            self.flusher.condense_if_idle();
        }
        outcome
    }

    fn attempt_get_or_add(&self, shape: &NewShape, attempt: AttemptContext) -> Result<GetOrAdd, MutateError> {
        self.shared.get_or_add(shape, attempt)
    }

    /// At once, in memory, and from the store below for what is not pending.
    fn submit(&self, mutation: &Mutation, attempt: AttemptContext) -> Submitted<Receipt> {
        Submitted::Done(self.shared.mutate(mutation, attempt))
    }

    fn submit_get_or_add(&self, shape: &NewShape, attempt: AttemptContext) -> Submitted<GetOrAdd> {
        Submitted::Done(self.shared.get_or_add(shape, attempt))
    }

    fn capacity_signal(&self) -> Option<&Signal> {
        Some(&self.shared.backpressure.capacity)
    }
}

#[deny(clippy::missing_trait_methods)]
impl<S: ShapeStore + 'static> StoreControl for Buffered<S> {
    /// Without a background flusher, the caller has to call [`flush_once`](Buffered::flush_once).
    fn request_flush(&self) -> Receipt {
        self.shared.request_flush()
    }

    /// Without a background flusher, this thread flushes.
    ///
    /// An observer that calls this on the flusher's thread gets `TimedOut` at once: nothing is flushed before
    /// the observer returns.
    fn flush(&self, timeout: Duration) -> Result<(), NotDurable> {
        let receipt = self.shared.request_flush();
        if self.flusher.is_running_here() {
            receipt.wait_durable(Duration::ZERO)
        } else if !self.shared.options.background_flush {
            self.flush_here(&receipt, timeout);
            receipt.wait_durable(Duration::ZERO)
        } else {
            receipt.wait_durable(timeout)
        }
    }

    /// Holds up flushes for size, for age and on request. Waits for a flush in progress. Has no effect once
    /// the store is being closed.
    fn pause(&self) {
        let state = self.shared.overlay.read();
        if state.writing.is_closing() {
            return;
        }
        // Under the lock, under which close resumes.
        self.shared.requests.set_paused(true);
        drop(state);
        self.flusher.settle_in_progress();
    }

    fn resume(&self) {
        self.shared.requests.set_paused(false);
        self.shared.request_flush();
    }

    /// After a sequence number that memory does not reach back to, it flushes first, and waits for a flush in
    /// progress: the change log has what is committed. Without a background flusher, this thread flushes.
    fn subscribe(&self, options: &FeedOptions) -> Result<Feed, FeedError> {
        // Read before: what becomes durable in between only makes the position lower than it could be.
        let durable = self.shared.durability.settled();
        let (mut feed, last) = {
            let state = self.shared.overlay.read();
            let opened_at = self.shared.opened_at;
            (self.shared.feeds.subscribe(options, state.last, opened_at)?, state.last)
        };
        if options.gives() == FeedStage::Durable {
            feed.begin_at_most_after(durable);
        }
        if feed.is_complete() {
            return Ok(feed);
        }
        feed.skip_through(last);
        let current = last.max(self.shared.opened_at.next());
        if options.begins_after().is_some_and(|after| after < current) {
            self.flush(options.longest_catch_up()).map_err(not_caught_up)?;
            // No flush is in progress: of each commit in the change log it is known what it has left out and
            // what was rejected of it.
            let _between = self.flusher.between_flushes()?;
            self.shared.feeds.check_not_cancelled(options)?;
            feed.catch_up_from(&self.shared.store, options, current)?;
        }
        Ok(feed)
    }

    fn pending(&self) -> Pending {
        self.shared.pending()
    }

    fn drain_rate(&self) -> f64 {
        self.shared.backpressure.drain_rate.rate()
    }

    fn health(&self) -> Health {
        self.shared.health()
    }

    fn usage(&self) -> Usage {
        let mut usage = self.shared.store.resource_usage();
        usage.shapes = self.counts().ok();
        usage
    }

    /// Mutations are refused as busy until pending changes are written. If those cannot be written, mutations
    /// stay refused until a later flush, which is retried, has written them. Waits for a flush and another
    /// repair in progress. A close outranks it.
    fn repair(&self) -> Result<Repaired> {
        self.flusher.repair()
    }

    /// Never waits for a flush. Takes the overlay's lock for a few look-ups at a time.
    fn reserve_handles(&self, handles: &[Handle]) -> Result<Reservation> {
        self.shared.reserve_handles(handles)
    }

    /// Also while paused. Does not wait for other stores of the same [`FlusherPool`], however busy it is.
    /// Ends a flusher thread of its own.
    ///
    /// The timeout holds whatever else goes on. A write, a save of last-read times or a repair that hangs in
    /// the store below is left on its thread. Its changes are reported as unwritten, although it may still
    /// succeed. While the first close is running, another one waits for it up to its own timeout, and then
    /// reports what is written by then.
    ///
    /// An observer may call this, or drop the store, on the flusher's thread: it returns at once, and the
    /// close goes on in the background when the observer has returned.
    fn close(&self, timeout: Duration) -> CloseReport {
        self.closer.close(timeout)
    }
}

impl<S: ShapeStore + 'static> Drop for Buffered<S> {
    fn drop(&mut self) {
        self.close(self.shared.options.drop_timeout);
    }
}
