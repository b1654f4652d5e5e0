use std::{path::Path, time::Duration};

use crate::{Change, Error, ErrorKind, Handle, Latencies, MutateError, Refusal, Repaired, Result, Seq};

/// The instrumentation hooks: the layers emit their events to an observer. Every method does nothing by
/// default; implement the ones that you need.
///
/// An event is emitted on the thread on which it happens, in some cases while mutations of other threads
/// wait. So a method must return soon and must not block. A call into the store works, or fails as
/// [`Unsupported`](ErrorKind::Unsupported) where it would wait for the operation that is observed. A panic in
/// an observer is treated as a panic of the observed operation.
pub trait Observer: Send + Sync {
    /// An activity begins. The returned span is kept until the activity ends, and is ended with its outcome.
    fn begin(&self, activity: Activity<'_>) -> Option<Box<dyn Span>> {
        let _ = activity;
        None
    }

    /// A connection was checked out.
    fn checkout(&self, checkout: &Checkout) {
        let _ = checkout;
    }

    /// A connection was checked in.
    fn checkin(&self, checkin: &Checkin) {
        let _ = checkin;
    }

    /// A flush was committed.
    fn flushed(&self, flush: &FlushStats) {
        let _ = flush;
    }

    /// A flush failed and is retried after this delay. `failures` is the number of failed attempts in a row.
    fn retrying(&self, error: &Error, failures: u32, delay: Duration) {
        let _ = (error, failures, delay);
    }

    /// The store rejected the change of this shape permanently, and the flusher isolated it (C8).
    fn rejected(&self, handle: Option<&Handle>, mutations: &[Seq], error: &Error) {
        let _ = (handle, mutations, error);
    }

    /// A mutation was refused. While a caller waits for capacity, nothing is emitted; it is refused when it
    /// gives up.
    fn refused(&self, refusal: &Refusal) {
        let _ = refusal;
    }

    /// A mutation failed, because the store failed, has stopped or is closed.
    fn failed(&self, error: &Error) {
        let _ = error;
    }

    /// Returns whether [`acknowledged`](Self::acknowledged) is to be called. Called once, when a store is
    /// composed. If it returns false, mutations do not read the clock.
    fn wants_acknowledged(&self) -> bool {
        false
    }

    /// The latencies of the mutations of a flush, from the call until they were acknowledged, including the
    /// wait for capacity. Emitted once per flush, when it begins. Mutations without effect are not included.
    fn acknowledged(&self, latencies: &Latencies) {
        let _ = latencies;
    }

    /// A durability wait finished.
    fn awaited(&self, awaited: &DurabilityWait) {
        let _ = awaited;
    }

    /// Writing has stopped: the store is damaged or fenced.
    fn stopped(&self, error: &Error) {
        let _ = error;
    }

    /// The cache published a batch.
    fn published(&self, published: &PublishStats) {
        let _ = published;
    }

    /// Returns whether [`committed`](Self::committed) is to be called. Called once per flush.
    fn wants_committed(&self) -> bool {
        false
    }

    /// A change was committed. Emitted for each change of a flush, if
    /// [`wants_committed`](Self::wants_committed).
    fn committed(&self, change: &Change) {
        let _ = change;
    }

    /// A database was opened.
    fn opened(&self, opened: &OpenStats) {
        let _ = opened;
    }

    /// Recovery finished: shapes without a complete snapshot were removed.
    fn recovered(&self, recovered: &RecoveryStats) {
        let _ = recovered;
    }

    /// A damaged database was quarantined: moved to this path.
    fn quarantined(&self, path: &Path, error: &Error) {
        let _ = (path, error);
    }

    /// The cleaner, or the search for orphans, failed, and is tried again after this delay. `failures` is the
    /// number of failed attempts in a row.
    fn cleanup_failed(&self, error: &Error, failures: u32, delay: Duration) {
        let _ = (error, failures, delay);
    }

    /// A sweep has found stored data without a shape: this many, some of which are passed. They are handed to
    /// the cleaner, unless they wait for a confirmation.
    fn orphans_found(&self, orphans: u64, sample: &[Handle], waits_for_confirmation: bool) {
        let _ = (orphans, sample, waits_for_confirmation);
    }

    /// A damaged database was repaired: its sound part was carried into a new one.
    fn repaired(&self, repaired: &Repaired) {
        let _ = repaired;
    }

    /// A step of the evictor has removed shapes, could not get below its limit, or ended early with this
    /// refusal or failure.
    fn evicted(&self, evicted: &EvictionStats, error: Option<&MutateError>) {
        let _ = (evicted, error);
    }
}

/// The observer that ignores every event.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoopObserver;

impl Observer for NoopObserver {}

/// An activity that takes time, when it begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Activity<'a> {
    /// Opening a database.
    Open {
        /// The path of the database.
        path: &'a Path,
    },
    /// Recovery after open: removes the shapes without a complete snapshot.
    Recovery,
    /// Committing a batch.
    Flush {
        /// The number of changes.
        changes: usize,
        /// The memory of the changes, in bytes.
        bytes: usize,
    },
    /// Waiting for a connection.
    Checkout {
        /// The operation that needs the connection.
        label: &'static str,
    },
    /// The cleaner of the caller deletes stored data.
    Clean {
        /// The number of shapes whose data is deleted.
        shapes: usize,
    },
    /// Closing the store.
    Close,
    /// Refreshing a mirror or a standby with what another owner has written.
    Refresh,
    /// Promoting a standby to owner.
    Promote {
        /// The directory of the database.
        path: &'a Path,
    },
    /// Saving a part of the last-read times. After a failure the next sweep retries.
    SaveReads,
}

impl Activity<'_> {
    /// The names of all activities, in the order of their declaration.
    pub const NAMES: [&'static str; 9] =
        ["open", "recovery", "flush", "checkout", "clean", "close", "refresh", "promote", "save_reads"];

    /// Returns the name of the activity, suitable as a metric label: one of [`NAMES`](Self::NAMES).
    pub fn name(&self) -> &'static str {
        match self {
            Self::Open { .. } => "open",
            Self::Recovery => "recovery",
            Self::Flush { .. } => "flush",
            Self::Checkout { .. } => "checkout",
            Self::Clean { .. } => "clean",
            Self::Close => "close",
            Self::Refresh => "refresh",
            Self::Promote { .. } => "promote",
            Self::SaveReads => "save_reads",
        }
    }

    /// Does the work of this activity within a span of `observer`, which ends with the outcome.
    ///
    /// # Errors
    ///
    /// Those of `work`.
    pub fn observed<T>(self, observer: &dyn Observer, work: impl FnOnce() -> Result<T>) -> Result<T> {
        let span = observer.begin(self);
        let outcome = work();
        if let Some(span) = span {
            span.end(outcome.as_ref().err());
        }
        outcome
    }
}

/// An activity that has begun. Dropping the span ends the activity as well.
pub trait Span {
    /// Ends the activity, with its failure if there was one.
    fn end(self: Box<Self>, error: Option<&Error>);
}

/// The event of checking out a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Checkout {
    /// The operation that uses the connection.
    pub label: &'static str,
    /// How long the operation waited for the connection. Recorded also if a connection was free.
    pub queued: Duration,
    /// The number of connections in use, including this one.
    pub active: usize,
}

/// The event of checking in a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Checkin {
    /// The operation that used the connection.
    pub label: &'static str,
    /// How long the operation had waited for the connection.
    pub queued: Duration,
    /// How long the connection was in use.
    pub used: Duration,
    /// The number of connections that are still in use.
    pub active: usize,
    /// The kind of the failure, if the operation failed.
    pub error: Option<ErrorKind>,
}

/// The statistics of a committed flush.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct FlushStats {
    /// The number of mutations that the flush settled.
    pub mutations: u64,
    /// The number of changes that were written for them.
    pub changes: usize,
    /// The memory of the changes, in bytes.
    pub bytes: usize,
    /// The duration of the commit. That of the publish is [`PublishStats::took`]; it may overlap with the
    /// next commit.
    pub took: Duration,
    /// The age of the oldest change when it was committed.
    pub oldest: Duration,
}

impl FlushStats {
    /// Returns the number of mutations that needed no write, because others in the same flush undid or
    /// included them.
    pub fn coalesced(&self) -> u64 {
        self.mutations.saturating_sub(self.changes as u64)
    }
}

/// The event of a finished durability wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DurabilityWait {
    /// The duration of the wait. Recorded also if the mutation was durable already.
    pub took: Duration,
    /// The [name of the reason](crate::NotDurable::name), if the mutation is not durable.
    pub error: Option<&'static str>,
}

/// The statistics of a publish of the cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PublishStats {
    /// The number of changes in the batch.
    pub changes: usize,
    /// The duration of updating the map and waiting for readers.
    pub took: Duration,
}

/// The statistics of opening a database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OpenStats {
    /// The number of shapes in the database.
    pub shapes: u64,
    /// The duration of the open.
    pub took: Duration,
}

/// The statistics of a recovery.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecoveryStats {
    /// The number of shapes that were kept.
    pub valid: u64,
    /// The number of shapes that were removed.
    pub removed: usize,
    /// The duration of the recovery.
    pub took: Duration,
}

/// The statistics of a step of an [`Evictor`](crate::Evictor).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct EvictionStats {
    /// The number of shapes that were removed.
    pub removed: usize,
    /// The number of shapes that were read, or were gone, after the search had found them.
    pub spared: usize,
    /// The number of shapes that were found and are pinned. Those that are pinned by name are not searched.
    pub pinned: usize,
    /// The number of live shapes after the step, without what other threads have done meanwhile.
    pub total: u64,
    /// By how many shapes the limit is still exceeded, because the others are pinned, were read lately or
    /// were never read. Zero if a further step follows at once.
    pub over_limit: u64,
    /// How long the last of the removed shapes had not been read. If it is short, shapes in use are evicted.
    pub newest_unread: Option<Duration>,
    /// The duration of the step.
    pub took: Duration,
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns the activity after this one. An activity that is missing here is a compile error.
    fn after(activity: Option<Activity<'static>>) -> Option<Activity<'static>> {
        let path = Path::new("/");
        match activity {
            None => Some(Activity::Open { path }),
            Some(Activity::Open { .. }) => Some(Activity::Recovery),
            Some(Activity::Recovery) => Some(Activity::Flush { changes: 1, bytes: 1 }),
            Some(Activity::Flush { .. }) => Some(Activity::Checkout { label: "apply" }),
            Some(Activity::Checkout { .. }) => Some(Activity::Clean { shapes: 1 }),
            Some(Activity::Clean { .. }) => Some(Activity::Close),
            Some(Activity::Close) => Some(Activity::Refresh),
            Some(Activity::Refresh) => Some(Activity::Promote { path }),
            Some(Activity::Promote { .. }) => Some(Activity::SaveReads),
            Some(Activity::SaveReads) => None,
        }
    }

    #[test]
    fn the_list_of_names_holds_every_activity() {
        let all = std::iter::successors(after(None), |activity| after(Some(*activity)));
        assert_eq!(all.map(|activity| activity.name()).collect::<Vec<_>>(), Activity::NAMES);
    }
}
