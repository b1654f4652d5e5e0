use std::{error, fmt, time::Duration};

use crate::{Error, Seq, error::RETRY_AFTER};

/// The reason why a feed has ended, or could not begin. The store is not affected.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum FeedError {
    /// The subscriber was too slow, and its queue was full. Everything up to `resume_after` was given:
    /// subscribe again [after](super::FeedOptions::after) it.
    Lagged {
        /// The sequence number.
        resume_after: Seq,
    },
    /// What has changed cannot be named: subscribe from now on, and list the shapes anew.
    ListAnew {
        /// The reason.
        why: &'static str,
    },
    /// The store is closed. Everything that was accepted before was given.
    Closed,
    /// The store could not be read, or pending changes could not be flushed in time.
    Failed(Error),
}

impl FeedError {
    /// Returns whether the same subscription, or one after `resume_after`, can succeed.
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Lagged { .. } => true,
            Self::Failed(error) => error.kind().is_retryable(),
            Self::ListAnew { .. } | Self::Closed => false,
        }
    }

    /// Returns the time after which to subscribe again; `None` if that cannot succeed.
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Lagged { .. } => Some(Duration::ZERO),
            _ => self.is_retryable().then_some(RETRY_AFTER),
        }
    }
}

impl fmt::Display for FeedError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Lagged { resume_after } => write!(
                f,
                "the subscriber was too slow and its queue was full; it was given everything up to sequence \
                 number {resume_after}; subscribe again after that number"
            ),
            Self::ListAnew { why } => write!(
                f,
                "the feed cannot name what has changed: {why}; subscribe from now on and list the shapes anew"
            ),
            Self::Closed => f.write_str("the store is closed; the feed gave everything accepted before"),
            Self::Failed(error) => write!(f, "the feed did not begin, and can be retried: {error}"),
        }
    }
}

impl error::Error for FeedError {
    fn source(&self) -> Option<&(dyn error::Error + 'static)> {
        match self {
            Self::Failed(error) => Some(error),
            Self::Lagged { .. } | Self::ListAnew { .. } | Self::Closed => None,
        }
    }
}

impl From<Error> for FeedError {
    fn from(error: Error) -> Self {
        Self::Failed(error)
    }
}
