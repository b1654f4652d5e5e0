use std::sync::{Arc, OnceLock};

use super::{FeedChange, FeedError};
use crate::{
    Seq,
    sync::atomic::{AtomicUsize, Ordering},
};

/// What a queue holds: changes that are given, or lost, together. Never empty.
#[derive(Clone, Debug)]
pub(super) enum Message {
    One(FeedChange),
    /// Changes that were emitted one by one.
    Run(Arc<[FeedChange]>),
    /// The changes of one step: a commit, a refresh, or a catch-up. The change log may have net changes of
    /// it, so a subscriber can resume only after all of it.
    Batch(Arc<[FeedChange]>),
}

impl Message {
    pub(super) fn changes(&self) -> &[FeedChange] {
        match self {
            Self::One(change) => std::slice::from_ref(change),
            Self::Run(changes) | Self::Batch(changes) => changes,
        }
    }

    pub(super) fn first_seq(&self) -> Seq {
        self.changes().first().map_or(Seq::ZERO, |change| change.seq)
    }

    pub(super) fn last_seq(&self) -> Seq {
        self.changes().last().map_or(Seq::ZERO, |change| change.seq)
    }

    /// Whether a subscriber that was given everything before `next` can resume after it.
    pub(super) fn can_resume_before(&self, next: usize) -> bool {
        match (self, self.changes()) {
            (_, changes) if next >= changes.len() => true,
            (Self::Batch(_), _) => false,
            // Changes with the same sequence number belong together.
            (_, changes) => next == 0 || changes[next].seq > changes[next - 1].seq,
        }
    }
}

/// What both ends of a queue share, in addition to its channel.
#[derive(Debug, Default)]
pub(super) struct QueueState {
    /// The number of changes in the channel.
    queued: AtomicUsize,
    end: OnceLock<End>,
}

/// Why the sender has gone.
#[derive(Clone, Debug)]
pub(super) enum End {
    /// The queue was full.
    Lagged,
    ListAnew(&'static str),
    Closed,
}

impl End {
    /// Returns the error for a subscriber that was given everything up to `position`.
    pub(super) fn error(&self, position: Seq) -> FeedError {
        match self {
            Self::Lagged => FeedError::Lagged { resume_after: position },
            Self::ListAnew(why) => FeedError::ListAnew { why },
            Self::Closed => FeedError::Closed,
        }
    }
}

impl QueueState {
    /// Counts a message before it is sent. Returns whether there is capacity for it: always in an empty
    /// queue, so that a subscriber that keeps up is never ended because of the size of a batch.
    ///
    /// There is one sender at a time, so nothing is counted in between.
    pub(super) fn reserve(&self, changes: usize, capacity: usize) -> bool {
        let queued = self.queued.load(Ordering::Acquire);
        let fits = queued == 0 || queued.saturating_add(changes) <= capacity;
        if fits {
            self.queued.fetch_add(changes, Ordering::AcqRel);
        }
        fits
    }

    /// Counts a message that was received.
    pub(super) fn release(&self, changes: usize) {
        self.queued.fetch_sub(changes, Ordering::AcqRel);
    }

    /// Records why the sender goes, before it does. The first reason stands.
    pub(super) fn end(&self, end: End) {
        let _ = self.end.set(end);
    }

    /// Returns why the sender has gone: with its store, if it did not say.
    pub(super) fn why_ended(&self) -> End {
        self.end.get().cloned().unwrap_or(End::Closed)
    }
}
