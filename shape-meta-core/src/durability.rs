use std::{
    collections::BTreeMap,
    fmt,
    sync::{Arc, PoisonError},
    time::Instant,
};

use crate::{
    DurabilityWait, Error, Observer, Seq, Signal,
    sync::{
        Mutex, MutexGuard,
        atomic::{AtomicU64, Ordering},
    },
};

/// How many rejected mutations are remembered for receipts that have not asked yet.
const REMEMBERED: usize = 65_536;

/// How far the order has come on its way to disk: what receipts wait for.
#[derive(Debug, Default)]
pub struct DurabilityTracker {
    /// Everything up to here is settled: durable, or rejected.
    settled: AtomicU64,
    exceptions: Mutex<Exceptions>,
    signal: Signal,
    observer: Told,
}

/// Who is told how long was waited.
#[derive(Default)]
struct Told(Option<Arc<dyn Observer>>);

impl fmt::Debug for Told {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Told").field(&self.0.is_some()).finish()
    }
}

#[derive(Debug, Default)]
struct Exceptions {
    rejected: BTreeMap<Seq, Error>,
    /// Rejections at or before this place may have been forgotten.
    forgotten: Seq,
    stopped: Option<Error>,
}

impl DurabilityTracker {
    /// Everything up to `settled` is durable.
    pub fn new(settled: Seq) -> Self {
        Self { settled: AtomicU64::new(settled.get()), ..Self::default() }
    }

    /// The same, and this observer is told how long receipts are waited for.
    pub fn observed(settled: Seq, observer: Arc<dyn Observer>) -> Self {
        Self { observer: Told(Some(observer)), ..Self::new(settled) }
    }

    /// Everything up to here is settled: durable, or rejected.
    pub fn settled(&self) -> Seq {
        Seq::new(self.settled.load(Ordering::Acquire))
    }

    /// Everything up to `seq` is settled. Call [`reject`](Self::reject) first for what was not written.
    pub fn settle(&self, seq: Seq) {
        self.settled.fetch_max(seq.get(), Ordering::AcqRel);
        self.signal.raise();
    }

    /// This mutation was refused by the store for good (C8).
    pub fn reject(&self, seq: Seq, error: Error) {
        let mut exceptions = self.exceptions();
        exceptions.rejected.insert(seq, error);
        if exceptions.rejected.len() > REMEMBERED
            && let Some((oldest, _)) = exceptions.rejected.pop_first()
        {
            exceptions.forgotten = exceptions.forgotten.max(oldest);
        }
    }

    /// Nothing more will be written, for this reason. The first reason stays.
    pub fn stop(&self, error: Error) {
        self.exceptions().stopped.get_or_insert(error);
        self.signal.raise();
    }

    /// Writing goes on after it had [stopped](Self::stop): what was told that it will not be written may be written
    /// all the same.
    pub fn resume(&self) {
        self.exceptions().stopped = None;
    }

    /// What has become of everything up to `seq`, and of the mutation `told` in particular: it is told if
    /// that one was rejected. `None` while it is pending.
    pub(crate) fn outcome(&self, seq: Seq, told: Option<Seq>) -> Option<Result<(), NotDurable>> {
        // The lock comes first: whoever sees a stop under it sees all that was settled before the stop, and
        // does not take for lost what is on disk.
        let exceptions = self.exceptions();
        let settled = self.settled() >= seq;
        match told.and_then(|told| exceptions.rejected.get(&told)) {
            // Known at once, also for what was accepted after the batch that is being settled.
            Some(error) => Some(Err(NotDurable::Rejected(error.clone()))),
            None if settled && told.is_some_and(|told| told <= exceptions.forgotten) => {
                Some(Err(NotDurable::Forgotten))
            }
            None if settled => Some(Ok(())),
            None => exceptions.stopped.clone().map(|error| Err(NotDurable::Stopped(error))),
        }
    }

    /// Somebody has waited for it since then, with this outcome.
    pub(crate) fn awaited(&self, since: Instant, outcome: Result<(), &NotDurable>) {
        if let Told(Some(observer)) = &self.observer {
            observer.awaited(&DurabilityWait {
                took: since.elapsed(),
                error: outcome.err().map(NotDurable::name),
            });
        }
    }

    /// Raised whenever [`settle`](Self::settle) or [`stop`](Self::stop) was called.
    pub(crate) fn signal(&self) -> &Signal {
        &self.signal
    }

    fn exceptions(&self) -> MutexGuard<'_, Exceptions> {
        // Every change under this lock is a single step, so a panic leaves nothing half-done.
        self.exceptions.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Why a mutation is not durable.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum NotDurable {
    /// It is still pending. It may become durable later.
    TimedOut,
    /// The store refused it for good; it has been taken back (C8).
    Rejected(Error),
    /// Writing has stopped before it was written: the store is damaged, fenced or closed.
    Stopped(Error),
    /// So many mutations were rejected since that it is no longer known whether this one was.
    Forgotten,
}

impl NotDurable {
    /// A short name, fit for a label of a metric.
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
            Self::TimedOut => {
                f.write_str("the change is not on disk yet; it is still pending, and every read sees it")
            }
            Self::Rejected(error) => {
                write!(f, "the store refused the change for good, and it was taken back: {error}")
            }
            Self::Stopped(error) => {
                write!(f, "writing stopped before the change reached the disk: {error}")
            }
            Self::Forgotten => write!(
                f,
                "more than {REMEMBERED} changes were refused since, and it is no longer known whether \
                 this one was: read the shape to see"
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
