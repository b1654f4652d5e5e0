use std::{thread, time::Duration};

/// How many threads a [`FlusherPool`](crate::FlusherPool) has.
#[derive(Clone, Copy, Debug)]
pub struct FlusherOptions {
    pub(crate) threads: usize,
    pub(crate) max_threads: usize,
    pub(crate) slow_threshold: Duration,
}

impl Default for FlusherOptions {
    fn default() -> Self {
        let processors = thread::available_parallelism().map_or(1, usize::from);
        Self { threads: processors.clamp(2, 8), max_threads: 32, slow_threshold: Duration::from_millis(250) }
    }
}

impl FlusherOptions {
    /// Sets how many stores are flushed at the same time while no flush is slow. Default: the number of
    /// processors, between 2 and 8; at least 1. One more thread watches the timers.
    ///
    /// Too few make stores wait for one another. More help only where the disk syncs many files at once as
    /// fast as one; elsewhere they make each flush take longer.
    pub fn threads(mut self, threads: usize) -> Self {
        self.threads = threads.max(1);
        self
    }

    /// Sets how many stores are flushed at the same time when some flushes are slow or hang. Default 32; a
    /// value below [`threads`](Self::threads) counts as that.
    ///
    /// Once this many flushes hang, no other store is flushed any more. Each thread costs about 100 KiB.
    pub fn max_threads(mut self, threads: usize) -> Self {
        self.max_threads = threads;
        self
    }

    /// Sets how long a flush may take before another thread is used in its place. Default 250 ms; a day at
    /// most.
    ///
    /// Too long lets stores that begin to hang hold up others for as long. Too short gives a busy disk more
    /// to do at once because it is busy.
    pub fn slow_threshold(mut self, time: Duration) -> Self {
        // A day, so that it can be added to any moment.
        self.slow_threshold = time.min(Duration::from_secs(86_400));
        self
    }

    /// Returns how much later than others a store with a slow latest flush runs among them.
    pub(super) fn slow_delay(&self) -> Duration {
        self.slow_threshold * 8
    }

    /// Returns the number of threads for stores with a slow latest flush.
    pub(super) fn slow_threads(&self) -> usize {
        self.limit().saturating_sub(self.threads)
    }

    /// Returns the number of stores that are flushed at the same time at most.
    pub(super) fn limit(&self) -> usize {
        self.max_threads.max(self.threads)
    }
}
