use std::{
    fmt, io, mem,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        mpsc::{self, RecvTimeoutError},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use shape_meta_core::StoreControl;

use super::MetricsObserver;

/// Sets the gauges of all stores of a process. Clones share one state.
///
/// Call [`record`](Self::record) before each scrape or from a timer. Alternatively, [`every`](Self::every)
/// starts one thread for all stores.
///
/// ```
/// use std::sync::Arc;
/// use shape_meta_core::{Direct, Limits, MemoryStore};
/// use shape_meta_telemetry::{MetricsObserver, Reporter};
///
/// # fn main() -> Result<(), shape_meta_core::Error> {
/// let reporter = Reporter::default();
/// let observer = MetricsObserver::new("tenant-7");
/// let store = Arc::new(Direct::new(MemoryStore::new(), Limits::default(), Arc::new(observer.clone()))?);
/// let weak = Arc::downgrade(&store);
/// reporter.watch(observer, move || weak.upgrade());
/// reporter.record(); // before each scrape
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Default)]
pub struct Reporter(Arc<Mutex<Vec<Source>>>);

/// Sets gauges, and returns whether it wants to be called again.
type Source = Box<dyn FnMut() -> bool + Send>;

impl Reporter {
    /// Adds a store, whose gauges are set by every [`record`](Self::record) from now on. Call it when the
    /// store is open.
    ///
    /// The closure should hold a weak reference, so that the reporter does not keep the store open. When the
    /// closure returns `None`, the gauges are set once to those of a [closed
    /// store](MetricsObserver::record_closed). If the last other reference is dropped while the gauges are
    /// set, the store is dropped here, and its pending changes are flushed on the reporter's thread. Close a
    /// store before you drop it.
    pub fn watch<S: StoreControl>(
        &self,
        observer: MetricsObserver,
        store: impl Fn() -> Option<S> + Send + 'static,
    ) {
        self.add(move || match store() {
            Some(store) => {
                observer.record_gauges(&store);
                true
            }
            None => {
                observer.record_closed();
                false
            }
        });
    }

    /// Adds a function that sets other gauges. It is called by every [`record`](Self::record) until it
    /// returns `false`.
    pub fn add(&self, source: impl FnMut() -> bool + Send + 'static) {
        self.sources().push(Box::new(source));
    }

    /// Sets all gauges to their current values, in the order in which they were added. Takes some
    /// microseconds a store.
    ///
    /// Returns at once if another thread is setting them.
    pub fn record(&self) {
        // Taken out of the lock, so that `add` does not wait while the gauges are set.
        let mut taken = Taken { sources: mem::take(&mut *self.sources()), reporter: self };
        // A source that panics is removed, and the others are still called.
        taken.sources.retain_mut(|source| catch_unwind(AssertUnwindSafe(source)).unwrap_or(false));
    }

    /// Starts a thread that calls [`record`](Self::record) at this interval until the returned value is
    /// dropped.
    ///
    /// # Errors
    ///
    /// If the thread cannot be started.
    pub fn every(&self, interval: Duration) -> io::Result<ReporterThread> {
        let (stop, stopped) = mpsc::channel();
        let reporter = self.clone();
        let thread = thread::Builder::new().name("shape-meta-gauges".into()).spawn(move || {
            while stopped.recv_timeout(interval) == Err(RecvTimeoutError::Timeout) {
                reporter.record();
            }
        })?;
        Ok(ReporterThread { stop: Some(stop), thread: Some(thread) })
    }

    fn sources(&self) -> MutexGuard<'_, Vec<Source>> {
        // No code that can panic runs under this lock.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The sources while they are called. `drop` puts them back, before those that were added meanwhile.
struct Taken<'a> {
    sources: Vec<Source>,
    reporter: &'a Reporter,
}

impl Drop for Taken<'_> {
    fn drop(&mut self) {
        let mut sources = self.reporter.sources();
        let added = mem::replace(&mut *sources, mem::take(&mut self.sources));
        sources.extend(added);
    }
}

impl fmt::Debug for Reporter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Reporter").field(&self.sources().len()).finish()
    }
}

/// The thread of [`Reporter::every`]. Dropping it stops the thread and waits for its end.
#[derive(Debug)]
#[must_use = "dropping it stops the thread"]
pub struct ReporterThread {
    stop: Option<mpsc::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Drop for ReporterThread {
    fn drop(&mut self) {
        self.stop.take();
        if let Some(thread) = self.thread.take() {
            // The thread catches all panics.
            let _ = thread.join();
        }
    }
}
