use std::{fmt, sync::Arc, time::Duration};

/// The amount of pending changes, and the rate at which they are written.
#[derive(Clone, Copy, Debug, PartialEq, Default)]
pub struct Drain {
    /// The number of pending changes.
    pub pending: usize,
    /// The measured number of changes that are written per second; zero (or NaN) if it is unknown.
    pub per_second: f64,
}

/// A source of the measured rate. The `WeakShapeMeta` of `shape-meta` (returned by `downgrade` of a store)
/// implements it, and so does any closure that returns a [`Drain`]:
///
/// ```
/// use std::sync::Arc;
/// use shape_meta_admission::{Admission, Drain, AdmissionLimits, RetryAfter};
/// use shape_meta_core::{StoreControl, Direct, MemoryStore, NoopObserver};
///
/// # fn main() -> Result<(), shape_meta_core::Error> {
/// let store = Arc::new(Direct::new(MemoryStore::new(), Default::default(), Arc::new(NoopObserver))?);
/// // A weak reference, so that the admission does not keep the store open.
/// let weak = Arc::downgrade(&store);
/// let drain = move || {
///     let store = weak.upgrade();
///     store.map_or(Drain::default(), |store| Drain {
///         pending: store.pending().shapes,
///         per_second: store.drain_rate(),
///     })
/// };
/// let admission = Admission::with_retry_after(AdmissionLimits::default(), RetryAfter::default().drain(drain));
/// # Ok(())
/// # }
/// ```
pub trait DrainRate: Send + Sync {
    /// Returns the current state. Called once for each rejection, on the thread of the request: it should
    /// neither block nor panic.
    fn drain(&self) -> Drain;
}

impl<F: Fn() -> Drain + Send + Sync> DrainRate for F {
    fn drain(&self) -> Drain {
        self()
    }
}

/// The rule for the delay after which to retry: the time to write the pending changes at the measured rate,
/// plus a random part of up to half of that, within bounds.
#[derive(Clone)]
pub struct RetryAfter {
    min: Duration,
    max: Duration,
    drain: Option<Arc<dyn DrainRate>>,
}

impl RetryAfter {
    /// The minimum delay, which is also the delay before its random part if the rate is unknown. Default: 1
    /// second, the minimum of a `Retry-After` header. If it is too short, clients retry before the load has
    /// changed.
    pub fn min(mut self, min: Duration) -> Self {
        self.min = min;
        self
    }

    /// The maximum delay, including its random part. Default: 30 seconds. If it is too long, clients stay
    /// away after the load has gone. If it is below [`min`](Self::min), the minimum applies.
    pub fn max(mut self, max: Duration) -> Self {
        self.max = max;
        self
    }

    /// The source of the measured rate. Default: none; the delay is then the minimum plus its random part.
    pub fn drain(mut self, drain: impl DrainRate + 'static) -> Self {
        self.drain = Some(Arc::new(drain));
        self
    }

    /// Returns a delay, with a new random part for each call.
    pub(crate) fn delay(&self) -> Duration {
        let drain = self.drain.as_ref().map(|drain| drain.drain()).unwrap_or_default();
        self.delay_for(drain, fastrand::f64())
    }

    /// Returns the delay for this state. `random` selects the random part, from 0 (none) to 1 (all of it).
    fn delay_for(&self, drain: Drain, random: f64) -> Duration {
        let max = self.max.max(self.min);
        let needed = match drain.per_second > 0.0 {
            true => Duration::try_from_secs_f64(drain.pending as f64 / drain.per_second).unwrap_or(max),
            false => self.min,
        };
        // The base leaves space for the random part. Otherwise all rejected requests would retry together at
        // the maximum.
        let base = needed.clamp(self.min, (max / 3 * 2).max(self.min));
        base.saturating_add((base / 2).mul_f64(random)).min(max)
    }
}

impl Default for RetryAfter {
    fn default() -> Self {
        Self { min: Duration::from_secs(1), max: Duration::from_secs(30), drain: None }
    }
}

impl fmt::Debug for RetryAfter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { min, max, drain } = self;
        let (min, max, measured) = (min, max, drain.is_some());
        f.debug_struct("RetryAfter").field("min", min).field("max", max).field("measured", &measured).finish()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn secs(seconds: f64) -> Duration {
        Duration::from_secs_f64(seconds)
    }

    #[test]
    fn the_delay_is_the_drain_time_and_up_to_half_as_much_again() {
        let retry = RetryAfter::default();
        let drain = Drain { pending: 40_000, per_second: 10_000.0 };
        assert_eq!(retry.delay_for(drain, 0.0), secs(4.0));
        assert_eq!(retry.delay_for(drain, 0.5), secs(5.0));
        assert_eq!(retry.delay_for(drain, 1.0), secs(6.0));
    }

    #[test]
    fn without_a_rate_the_delay_is_the_minimum() {
        let retry = RetryAfter::default();
        for per_second in [0.0, -0.0, -1.0, f64::NAN] {
            assert_eq!(retry.delay_for(Drain { pending: 9, per_second }, 0.0), secs(1.0));
        }
        let delays: std::collections::BTreeSet<_> = (0..50).map(|_| retry.delay()).collect();
        assert!(delays.len() > 25, "they retry together: {delays:?}");
    }

    #[test]
    fn retries_are_spread_at_the_maximum_delay() {
        let retry = RetryAfter::default();
        let drain = Drain { pending: usize::MAX, per_second: f64::MIN_POSITIVE };
        assert_eq!(retry.delay_for(drain, 0.0), secs(20.0));
        assert_eq!(retry.delay_for(drain, 1.0), secs(30.0));
    }

    proptest! {
        #[test]
        fn the_delay_is_bounded_for_every_measurement(
            pending: usize, per_second: f64, random in 0.0..=1.0, min: u64, max: u64,
        ) {
            let (min, max) = (Duration::from_nanos(min), Duration::from_nanos(max));
            let delay = RetryAfter::default().min(min).max(max).delay_for(Drain { pending, per_second }, random);
            prop_assert!(delay >= min && delay <= max.max(min), "{delay:?}");
        }
    }

    #[test]
    fn the_longest_durations_do_not_overflow() {
        let retry = RetryAfter::default().min(Duration::MAX).max(Duration::MAX);
        assert_eq!(retry.delay_for(Drain::default(), 1.0), Duration::MAX);
    }
}
