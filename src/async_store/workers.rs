use std::{
    future::Future,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use shape_meta_core::Result;

use super::{BlockingOptions, BlockingPool, pool::Pool, queue::CallQueue};

/// How many streams of shapes one store reads at the same time. Each keeps a thread and a connection for as
/// long as its consumer takes.
const MAX_SCANS: usize = 2;
/// How many closes and promotions of one store wait at the same time.
const MAX_WAITS: usize = 4;

/// The threads of one store for its futures.
pub(crate) struct Workers {
    /// Calls that take as long as the disk does.
    calls: Arc<CallQueue>,
    /// Streams, which take as long as their consumers do.
    scans: Arc<CallQueue>,
    /// Calls that wait for other things than the disk.
    waits: Arc<CallQueue>,
    has_futures: AtomicBool,
}

impl Workers {
    /// Returns the workers of a store. Its calls run in the shared pool if there is one. Starts no thread.
    pub(crate) fn new(shared: Option<&BlockingPool>) -> Arc<Self> {
        let options = BlockingOptions::default();
        let own = Pool::new(options.max_threads(options.max_threads_per_store + MAX_SCANS + MAX_WAITS));
        let pool = shared.map_or(&own, |shared| &shared.0);
        Arc::new(Self {
            calls: CallQueue::new(pool, pool.options.max_threads_per_store),
            scans: CallQueue::new(&own, MAX_SCANS),
            waits: CallQueue::new(&own, MAX_WAITS),
            has_futures: AtomicBool::new(false),
        })
    }

    /// Runs a call that takes as long as the disk does.
    pub(crate) fn call<T: Send + 'static, F: FnOnce() -> T + Send + 'static>(
        &self,
        call: F,
    ) -> impl Future<Output = Result<T>> + Send + use<T, F> {
        self.note_future();
        self.calls.run(call)
    }

    /// Runs a call that waits by design, so that calls of the disk do not wait for it, nor it for them.
    pub(crate) fn wait<T: Send + 'static, F: FnOnce() -> T + Send + 'static>(
        &self,
        call: F,
    ) -> impl Future<Output = Result<T>> + Send + use<T, F> {
        self.note_future();
        self.waits.run(call)
    }

    /// Runs a call that feeds a stream.
    pub(super) fn scans(&self) -> &Arc<CallQueue> {
        self.note_future();
        &self.scans
    }

    /// Records that the store is used by futures, so that its last clone is probably dropped on an executor.
    pub(crate) fn note_future(&self) {
        if !self.has_futures.load(Ordering::Relaxed) {
            self.has_futures.store(true, Ordering::Relaxed);
        }
    }

    pub(crate) fn has_futures(&self) -> bool {
        self.has_futures.load(Ordering::Relaxed)
    }
}
