use std::{
    collections::BTreeMap,
    fmt,
    sync::{Arc, PoisonError},
    time::{Duration, Instant},
};

use crate::{
    DurabilityWait, Error, Observer, Seq, Signal,
    error::RETRY_AFTER,
    sync::{
        Mutex, MutexGuard,
        atomic::{AtomicU64, Ordering},
    },
};

/// How many rejections are kept for receipts that have not read them yet.
const MAX_REJECTIONS: usize = 65_536;

/// The durable watermark: up to which sequence number mutations are settled, and what became of them.
/// Receipts wait for it.
#[derive(Debug, Default)]
pub struct DurabilityTracker {
    /// Every mutation up to this sequence number is durable or rejected.
    settled: AtomicU64,
    exceptions: Mutex<Exceptions>,
    signal: Signal,
    callbacks: Callbacks,
}

/// Takes requests to flush, from receipts that are waited for. For implementors of a layer on top.
pub trait RequestFlush: Send + Sync {
    /// Makes a flush of everything up to this sequence number due at once, without waiting.
    ///
    /// Requests merge. While a flush is in progress, the next one begins when that ends, and takes everything
    /// that was requested and accepted by then.
    fn request_flush(&self, through: Seq);
}

/// What a tracker calls when a receipt is waited for.
#[derive(Default)]
struct Callbacks {
    /// Receives the events of finished waits.
    observer: Option<Arc<dyn Observer>>,
    /// Takes the requests of waits that begin.
    requests: Option<Arc<dyn RequestFlush>>,
}

impl fmt::Debug for Callbacks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Callbacks")
            .field("observer", &self.observer.is_some())
            .field("requests", &self.requests.is_some())
            .finish()
    }
}

#[derive(Debug, Default)]
struct Exceptions {
    rejected: BTreeMap<Seq, Error>,
    /// Rejections up to this sequence number may have been dropped.
    forgotten: Seq,
    stopped: Option<Error>,
}

impl DurabilityTracker {
    /// Returns a tracker of a store in which everything up to `settled` is durable.
    pub fn new(settled: Seq) -> Self {
        Self { settled: AtomicU64::new(settled.get()), ..Self::default() }
    }

    /// The same as [`new`](Self::new). Every finished wait is emitted to this observer.
    pub fn observed(settled: Seq, observer: Arc<dyn Observer>) -> Self {
        let callbacks = Callbacks { observer: Some(observer), requests: None };
        Self { callbacks, ..Self::new(settled) }
    }

    /// Passes the requests of receipts that are waited for to `requests`. Without it, a wait requests
    /// nothing.
    pub fn requesting(mut self, requests: Arc<dyn RequestFlush>) -> Self {
        self.callbacks.requests = Some(requests);
        self
    }

    /// Returns the durable watermark: every mutation up to it is durable or rejected.
    pub fn settled(&self) -> Seq {
        Seq::new(self.settled.load(Ordering::Acquire))
    }

    /// Moves the durable watermark forward to `seq` and wakes the waiters. [`reject`](Self::reject) has to be
    /// called before, for each mutation up to `seq` that was not written.
    pub fn settle(&self, seq: Seq) {
        self.settled.fetch_max(seq.get(), Ordering::AcqRel);
        self.signal.raise();
    }

    /// Records that the store rejected this mutation permanently (C8).
    pub fn reject(&self, seq: Seq, error: Error) {
        let mut exceptions = self.exceptions();
        exceptions.rejected.insert(seq, error);
        if exceptions.rejected.len() > MAX_REJECTIONS
            && let Some((oldest, _)) = exceptions.rejected.pop_first()
        {
            exceptions.forgotten = exceptions.forgotten.max(oldest);
        }
    }

    /// Records that writing has stopped with this error, and wakes the waiters. The first error is kept.
    pub fn stop(&self, error: Error) {
        self.exceptions().stopped.get_or_insert(error);
        self.signal.raise();
    }

    /// Records that writing continues after a [`stop`](Self::stop). A mutation whose receipt has returned
    /// [`NotDurable::Stopped`] may then become durable all the same.
    pub fn resume(&self) {
        self.exceptions().stopped = None;
    }

    /// Returns the outcome of a wait for everything up to `seq`, or `None` while something of it is pending.
    /// A rejection is reported only if it is that of one of the mutations `own`, the first and the last.
    pub(crate) fn outcome(&self, seq: Seq, own: Option<(Seq, Seq)>) -> Option<Result<(), NotDurable>> {
        // Lock before loading the watermark: a thread that sees a stop under the lock then also sees
        // everything that was settled before the stop, and does not report a durable mutation as lost.
        let exceptions = self.exceptions();
        let settled = self.settled() >= seq;
        let rejected = |(first, last)| exceptions.rejected.range(first..=last).next();
        match own.and_then(rejected).map(|(_, error)| error) {
            // Reported at once, also if the watermark has not reached `seq` yet.
            Some(error) => Some(Err(NotDurable::Rejected(error.clone()))),
            None if settled && own.is_some_and(|(first, _)| first <= exceptions.forgotten) => {
                Some(Err(NotDurable::Forgotten))
            }
            None if settled => Some(Ok(())),
            None => exceptions.stopped.clone().map(|error| Err(NotDurable::Stopped(error))),
        }
    }

    /// Emits that a wait that began at `since` finished with this outcome.
    pub(crate) fn emit_wait(&self, since: Instant, outcome: Result<(), &NotDurable>) {
        if let Some(observer) = &self.callbacks.observer {
            observer.awaited(&DurabilityWait {
                took: since.elapsed(),
                error: outcome.err().map(NotDurable::name),
            });
        }
    }

    /// Requests a flush of everything up to this sequence number.
    pub(crate) fn request_flush(&self, through: Seq) {
        if let Some(requests) = &self.callbacks.requests {
            requests.request_flush(through);
        }
    }

    /// Returns the signal that [`settle`](Self::settle) and [`stop`](Self::stop) raise.
    pub(crate) fn signal(&self) -> &Signal {
        &self.signal
    }

    fn exceptions(&self) -> MutexGuard<'_, Exceptions> {
        // Every change under this lock is a single step, so a panic leaves no partial change.
        self.exceptions.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The reason why a mutation is not durable.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum NotDurable {
    /// The wait timed out. The mutation is still pending and may become durable later.
    TimedOut,
    /// The store rejected the mutation permanently, and it was undone (C8).
    Rejected(Error),
    /// Writing stopped before the mutation was written: the store is damaged, fenced or closed.
    Stopped(Error),
    /// Too many mutations were rejected since: the record of whether this one was among them is gone.
    Forgotten,
}

impl NotDurable {
    /// Returns whether another wait for the same receipt can succeed. The mutation needs not be repeated.
    pub fn is_retryable(&self) -> bool {
        matches!(self, Self::TimedOut)
    }

    /// Returns the time after which to wait again; `None` if the mutation is not durable later either, or its
    /// fate is not known any more.
    pub fn retry_after(&self) -> Option<Duration> {
        self.is_retryable().then_some(RETRY_AFTER)
    }

    /// Returns a short name, suitable as a metric label.
    pub fn name(&self) -> &'static str {
        match self {
            Self::TimedOut => "timed_out",
            Self::Rejected(_) => "rejected",
            Self::Stopped(_) => "stopped",
            Self::Forgotten => "forgotten",
        }
    }
}

impl fmt::Display for NotDurable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TimedOut => f.write_str(
                "timed out: the mutation is not durable yet; it is still pending, and every read sees it",
            ),
            Self::Rejected(error) => {
                write!(f, "the store rejected the mutation permanently, and it was undone: {error}")
            }
            Self::Stopped(error) => {
                write!(f, "writing stopped before the mutation was durable: {error}")
            }
            Self::Forgotten => write!(
                f,
                "more than {MAX_REJECTIONS} mutations were rejected since, and it is no longer known whether \
                 this one was: read the shape to find out"
            ),
        }
    }
}

impl std::error::Error for NotDurable {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Rejected(error) | Self::Stopped(error) => Some(error),
            Self::TimedOut | Self::Forgotten => None,
        }
    }
}
