use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// A point in time, in microseconds since the Unix epoch.
///
/// Last-read times only move forward. A clock that is set back makes a shape look recently read for a while,
/// and has no other effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(u64);

impl Timestamp {
    /// Returns the time `micros` microseconds after the Unix epoch. Zero becomes one, because zero encodes
    /// "never" in memory and on disk.
    pub const fn from_micros(micros: u64) -> Self {
        Self(if micros == 0 { 1 } else { micros })
    }

    /// Returns the microseconds since the Unix epoch.
    pub const fn as_micros(self) -> u64 {
        self.0
    }

    /// Returns the time of the system clock.
    pub fn now() -> Self {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self::from_micros(u64::try_from(since.as_micros()).unwrap_or(u64::MAX))
    }

    /// Returns the time from `self` to `later`; zero if `later` is earlier.
    pub fn age_at(self, later: Self) -> Duration {
        Duration::from_micros(later.0.saturating_sub(self.0))
    }
}
