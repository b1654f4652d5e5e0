use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// A point in time, in microseconds since the Unix epoch.
///
/// Last-read times only move forward. One that is later than now comes from a clock that was ahead, and
/// counts as now wherever it is compared or stored.
///
/// ```
/// use shape_meta_core::Timestamp;
///
/// let an_hour_ago = Timestamp::from_micros(Timestamp::now().as_micros() - 3_600 * 1_000_000);
/// assert!(an_hour_ago < Timestamp::now());
/// ```
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

    /// Returns the last-read time after a read at `at`, of a shape that was last read at `known`; `None` if
    /// it stays.
    ///
    /// A time that is later than now comes from a clock that was ahead, and counts as now.
    pub fn after_read(known: Option<Self>, at: Self) -> Option<Self> {
        match known {
            // The clock is read only if it may matter: most reads are later than the one before.
            Some(known) if known > at => Some(Self::now()).filter(|now| known > *now),
            Some(known) if known == at => None,
            _ => Some(at),
        }
    }

    /// Returns whether a shape that was last read at `known` was read at `since` or later. A time that is
    /// later than now counts as now.
    pub fn is_read_since(known: Option<Self>, since: Self) -> bool {
        // The clock is read only if it may matter.
        known.is_some_and(|known| known >= since && known.min(Self::now()) >= since)
    }

    /// Returns the time from `self` to `later`; zero if `later` is earlier.
    pub fn age_at(self, later: Self) -> Duration {
        Duration::from_micros(later.0.saturating_sub(self.0))
    }
}
