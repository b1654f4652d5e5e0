use std::{error, fmt, time::Duration};

use crate::Kind;

/// A request that was not admitted. Nothing has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Rejected {
    /// Which limit it met.
    pub kind: Kind,
    /// That limit.
    pub limit: u32,
    /// How many were being worked on.
    pub current: u32,
    /// When to come again; see [`RetryAfter`](crate::RetryAfter).
    pub retry_after: Duration,
}

impl Rejected {
    /// When to come again, in whole seconds, rounded up and at least 1: the value of a `Retry-After` header.
    pub fn retry_after_seconds(&self) -> u64 {
        let up = u64::from(self.retry_after.subsec_nanos() > 0);
        self.retry_after.as_secs().saturating_add(up).max(1)
    }
}

impl fmt::Display for Rejected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} requests of the kind {:?} are being worked on, and the limit is {}: try again in {} ms",
            self.current,
            self.kind.name(),
            self.limit,
            self.retry_after.as_millis().max(1)
        )
    }
}

impl error::Error for Rejected {}
