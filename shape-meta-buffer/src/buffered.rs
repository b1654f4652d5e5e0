use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use parking_lot::Mutex;
use shape_meta_core::{
    ApplyChanges, Error, ErrorKind, Flushed, GetOrAdd, MutateError, MutateShapes, Mutation, NewShape,
    NotDurable, Observer, Progress, Receipt, Result, Signal,
};

use crate::{
    BufferOptions, Health, Pending, close::Closing, drain::Drain, flusher::Flusher, hashing::Hashing,
    overlay::Overlay, shared::Shared,
};

/// A store with a write buffer: mutations are validated and visible to every reader at once, and a
/// background flusher writes them to the store below in batches.
///
/// Share it behind an [`Arc`]. Dropping it flushes what is pending, within
/// [`BufferOptions::drop_timeout`]; [`close`](Self::close) does so and tells.
pub struct Buffered<S: ApplyChanges + 'static> {
    pub(crate) shared: Arc<Shared<S>>,
    pub(crate) flusher: Mutex<Option<Flusher>>,
    pub(crate) closing: Mutex<Closing>,
}

impl<S: ApplyChanges + 'static> Buffered<S> {
    /// Over this store, which must not be changed by anyone else from now on. Starts the flusher thread,
    /// unless the options say that there is none.
    ///
    /// # Errors
    ///
    /// If the store cannot be read, or the thread cannot be started.
    pub fn new(inner: S, options: BufferOptions, observer: Arc<dyn Observer>) -> Result<Self> {
        let (counts, last) = (inner.counts()?, inner.last_seq()?);
        let (wake, mailbox) = flume::bounded(1);
        let shared = Arc::new(Shared {
            inner,
            overlay: Overlay::new(counts, last, options.max_changes),
            hashing: Hashing::default(),
            observer,
            progress: Arc::new(Progress::new(last)),
            room: Signal::new(),
            drain: Drain::default(),
            turn: Mutex::default(),
            trouble: Mutex::default(),
            paused: AtomicBool::new(false),
            requested: AtomicBool::new(false),
            wake,
            options,
        });
        let flusher = if shared.options.manual {
            None
        } else {
            let flusher = Flusher::start(Arc::clone(&shared), mailbox).map_err(|error| {
                Error::new(
                    ErrorKind::Io,
                    format!("the flusher thread could not be started: {error}; the store was not opened"),
                )
                .with_source(error)
            })?;
            Some(flusher)
        };
        Ok(Self { shared, flusher: Mutex::new(flusher), closing: Mutex::default() })
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
    pub fn flush_once(&self) -> Result<Option<Flushed>> {
        self.shared.flush_once()
    }

    /// Waits until everything accepted before this call is on disk, and hastens it.
    ///
    /// # Errors
    ///
    /// [`NotDurable::TimedOut`] if it is not by then, because the disk is slow or failing
    /// ([`health`](Self::health) says which), or flushing is paused; [`NotDurable::Stopped`] if nothing
    /// will be written any more. What was rejected on the way is told by its own receipt.
    pub fn flush(&self, timeout: Duration) -> Result<(), NotDurable> {
        let receipt = self.shared.request_flush();
        let outcome = if self.shared.options.manual {
            self.flush_here(&receipt, timeout);
            receipt.wait_durable(Duration::ZERO)
        } else {
            receipt.wait_durable(timeout)
        };
        match outcome {
            // The rest is on disk; whoever made the change is told by its own receipt.
            Err(NotDurable::Rejected(_) | NotDurable::Forgotten) => Ok(()),
            outcome => outcome,
        }
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

    /// [`flush`](Self::flush) as a future of any runtime. In manual mode somebody else has to flush.
    ///
    /// # Errors
    ///
    /// [`NotDurable::Stopped`] if nothing will be written any more.
    pub async fn flush_async(&self) -> Result<(), NotDurable> {
        let receipt = self.shared.request_flush();
        match receipt.durable().await {
            Err(NotDurable::Rejected(_) | NotDurable::Forgotten) => Ok(()),
            outcome => outcome,
        }
    }

    /// Holds flushing up, by size, by age and by request. Mutations are accepted up to the bound. A flush
    /// that is under way is waited for.
    pub fn pause(&self) {
        self.shared.paused.store(true, Ordering::Release);
        drop(self.shared.turn.lock());
    }

    /// Goes on after [`pause`](Self::pause). What was held up is flushed at once.
    pub fn resume(&self) {
        self.shared.paused.store(false, Ordering::Release);
        self.shared.request_flush();
    }

    /// Whether flushing is held up.
    pub fn is_paused(&self) -> bool {
        self.shared.paused.load(Ordering::Acquire)
    }

    /// What is acknowledged and not on disk yet.
    pub fn pending(&self) -> Pending {
        self.shared.pending()
    }

    /// The measured rate at which flushes write, in changes a second; zero before the first.
    pub fn drain_rate(&self) -> f64 {
        self.shared.drain.rate()
    }

    /// Whether writing goes well, and if not, why and since when.
    pub fn health(&self) -> Health {
        Health::of(&self.shared)
    }
}

#[deny(clippy::missing_trait_methods)]
impl<S: ApplyChanges + 'static> MutateShapes for Buffered<S> {
    fn try_mutate(&self, mutation: &Mutation) -> Result<Receipt, MutateError> {
        self.shared.mutate(mutation)
    }

    fn try_get_or_add(&self, shape: &NewShape) -> Result<GetOrAdd, MutateError> {
        self.shared.get_or_add(shape)
    }

    fn room(&self) -> Option<&Signal> {
        Some(&self.shared.room)
    }
}

impl<S: ApplyChanges + 'static> Drop for Buffered<S> {
    fn drop(&mut self) {
        self.close(self.shared.options.drop_timeout);
    }
}
