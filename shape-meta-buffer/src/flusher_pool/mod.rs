//! The flusher threads: a pool that many stores share, or one of a single thread for one store.

mod options;
mod pool;
mod registration;
mod schedule;
#[cfg(test)]
mod tests;

use std::{fmt, sync::Arc, time::Duration};

pub use options::FlusherOptions;
pub(crate) use registration::{Registration, Step, Task};

use pool::Pool;

/// A pool of threads that flush many stores: pass it to
/// [`BufferOptions::flushers`](crate::BufferOptions::flushers) of each.
///
/// Without it every store has a thread of its own. With it, a process that opens a store for each of its
/// hundreds of tenants has a handful of threads, and a store without pending changes costs none.
///
/// ```
/// use std::sync::Arc;
/// use shape_meta_buffer::{BufferOptions, Buffered, FlusherOptions, FlusherPool};
/// use shape_meta_core::{MemoryStore, NoopObserver};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let flushers = FlusherPool::new(FlusherOptions::default());
/// let stores: Vec<_> = (0..100)
///     .map(|_| {
///         let options = BufferOptions::default().flushers(&flushers);
///         Buffered::new(MemoryStore::new(), options, Arc::new(NoopObserver))
///     })
///     .collect::<Result<_, _>>()?;
/// assert_eq!(flushers.stats().stores, 100);
/// assert!(flushers.stats().threads <= 1);
/// # Ok(())
/// # }
/// ```
///
/// # Scheduling
///
/// Each store is flushed by one thread at a time, and stores in the order in which they became due, as many
/// at once as [`threads`](FlusherOptions::threads) says. These rules keep one store from holding up others:
///
/// - A store whose flush failed waits for its next attempt in a timer, not on a thread.
/// - A flush that takes longer than [`slow_threshold`](FlusherOptions::slow_threshold) no longer counts:
///   another thread is used in its place, up to [`max_threads`](FlusherOptions::max_threads) in all.
/// - A store whose latest flush was slow is flushed on those additional threads. If none is free, it waits
///   for eight times the threshold and is then flushed among the others. So slow stores are flushed late, and
///   however many there are, the others are not.
/// - A store that is being closed is flushed at once, beyond all limits: the thread that closes it waits for
///   that, so there are no more of these than threads that close.
///
/// If enough flushes hang that no thread may be added, the other stores accept mutations in memory up to
/// their bounds (C7), and their health reports them as [lagging](shape_meta_core::Degradation::Lagging). Then
/// [`FlusherStats::slow`] is as large as [`max_threads`](FlusherOptions::max_threads), and
/// [`FlusherStats::behind`] grows: alert on that.
///
/// # Lifetime
///
/// The stores keep the pool alive. When the last of them is closed and the last clone is dropped, the threads
/// end, and the drop waits for them, except for those in a flush that hangs.
#[derive(Clone)]
pub struct FlusherPool(Arc<EndOnDrop>);

impl FlusherPool {
    /// Creates a pool without threads; the first store starts one.
    pub fn new(options: FlusherOptions) -> Self {
        Self(Arc::new(EndOnDrop(Pool::new(options))))
    }

    /// Creates the pool of a store that has it for itself.
    pub(crate) fn of_one_store() -> Self {
        Self::new(FlusherOptions::default().threads(1).max_threads(1))
    }

    /// Registers a store. Its first step runs when it is due, or woken.
    ///
    /// # Errors
    ///
    /// If no thread could run its steps, and none can be started.
    pub(crate) fn register(
        &self,
        step: std::sync::Weak<dyn Step>,
        due: Option<std::time::Instant>,
    ) -> std::io::Result<Registration> {
        Ok(Registration::new(self.0.0.register(step, due)?, self.clone()))
    }

    /// Returns what the pool does now, for gauges. Takes a short lock.
    pub fn stats(&self) -> FlusherStats {
        self.0.0.stats()
    }
}

impl fmt::Debug for FlusherPool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("FlusherPool").field(&self.stats()).finish()
    }
}

/// What a [`FlusherPool`] does at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct FlusherStats {
    /// The number of stores that it flushes.
    pub stores: usize,
    /// The number of its threads, including idle ones.
    pub threads: usize,
    /// The number of stores that are being flushed.
    pub flushing: usize,
    /// How many of those flushes have taken longer than [`FlusherOptions::slow_threshold`] already.
    pub slow: usize,
    /// The number of stores that are due and wait for a thread.
    pub waiting: usize,
    /// How long the first of those has waited: almost zero in a healthy pool.
    pub behind: Duration,
}

/// Ends the threads when the last clone of the pool is dropped.
struct EndOnDrop(Arc<Pool>);

impl Drop for EndOnDrop {
    fn drop(&mut self) {
        self.0.end();
    }
}
