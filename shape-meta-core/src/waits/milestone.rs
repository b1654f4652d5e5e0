use std::{fmt, time::Duration};

use crate::{Error, NotDurable, SnapshotState};

/// A state of a shape that can be waited for. A [`SnapshotState`] is one, too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Milestone {
    /// The snapshot has reached this state, or a later one.
    Snapshot(SnapshotState),
    /// The shape is durable, in at least the snapshot state that it had when the wait began. Requests a
    /// flush, as [`Receipt::wait_durable`](crate::Receipt::wait_durable) does.
    Durable,
    /// The shape is removed, or there is none.
    Removed,
}

impl From<SnapshotState> for Milestone {
    fn from(state: SnapshotState) -> Self {
        Self::Snapshot(state)
    }
}

/// The reason why a wait ended before its [`Milestone`] was reached.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum NotReached {
    /// The shape was removed, or no live shape has the handle.
    Removed,
    /// The wait timed out. The shape is live, and can still reach the milestone.
    TimedOut,
    /// The shape did not become durable, or not in the snapshot state that it had when the wait began.
    NotDurable(NotDurable),
    /// The store was closed: no shape changes any more.
    Closed,
    /// The shape could not be read.
    Failed(Error),
}

impl NotReached {
    /// Returns whether another wait can succeed, without a change by the caller.
    pub fn is_retryable(&self) -> bool {
        self.retry_after().is_some()
    }

    /// Returns the time after which to wait again: zero after a time-out, that of the failure, or `None` if
    /// the shape does not reach the milestone later either.
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::TimedOut => Some(Duration::ZERO),
            Self::NotDurable(error) => error.retry_after(),
            Self::Failed(error) => error.retry_after(),
            Self::Removed | Self::Closed => None,
        }
    }

    /// Returns a short name, suitable as a metric label.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Removed => "removed",
            Self::TimedOut => "timed_out",
            Self::NotDurable(error) => error.name(),
            Self::Closed => "closed",
            Self::Failed(error) => error.kind().name(),
        }
    }
}

impl fmt::Display for NotReached {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Removed => {
                f.write_str("the shape was removed, or no live shape has the handle: add it again")
            }
            Self::TimedOut => {
                f.write_str("timed out: the shape is live, and has not reached the state yet; wait again")
            }
            Self::NotDurable(error) => error.fmt(f),
            Self::Closed => f.write_str(
                "the store was closed before the shape reached the state; reads continue, and waits need the \
                 store to be opened again",
            ),
            Self::Failed(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for NotReached {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::NotDurable(error) => std::error::Error::source(error),
            Self::Failed(error) => std::error::Error::source(error),
            Self::Removed | Self::TimedOut | Self::Closed => None,
        }
    }
}
