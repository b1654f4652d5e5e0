use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// A moment, in microseconds since the Unix epoch.
///
/// Last-read times only ever move forward, so a clock that is set back makes a shape look younger for a
/// while and does no other harm.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(u64);

impl Timestamp {
    /// The moment this many microseconds after the Unix epoch. Zero is taken as one, because memory and
    /// disk write "never" as zero.
    pub const fn from_micros(micros: u64) -> Self {
        Self(if micros == 0 { 1 } else { micros })
    }

    /// Microseconds since the Unix epoch.
    pub const fn as_micros(self) -> u64 {
        self.0
    }

    /// The time of the system's clock.
    pub fn now() -> Self {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self::from_micros(u64::try_from(since.as_micros()).unwrap_or(u64::MAX))
    }

    /// How long before `later` this moment was; zero if it was not before.
    pub fn age_at(self, later: Self) -> Duration {
        Duration::from_micros(later.0.saturating_sub(self.0))
    }
}
