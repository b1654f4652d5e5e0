use std::{fmt, sync::Arc, time::Duration};

use crate::Handle;

pub(super) type Predicate = Arc<dyn Fn(&Handle) -> bool + Send + Sync>;

/// What an [`Evictor`](crate::Evictor) keeps. Without a limit it keeps everything.
#[derive(Clone)]
pub struct EvictorOptions {
    pub(super) max_shapes: Option<u64>,
    pub(super) low_water: Option<u64>,
    pub(super) max_unread: Option<Duration>,
    pub(super) min_unread: Duration,
    pub(super) step_shapes: usize,
    pub(super) step_time: Duration,
    pub(super) pinned: Option<Predicate>,
}

impl Default for EvictorOptions {
    fn default() -> Self {
        Self {
            max_shapes: None,
            low_water: None,
            max_unread: None,
            min_unread: Duration::ZERO,
            step_shapes: 10_000,
            step_time: Duration::from_millis(50),
            pinned: None,
        }
    }
}

impl EvictorOptions {
    /// Sets the number of live shapes above which the least recently used ones are removed. Default: no
    /// limit. In a storm the number is exceeded until the next steps have run.
    pub fn max_shapes(mut self, shapes: u64) -> Self {
        self.max_shapes = Some(shapes);
        self
    }

    /// Sets the number of live shapes down to which they are removed, once there are more than
    /// [`max_shapes`](Self::max_shapes). Default 95% of that; a higher number counts as that.
    ///
    /// Too close to the maximum makes a search for a few shapes in nearly every step, which visits all
    /// shapes: 10 to 50 ms for a million. Too far removes shapes that clients may still come back for.
    pub fn low_water(mut self, shapes: u64) -> Self {
        self.low_water = Some(shapes);
        self
    }

    /// Sets for how long a shape stays that is not read. Default: without a limit.
    pub fn max_unread(mut self, duration: Duration) -> Self {
        self.max_unread = Some(duration);
        self
    }

    /// Sets for how long a shape stays after a read in any case, although there are more than
    /// [`max_shapes`](Self::max_shapes). Default zero.
    ///
    /// Too short evicts shapes in use, which their clients make again at once. Too long lets the number of
    /// shapes grow beyond the maximum while all of them are read.
    pub fn min_unread(mut self, duration: Duration) -> Self {
        self.min_unread = duration;
        self
    }

    /// Sets the largest number of shapes that one step removes. Default 10,000; at least 1. Each step
    /// searches all shapes once, so too few make each removal expensive; too many make a step long.
    pub fn step_shapes(mut self, shapes: usize) -> Self {
        self.step_shapes = shapes.max(1);
        self
    }

    /// Sets the time after which a step begins no further removal, in addition to the time of its search.
    /// Default 50 ms. One thread serves many stores, and without a buffer each removal waits for the disk. A
    /// step removes one shape at least, if one is due.
    pub fn step_time(mut self, time: Duration) -> Self {
        self.step_time = time;
        self
    }

    /// Sets a predicate of shapes that are never removed, in addition to those that are
    /// [pinned](crate::Evictor::pin) by name. Default: none. It is called for candidates only, on the thread
    /// of the step and without a lock. If most candidates are pinned by it, a step may remove fewer shapes
    /// than it could.
    pub fn pinned_if(mut self, is_pinned: impl Fn(&Handle) -> bool + Send + Sync + 'static) -> Self {
        self.pinned = Some(Arc::new(is_pinned));
        self
    }

    /// The limits of the hysteresis: above the first one, shapes are removed down to the second.
    pub(super) fn water(&self) -> Option<(u64, u64)> {
        let high = self.max_shapes?;
        let low = self.low_water.unwrap_or(high - high / 20);
        Some((high, low.min(high)))
    }
}

impl fmt::Debug for EvictorOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EvictorOptions")
            .field("max_shapes", &self.max_shapes)
            .field("low_water", &self.low_water)
            .field("max_unread", &self.max_unread)
            .field("min_unread", &self.min_unread)
            .field("step_shapes", &self.step_shapes)
            .field("step_time", &self.step_time)
            .field("pinned", &self.pinned.is_some())
            .finish()
    }
}
