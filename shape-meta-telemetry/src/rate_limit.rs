use std::{
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

/// The number of events that are admitted at once.
const BURST: u32 = 20;
/// One more event is admitted for each of these intervals.
const INTERVAL: Duration = Duration::from_secs(3);

/// Admits an event that can repeat without a bound at a bounded rate, and counts the others.
#[derive(Debug, Default)]
pub(crate) struct RateLimit(Mutex<Bucket>);

#[derive(Debug, Default)]
struct Bucket {
    /// The number of admitted events that do not count any more after as many intervals.
    used: u32,
    /// Since when `used` holds; `None` before the first event.
    since: Option<Instant>,
    suppressed: u64,
}

impl RateLimit {
    /// Returns how many events were suppressed since the last one that was admitted, if this one is admitted.
    pub(crate) fn admit(&self, now: Instant) -> Option<u64> {
        // No code that can panic runs under this lock.
        let mut bucket = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let since = *bucket.since.get_or_insert(now);
        let intervals = now.saturating_duration_since(since).as_secs() / INTERVAL.as_secs();
        let over = u32::try_from(intervals).unwrap_or(u32::MAX).min(bucket.used);
        bucket.used -= over;
        bucket.since = Some(if bucket.used == 0 { now } else { since + INTERVAL * over });
        if bucket.used == BURST {
            bucket.suppressed = bucket.suppressed.saturating_add(1);
            return None;
        }
        bucket.used += 1;
        Some(std::mem::take(&mut bucket.suppressed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn c7_events_are_admitted_at_a_bounded_rate_and_counted() {
        let (limit, start) = (RateLimit::default(), Instant::now());
        let admitted = (0..1_000).filter(|_| limit.admit(start).is_some()).count();
        assert_eq!(admitted, BURST as usize);
        assert_eq!(limit.admit(start + INTERVAL / 2), None);
        assert_eq!(limit.admit(start + INTERVAL), Some(981), "the suppressed ones are counted once");
        assert_eq!(limit.admit(start + INTERVAL), None);
        assert_eq!(limit.admit(start + INTERVAL * 2), Some(1));
    }

    #[test]
    fn c7_a_constant_stream_of_events_is_admitted_once_an_interval() {
        let (limit, start) = (RateLimit::default(), Instant::now());
        let times = (0..60_000).map(|at| start + Duration::from_millis(at));
        let admitted = times.filter(|now| limit.admit(*now).is_some()).count();
        assert_eq!(admitted, (BURST + 19) as usize, "in a minute");
    }

    #[test]
    fn c7_rare_events_are_all_admitted() {
        let (limit, start) = (RateLimit::default(), Instant::now());
        assert!((0..1_000).all(|at| limit.admit(start + INTERVAL * at) == Some(0)));
        let later = start + Duration::from_secs(1_000_000);
        assert_eq!((0..100).filter(|_| limit.admit(later).is_some()).count(), BURST as usize);
        assert_eq!(limit.admit(start), None, "a time that goes back is no interval");
    }
}
