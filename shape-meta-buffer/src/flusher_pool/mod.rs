//! The threads that flush: one pool for many stores, or a private one of a single thread for one.

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

/// Threads that flush many stores: hand a clone to
/// [`BufferOptions::flushers`](crate::BufferOptions::flushers) of each.
///
/// Without it every store has a thread of its own. With it a process that opens a store for each of its
/// hundreds of tenants has a handful of threads, and a store with nothing to do costs none and is not
/// looked at.
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
/// # Who is flushed when
///
/// A store is flushed by one thread at a time, and stores in the order in which they became due. So many
/// [`threads`](FlusherOptions::threads) flush at once. What keeps one store from holding up others:
///
/// - A store whose flush fails waits for its next attempt in a timer, not on a thread.
/// - A flush that takes longer than [`slow_threshold`](FlusherOptions::slow_threshold) does not count any more:
///   another thread takes its place, up to [`max_threads`](FlusherOptions::max_threads) in all.
/// - A store whose latest flush was slow is flushed in those additional places. If there is none, it waits
///   eight times as long as a flush counts as quick, and is then let in among the others. So slow stores
///   come late, and however many there are, the others do not.
/// - A store that is being closed is let in at once, beyond all bounds: whoever closes waits for it, so
///   there are no more of these than threads that close.
///
/// If so many flushes hang that no thread may be added, the other stores go on in memory up to their
/// bounds (C7), and their health says that they are
/// [behind](shape_meta_core::Degradation::Lagging). Then [`FlusherStats::slow`] is as large as
/// [`max_threads`](FlusherOptions::max_threads), and [`FlusherStats::behind`] grows: alert on that.
///
/// # When it ends
///
/// The stores keep the pool alive. When the last of them is closed and the last clone is dropped, the
/// threads end, and are waited for; but not those whose store never lets them go.
#[derive(Clone)]
pub struct FlusherPool(Arc<Handle>);

impl FlusherPool {
    /// A pool without a thread; the first store starts one.
    pub fn new(options: FlusherOptions) -> Self {
        Self(Arc::new(Handle(Pool::new(options))))
    }

    /// For a store that has it for itself.
    pub(crate) fn of_one_store() -> Self {
        Self::new(FlusherOptions::default().threads(1).max_threads(1))
    }

    /// A place in the pool for a store. It is not looked at before it is due, or woken.
    ///
    /// # Errors
    ///
    /// If there is no thread yet that could flush it, and none can be started.
    pub(crate) fn seat(
        &self,
        step: std::sync::Weak<dyn Step>,
        due: Option<std::time::Instant>,
    ) -> std::io::Result<Registration> {
        Ok(Registration::new(self.0.0.register(step, due)?, self.clone()))
    }

    /// What the pool does now. Takes a short lock; for a gauge.
    pub fn stats(&self) -> FlusherStats {
        self.0.0.stats()
    }
}

impl fmt::Debug for FlusherPool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("FlusherPool").field(&self.stats()).finish()
    }
}

/// What a pool of [`FlusherPool`] does at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct FlusherStats {
    /// Stores that are flushed by it.
    pub stores: usize,
    /// Its threads, those that wait among them.
    pub threads: usize,
    /// Stores that are being flushed.
    pub flushing: usize,
    /// Those of them that have been for longer than [`FlusherOptions::slow_threshold`].
    pub slow: usize,
    /// Stores that are due, and wait for a thread.
    pub waiting: usize,
    /// For how long the first of those has waited: zero, or almost, in a healthy pool.
    pub behind: Duration,
}

/// Ends the threads when the last clone goes.
struct Handle(Arc<Pool>);

impl Drop for Handle {
    fn drop(&mut self) {
        self.0.end();
    }
}
