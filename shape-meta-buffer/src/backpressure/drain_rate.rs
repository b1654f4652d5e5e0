use std::time::Duration;

use crate::sync::atomic::{AtomicU64, Ordering};

/// The measured rate at which flushes commit pending changes. Read and written without a lock.
#[derive(Debug, Default)]
pub(crate) struct DrainRate {
    /// Changes per second, as the bits of an `f64`; zero before the first flush.
    rate: AtomicU64,
    /// The changes of past flushes, older ones weighted less, as the bits of an `f64`. Only flushes use it.
    changes: AtomicU64,
    /// The seconds that those flushes took, weighted and encoded alike.
    seconds: AtomicU64,
    /// The delay before the next attempt while flushes fail, in microseconds.
    delay: AtomicU64,
}

/// The assumed disk: 1,000 changes in one synced transaction of 20 ms.
///
/// It stays in the average like one recent flush. A flush of a single change measures nothing but the sync:
/// alone, it would report a few hundred changes per second at the very moment in which a storm begins.
const ASSUMED: (f64, f64) = (1_000.0, 0.02);
/// The weight that past flushes keep with each new one.
const DECAY: f64 = 0.7;

impl DrainRate {
    /// Records a flush of this many changes that took this long.
    pub(crate) fn flushed(&self, changes: usize, took: Duration) {
        self.delay.store(0, Ordering::Relaxed);
        let add = |to: &AtomicU64, more: f64| {
            let sum = f64::from_bits(to.load(Ordering::Relaxed)) * DECAY + more;
            to.store(sum.to_bits(), Ordering::Relaxed);
            sum
        };
        let (changes, seconds) = (add(&self.changes, changes as f64), add(&self.seconds, took.as_secs_f64()));
        let rate = (ASSUMED.0 + changes) / (ASSUMED.1 + seconds);
        self.rate.store(rate.to_bits(), Ordering::Relaxed);
    }

    /// Records a failed flush that is retried after this delay.
    pub(crate) fn failed(&self, delay: Duration) {
        self.delay.store(u64::try_from(delay.as_micros()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    /// Returns changes per second; zero before the first flush.
    pub(crate) fn rate(&self) -> f64 {
        f64::from_bits(self.rate.load(Ordering::Relaxed))
    }

    /// Returns the estimated time to commit this many changes, between 1 ms and 30 s.
    pub(crate) fn time_for(&self, changes: usize) -> Duration {
        let rate = self.rate();
        let rate = if rate > 0.0 { rate } else { ASSUMED.0 / ASSUMED.1 };
        let work = Duration::from_secs_f64((changes as f64 / rate).min(30.0));
        let delay = Duration::from_micros(self.delay.load(Ordering::Relaxed));
        (work + delay).clamp(Duration::from_millis(1), Duration::from_secs(30))
    }
}
