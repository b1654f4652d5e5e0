use std::{fmt, sync::Arc, time::Duration};

/// How much waits to be written, and how fast it is.
#[derive(Clone, Copy, Debug, PartialEq, Default)]
pub struct Drain {
    /// How many changes wait.
    pub pending: usize,
    /// How many are written in a second, as measured; zero (or no number) if that is not known.
    pub per_second: f64,
}

/// Where the measured rate comes from. The `WeakShapeMeta` of `shape-meta` (what `downgrade` of a store returns) is
/// such a place, and so is any closure that returns a [`Drain`]:
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
    /// How it is now. Called once for each refusal, on the thread that is refused: it should not block.
    fn drain(&self) -> Drain;
}

impl<F: Fn() -> Drain + Send + Sync> DrainRate for F {
    fn drain(&self) -> Drain {
        self()
    }
}

/// How the delay after which to come again is made: as long as writing what is pending takes at the measured
/// rate, and up to half as much again at random, all within bounds.
#[derive(Clone)]
pub struct RetryAfter {
    min: Duration,
    max: Duration,
    drain: Option<Arc<dyn DrainRate>>,
}

impl RetryAfter {
    /// The shortest delay, and the one before its random part when no rate is known. 1 second by default, which is
    /// what a `Retry-After` header can say at least. Too short, and those who are refused come back
    /// before anything has changed.
    pub fn min(mut self, min: Duration) -> Self {
        self.min = min;
        self
    }

    /// The longest delay, its random part included. 30 seconds by default. Too long, and clients stay away
    /// after the storm is over. Where it is below [`min`](Self::min), that counts.
    pub fn max(mut self, max: Duration) -> Self {
        self.max = max;
        self
    }

    /// Where the measured rate comes from. Nowhere by default: then the delay is the shortest, and its random part.
    pub fn drain(mut self, drain: impl DrainRate + 'static) -> Self {
        self.drain = Some(Arc::new(drain));
        self
    }

    /// A delay, another one each time.
    pub(crate) fn delay(&self) -> Duration {
        let drain = self.drain.as_ref().map(|drain| drain.drain()).unwrap_or_default();
        self.delay_for(drain, fastrand::f64())
    }

    /// The delay for this much, `at` this part of the way (from 0 to 1) through its random part.
    fn delay_for(&self, drain: Drain, at: f64) -> Duration {
        let max = self.max.max(self.min);
        let needed = match drain.per_second > 0.0 {
            true => Duration::try_from_secs_f64(drain.pending as f64 / drain.per_second).unwrap_or(max),
            false => self.min,
        };
        // Below the longest by its random part: at the longest all who are refused would come back together.
        let base = needed.clamp(self.min, (max / 3 * 2).max(self.min));
        base.saturating_add((base / 2).mul_f64(at)).min(max)
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
    fn it_is_what_the_disk_needs_and_up_to_half_as_much_again() {
        let retry = RetryAfter::default();
        let drain = Drain { pending: 40_000, per_second: 10_000.0 };
        assert_eq!(retry.delay_for(drain, 0.0), secs(4.0));
        assert_eq!(retry.delay_for(drain, 0.5), secs(5.0));
        assert_eq!(retry.delay_for(drain, 1.0), secs(6.0));
    }

    #[test]
    fn without_a_rate_it_is_the_shortest() {
        let retry = RetryAfter::default();
        for per_second in [0.0, -0.0, -1.0, f64::NAN] {
            assert_eq!(retry.delay_for(Drain { pending: 9, per_second }, 0.0), secs(1.0));
        }
        let delays: std::collections::BTreeSet<_> = (0..50).map(|_| retry.delay()).collect();
        assert!(delays.len() > 25, "they come back together: {delays:?}");
    }

    #[test]
    fn at_the_longest_they_do_not_come_back_together() {
        let retry = RetryAfter::default();
        let drain = Drain { pending: usize::MAX, per_second: f64::MIN_POSITIVE };
        assert_eq!(retry.delay_for(drain, 0.0), secs(20.0));
        assert_eq!(retry.delay_for(drain, 1.0), secs(30.0));
    }

    proptest! {
        #[test]
        fn it_is_bounded_whatever_is_measured(
            pending: usize, per_second: f64, at in 0.0..=1.0, min: u64, max: u64,
        ) {
            let (min, max) = (Duration::from_nanos(min), Duration::from_nanos(max));
            let delay = RetryAfter::default().min(min).max(max).delay_for(Drain { pending, per_second }, at);
            prop_assert!(delay >= min && delay <= max.max(min), "{delay:?}");
        }
    }

    #[test]
    fn the_longest_durations_do_not_overflow() {
        let retry = RetryAfter::default().min(Duration::MAX).max(Duration::MAX);
        assert_eq!(retry.delay_for(Drain::default(), 1.0), Duration::MAX);
    }
}
