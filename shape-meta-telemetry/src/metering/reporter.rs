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

/// Sets the gauges of all stores of a process. Clones are the same reporter.
///
/// Call [`record`](Self::record) before each scrape or from a timer of your own; [`every`](Self::every) is one thread
/// for those who have none, however many stores there are.
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

/// Sets gauges, and says whether it wants to be called again.
type Source = Box<dyn FnMut() -> bool + Send>;

impl Reporter {
    /// Sets the gauges of this store from now on. Begin it when the store is open: what is not watched yet says
    /// nothing.
    ///
    /// The closure is to hold a weak reference, so that the reporter does not keep the store open. When it gives
    /// none any more, the gauges are set to [those of a store that is gone](MetricsObserver::record_gone), once. If you
    /// drop the last reference of your own in the very moment in which the store is looked at, it is dropped here, and
    /// what is pending is flushed on the reporter's thread: close a store before you drop it.
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
                observer.record_gone();
                false
            }
        });
    }

    /// Calls this too, until it returns false: for gauges of your own.
    pub fn add(&self, source: impl FnMut() -> bool + Send + 'static) {
        self.sources().push(Box::new(source));
    }

    /// Sets all gauges to what they are now, in the order in which they were added; some microseconds a store. If
    /// another thread is at it, that one does it.
    pub fn record(&self) {
        // Taken out, so that whoever adds one does not wait for those that are there.
        let mut taken = Taken { sources: mem::take(&mut *self.sources()), reporter: self };
        // What panics is not asked again, and does not keep the others from being asked.
        taken.sources.retain_mut(|source| catch_unwind(AssertUnwindSafe(source)).unwrap_or(false));
    }

    /// Starts a thread that calls [`record`](Self::record) at this interval until it is dropped.
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
        // Nothing that could panic runs under it.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The sources while they are asked. They go back before those that were added meanwhile.
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

/// The thread that [`Reporter::every`] has started. Dropping it stops the thread and waits for its end.
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
            // Its panics were caught.
            let _ = thread.join();
        }
    }
}
