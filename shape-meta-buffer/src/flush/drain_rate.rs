use std::time::Duration;

use crate::sync::atomic::{AtomicU64, Ordering};

/// The measured rate at which flushes take changes away.
#[derive(Debug, Default)]
pub(crate) struct DrainRate {
    /// Changes a second, as the bits of an `f64`; zero before the first flush.
    rate: AtomicU64,
    /// The changes of the latest flushes and the seconds that they took, older ones counting less, as the bits
    /// of an `f64`. Only whoever flushes looks at them.
    changes: AtomicU64,
    seconds: AtomicU64,
    /// The delay before the next attempt while flushes fail, in microseconds.
    delay: AtomicU64,
}

/// What an unknown disk is taken to do: one synced transaction of a thousand in 20 ms. It counts like one of the latest
/// flushes for ever: one of a single change is nothing but a sync, and would say that the disk takes some hundred
/// changes a second, in the very moment in which a storm begins.
const USUAL: (f64, f64) = (1_000.0, 0.02);
/// How much of the flushes before is left with each flush.
const KEPT: f64 = 0.7;

impl DrainRate {
    /// A flush of so many changes took so long.
    pub(crate) fn flushed(&self, changes: usize, took: Duration) {
        self.delay.store(0, Ordering::Relaxed);
        let add = |to: &AtomicU64, more: f64| {
            let sum = f64::from_bits(to.load(Ordering::Relaxed)) * KEPT + more;
            to.store(sum.to_bits(), Ordering::Relaxed);
            sum
        };
        let (changes, seconds) = (add(&self.changes, changes as f64), add(&self.seconds, took.as_secs_f64()));
        let rate = (USUAL.0 + changes) / (USUAL.1 + seconds);
        self.rate.store(rate.to_bits(), Ordering::Relaxed);
    }

    /// A flush failed, the next attempt comes after this delay.
    pub(crate) fn failed(&self, delay: Duration) {
        self.delay.store(delay.as_micros() as u64, Ordering::Relaxed);
    }

    /// Changes a second; zero before the first flush.
    pub(crate) fn rate(&self) -> f64 {
        f64::from_bits(self.rate.load(Ordering::Relaxed))
    }

    /// How long taking so many changes away will need: between 1 ms and 30 s.
    pub(crate) fn time_for(&self, changes: usize) -> Duration {
        let rate = self.rate();
        let rate = if rate > 0.0 { rate } else { USUAL.0 / USUAL.1 };
        let work = Duration::from_secs_f64((changes as f64 / rate).min(30.0));
        let delay = Duration::from_micros(self.delay.load(Ordering::Relaxed));
        (work + delay).clamp(Duration::from_millis(1), Duration::from_secs(30))
    }
}
