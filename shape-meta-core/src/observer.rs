use std::{path::Path, time::Duration};

use crate::{Change, Error, ErrorKind, Handle, Latencies, Refusal, Repaired, Seq};

/// What the layers tell about themselves. Every method does nothing by default; implement the ones you
/// want to hear.
///
/// The calls come from the thread on which the thing happens, some while mutations of other threads
/// wait: return soon, do not block, and do not call back into the store. A panic in an observer is
/// treated as a panic of the operation that it observes.
pub trait Observer: Send + Sync {
    /// A longer activity begins. What is returned is kept until it ends, and told how it ended.
    fn begin(&self, activity: Activity<'_>) -> Option<Box<dyn Span>> {
        let _ = activity;
        None
    }

    /// A connection was handed out.
    fn checkout(&self, checkout: &Checkout) {
        let _ = checkout;
    }

    /// A connection was given back.
    fn checkin(&self, checkin: &Checkin) {
        let _ = checkin;
    }

    /// A flush was committed.
    fn flushed(&self, flush: &FlushStats) {
        let _ = flush;
    }

    /// A flush failed, and will be tried again after this delay.
    fn retrying(&self, error: &Error, failures: u32, delay: Duration) {
        let _ = (error, failures, delay);
    }

    /// The store refused the change of this shape for good; it was taken out (C8).
    fn rejected(&self, handle: Option<&Handle>, mutations: &[Seq], error: &Error) {
        let _ = (handle, mutations, error);
    }

    /// A mutation was refused, once and for all: a caller that waits for room is not refused before it gives
    /// up.
    fn refused(&self, refusal: &Refusal) {
        let _ = refusal;
    }

    /// A mutation was not accepted because the store failed, is stopped or is closed.
    fn failed(&self, error: &Error) {
        let _ = error;
    }

    /// Whether [`acknowledged`](Self::acknowledged) wants to be called. Asked once, when a store is made: where
    /// nobody wants it, no clock is read.
    fn wants_acknowledged(&self) -> bool {
        false
    }

    /// How long the mutations of a flush took from the call until they were acknowledged, with the wait for room
    /// in it. Called once a flush, as it begins. Mutations that came to nothing, because things were so
    /// already, are not among them.
    fn acknowledged(&self, latencies: &Latencies) {
        let _ = latencies;
    }

    /// Somebody has waited for something to be on disk.
    fn awaited(&self, awaited: &DurabilityWait) {
        let _ = awaited;
    }

    /// Writing has stopped for good: the store is damaged or fenced.
    fn stopped(&self, error: &Error) {
        let _ = error;
    }

    /// The cache has published a batch to its readers.
    fn published(&self, published: &PublishStats) {
        let _ = published;
    }

    /// Whether [`committed`](Self::committed) wants to be called. Asked once a flush.
    fn wants_committed(&self) -> bool {
        false
    }

    /// One change was committed. Called for each, and only if [`wants_committed`](Self::wants_committed).
    fn committed(&self, change: &Change) {
        let _ = change;
    }

    /// The database was opened.
    fn opened(&self, opened: &OpenStats) {
        let _ = opened;
    }

    /// Shapes whose snapshot was not complete were removed at open.
    fn recovered(&self, recovered: &RecoveryStats) {
        let _ = recovered;
    }

    /// A damaged database was moved aside.
    fn quarantined(&self, path: &Path, error: &Error) {
        let _ = (path, error);
    }

    /// What is sound of a damaged database was carried into a new one.
    fn repaired(&self, repaired: &Repaired) {
        let _ = repaired;
    }
}

/// The observer that hears nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoopObserver;

impl Observer for NoopObserver {}

/// A longer activity, as it begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Activity<'a> {
    /// A database is opened.
    Open {
        /// Where.
        path: &'a Path,
    },
    /// What a crash left behind is put in order.
    Recovery,
    /// A batch is committed.
    Flush {
        /// How many changes are in it.
        changes: usize,
        /// How many bytes of memory they take.
        bytes: usize,
    },
    /// A connection is waited for.
    Checkout {
        /// What for.
        label: &'static str,
    },
    /// The caller's cleaner deletes stored data.
    Clean {
        /// Of how many shapes; `None` for all there is.
        shapes: Option<usize>,
    },
    /// The store is closed.
    Close,
    /// A mirror, or a standby, is brought up to date with what somebody else has written.
    Refresh,
    /// A standby takes ownership.
    Promote {
        /// Of the database in this directory.
        path: &'a Path,
    },
    /// A part of the last-read times is saved. If that fails, it is tried again with the next turn.
    SaveReads,
}

impl Activity<'_> {
    /// The names of all activities.
    pub const NAMES: [&'static str; 9] =
        ["open", "recovery", "flush", "checkout", "clean", "close", "refresh", "promote", "save_reads"];

    /// The name of the activity, fit for a label of a metric: one of [`NAMES`](Self::NAMES).
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
}

/// A longer activity that has begun. Dropping it ends it.
pub trait Span {
    /// It ends, with this failure if there was one.
    fn end(self: Box<Self>, error: Option<&Error>);
}

/// A connection was handed out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Checkout {
    /// Which operation it is for.
    pub label: &'static str,
    /// How long the operation had to wait for it; told also when it did not have to.
    pub queued: Duration,
    /// How many connections are in use now, this one among them.
    pub active: usize,
}

/// A connection was given back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Checkin {
    /// Which operation it was for.
    pub label: &'static str,
    /// How long the operation had waited for it.
    pub queued: Duration,
    /// How long it was in use.
    pub used: Duration,
    /// How many connections are in use now.
    pub active: usize,
    /// How the operation failed, if it did.
    pub error: Option<ErrorKind>,
}

/// A flush was committed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct FlushStats {
    /// How many mutations it settled.
    pub mutations: u64,
    /// How many changes they came to.
    pub changes: usize,
    /// How many bytes of memory the changes took.
    pub bytes: usize,
    /// How long committing took. What publishing takes is [`PublishStats::took`]; it may be done beside the next
    /// commit.
    pub took: Duration,
    /// How old the oldest of its changes was when it was committed.
    pub oldest: Duration,
}

impl FlushStats {
    /// How many mutations cost the disk nothing, because others in the same flush undid or included them.
    pub fn coalesced(&self) -> u64 {
        self.mutations.saturating_sub(self.changes as u64)
    }
}

/// Somebody has waited for something to be on disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DurabilityWait {
    /// How long; told also when it was there already.
    pub took: Duration,
    /// [Why](crate::NotDurable::name) it is not, if it is not.
    pub error: Option<&'static str>,
}

/// The cache has published a batch to its readers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PublishStats {
    /// How many changes it had.
    pub changes: usize,
    /// How long updating the map and waiting for readers took.
    pub took: Duration,
}

/// The database was opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OpenStats {
    /// How many shapes it holds.
    pub shapes: u64,
    /// How long it took.
    pub took: Duration,
}

/// What a crash left behind was put in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecoveryStats {
    /// How many shapes were valid.
    pub valid: u64,
    /// How many were removed.
    pub removed: usize,
    /// How long it took.
    pub took: Duration,
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Walks through all of them; with one that has no place here it does not compile.
    fn after(activity: Option<Activity<'static>>) -> Option<Activity<'static>> {
        let path = Path::new("/");
        match activity {
            None => Some(Activity::Open { path }),
            Some(Activity::Open { .. }) => Some(Activity::Recovery),
            Some(Activity::Recovery) => Some(Activity::Flush { changes: 1, bytes: 1 }),
            Some(Activity::Flush { .. }) => Some(Activity::Checkout { label: "apply" }),
            Some(Activity::Checkout { .. }) => Some(Activity::Clean { shapes: None }),
            Some(Activity::Clean { .. }) => Some(Activity::Close),
            Some(Activity::Close) => Some(Activity::Refresh),
            Some(Activity::Refresh) => Some(Activity::Promote { path }),
            Some(Activity::Promote { .. }) => Some(Activity::SaveReads),
            Some(Activity::SaveReads) => None,
        }
    }

    #[test]
    fn the_names_are_those_of_all_activities() {
        let all = std::iter::successors(after(None), |activity| after(Some(*activity)));
        assert_eq!(all.map(|activity| activity.name()).collect::<Vec<_>>(), Activity::NAMES);
    }
}
