use std::{thread, time::Duration};

/// How many threads [`FlusherPool`](crate::FlusherPool) have.
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
    /// How many stores are flushed at the same time while all goes well. Default: as many as there are
    /// processors, from 2 to 8. One more thread watches the time. More help where the disk syncs many
    /// files at once as fast as one; where it does not, they make each flush take longer.
    pub fn threads(mut self, threads: usize) -> Self {
        self.threads = threads.max(1);
        self
    }

    /// How many may be flushed at the same time when some are slow or hang. Default: 32, and never fewer
    /// than [`threads`](Self::threads). A thread that hangs costs some 100 KiB. At this number of
    /// hanging stores, the others are not flushed any more.
    pub fn max_threads(mut self, threads: usize) -> Self {
        self.max_threads = threads;
        self
    }

    /// How long a flush may take before another thread takes its place. Default: 250 ms. This is how long
    /// stores that begin to hang can hold up others. Too short, and a busy disk is given more to do at
    /// once for being busy.
    pub fn slow_threshold(mut self, time: Duration) -> Self {
        // So that it can be added to a moment.
        self.slow_threshold = time.min(Duration::from_secs(86_400));
        self
    }

    /// How much later than others a store is let in that is known to be slow.
    pub(crate) fn patience(&self) -> Duration {
        self.slow_threshold * 8
    }

    /// How many places there are for those that are known to be slow.
    pub(crate) fn slow_places(&self) -> usize {
        self.most().saturating_sub(self.threads)
    }

    pub(crate) fn most(&self) -> usize {
        self.max_threads.max(self.threads)
    }
}
