use std::{error, fmt, time::Duration};

use crate::Kind;

/// The error of a request that was not admitted. No count has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Rejected {
    /// The kind whose limit is reached.
    pub kind: Kind,
    /// The limit of this kind.
    pub limit: u32,
    /// The number of requests of this kind in progress.
    pub current: u32,
    /// The time after which to retry; see [`RetryAfter`](crate::RetryAfter).
    pub retry_after: Duration,
}

impl Rejected {
    /// Returns the time after which to retry, in whole seconds, rounded up and at least 1: the value of a
    /// `Retry-After` header.
    pub fn retry_after_seconds(&self) -> u64 {
        let up = u64::from(self.retry_after.subsec_nanos() > 0);
        self.retry_after.as_secs().saturating_add(up).max(1)
    }

    /// Returns the rejection as a JSON object, the body of a response:
    ///
    /// ```json
    /// {"code":"overloaded","current":300,"kind":"initial","limit":300,"message":"...","retry_after_ms":1500}
    /// ```
    ///
    /// `code` is a name for programs, which stays the same; `message` is for people.
    pub fn to_json(&self) -> String {
        serde_json::json!({
            "code": "overloaded",
            "message": self.to_string(),
            "kind": self.kind.name(),
            "limit": self.limit,
            "current": self.current,
            "retry_after_ms": u64::try_from(self.retry_after.as_millis()).unwrap_or(u64::MAX).max(1),
        })
        .to_string()
    }
}

impl fmt::Display for Rejected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "too many concurrent requests of the kind {:?}: {} in progress, the limit is {}; try again in {} ms",
            self.kind.name(),
            self.current,
            self.limit,
            self.retry_after.as_millis().max(1)
        )
    }
}

impl error::Error for Rejected {}
