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

use super::{MetricsObserver, gauges::Gauges};

/// Sets the gauges of all stores of a process. Clones share one state. Use one for all stores.
///
/// Call [`record`](Self::record) before each scrape or from a timer. Alternatively, [`every`](Self::every)
/// starts one thread for all stores.
///
/// The gauges of the stores without a name ([`MetricsObserver::new`]) are sums over those that are open, with
/// three exceptions: `shape_meta.pending.oldest_age`, `shape_meta.degraded.duration` and
/// `shape_meta.standby.staleness` are those of the store that is worst off. `shape_meta.health` counts the
/// stores in each state. A store with a name has gauges of its own.
///
/// ```
/// use std::sync::Arc;
/// use shape_meta_core::{Direct, Limits, MemoryStore};
/// use shape_meta_telemetry::{MetricsObserver, Reporter};
///
/// # fn main() -> Result<(), shape_meta_core::Error> {
/// let reporter = Reporter::default();
/// let observer = MetricsObserver::new();
/// let store = Arc::new(Direct::new(MemoryStore::new(), Limits::default(), Arc::new(observer.clone()))?);
/// let weak = Arc::downgrade(&store);
/// reporter.watch(observer, move || weak.upgrade());
/// reporter.record(); // before each scrape
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Default)]
pub struct Reporter(Arc<Mutex<Sources>>);

#[derive(Default)]
struct Sources {
    list: Vec<Source>,
    /// The observer of all stores without a name, once there was one.
    shared: Option<MetricsObserver>,
    /// Whether a thread calls the sources, which are not in `list` meanwhile.
    are_called: bool,
}

enum Source {
    /// A store: its gauges, `None` once it is closed.
    Store(MetricsObserver, Box<dyn FnMut() -> Option<Gauges> + Send>),
    /// A standby: its staleness, `None` once it is gone.
    Standby(MetricsObserver, Box<dyn FnMut() -> Option<Duration> + Send>),
    /// Sets other gauges, and returns whether it wants to be called again.
    Other(Box<dyn FnMut() -> bool + Send>),
}

impl Source {
    /// Sets the gauges of a named store or of another source, and adds those of a store without a name to
    /// `sum`. Returns whether the source is to be called again.
    fn call(&mut self, sum: &mut Gauges) -> bool {
        let (observer, gauges) = match self {
            Self::Other(source) => return source(),
            Self::Standby(observer, read) => {
                let staleness = read();
                // A standby that is gone leaves zero, as an owner has.
                let gauges = Gauges::of_standby(staleness.unwrap_or_default());
                if observer.is_shared() {
                    sum.add(&gauges)
                } else {
                    gauges.set_staleness(observer)
                }
                return staleness.is_some();
            }
            Self::Store(observer, read) => (observer, read()),
        };
        match &gauges {
            Some(gauges) if observer.is_shared() => sum.add(gauges),
            Some(gauges) => {
                gauges.set(observer);
                observer.keep_counters();
            }
            None if observer.is_shared() => {}
            None => Gauges::closed().set(observer),
        }
        gauges.is_some()
    }
}

impl Reporter {
    /// Adds a store, whose gauges are set by every [`record`](Self::record) from now on. Call it when the
    /// store is open.
    ///
    /// The closure should hold a weak reference, so that the reporter does not keep the store open. When the
    /// store is closed, or the closure returns `None`, the store no longer counts. The gauges of a named
    /// store are then set once to those of a closed and empty store, so that none keeps its last value, and
    /// never again. If the last other reference is dropped while the gauges are set, the store is dropped
    /// here, and its pending changes are flushed on the reporter's thread. Close a store before you drop it.
    pub fn watch<S: StoreControl>(
        &self,
        observer: MetricsObserver,
        store: impl Fn() -> Option<S> + Send + 'static,
    ) {
        let mut sources = self.sources();
        if observer.is_shared() {
            sources.shared = Some(observer.clone());
        }
        let read = move || store().as_ref().and_then(Gauges::of);
        sources.list.push(Source::Store(observer, Box::new(read)));
    }

    /// Adds a standby, whose gauge `shape_meta.standby.staleness` is set by every [`record`](Self::record)
    /// from now on: `Standby::staleness` of `shape-meta`. Of several standbys without a name the maximum
    /// counts.
    ///
    /// The closure should hold a weak reference. When it returns `None`, the standby no longer counts.
    /// [`watch`](Self::watch) the store of a standby that is promoted.
    pub fn watch_standby(
        &self,
        observer: MetricsObserver,
        staleness: impl FnMut() -> Option<Duration> + Send + 'static,
    ) {
        let mut sources = self.sources();
        if observer.is_shared() {
            sources.shared = Some(observer.clone());
        }
        sources.list.push(Source::Standby(observer, Box::new(staleness)));
    }

    /// Adds a function that sets other gauges. It is called by every [`record`](Self::record) until it
    /// returns `false`. It may call the reporter.
    pub fn add(&self, source: impl FnMut() -> bool + Send + 'static) {
        self.sources().list.push(Source::Other(Box::new(source)));
    }

    /// Sets all gauges to their current values, in the order in which they were added. Takes some
    /// microseconds a store. Reads only memory, delays no reader or writer of a store, and can be called at
    /// any time, also while a store is closing.
    ///
    /// Also keeps exporters with an idle time-out from forgetting the counters of open stores.
    ///
    /// Returns at once if another thread is setting them. A source that panics is removed.
    pub fn record(&self) {
        // Taken out of the lock, so that `add` does not wait while the gauges are set.
        let Some(mut taken) = Taken::take(self) else { return };
        let mut sum = Gauges::zero();
        // The other sources are called although one panics.
        taken
            .list
            .retain_mut(|source| catch_unwind(AssertUnwindSafe(|| source.call(&mut sum))).unwrap_or(false));
        if let Some(shared) = &taken.shared {
            sum.set(shared);
            shared.keep_counters();
        }
    }

    /// Starts a thread that calls [`record`](Self::record) at this interval until the returned value is
    /// dropped. An interval below a millisecond counts as a millisecond; gauges are read every few seconds,
    /// so a second is enough.
    ///
    /// # Errors
    ///
    /// If the thread cannot be started.
    pub fn every(&self, interval: Duration) -> io::Result<ReporterThread> {
        let interval = interval.max(Duration::from_millis(1));
        let (stop, stopped) = mpsc::channel();
        let reporter = self.clone();
        let thread = thread::Builder::new().name("shape-meta-gauges".into()).spawn(move || {
            while stopped.recv_timeout(interval) == Err(RecvTimeoutError::Timeout) {
                reporter.record();
            }
        })?;
        Ok(ReporterThread { stop: Some(stop), thread: Some(thread) })
    }

    fn sources(&self) -> MutexGuard<'_, Sources> {
        // No code that can panic runs under this lock.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The sources while they are called. `drop` puts them back, before those that were added meanwhile.
struct Taken<'a> {
    list: Vec<Source>,
    shared: Option<MetricsObserver>,
    reporter: &'a Reporter,
}

impl<'a> Taken<'a> {
    /// `None` if another thread calls them.
    fn take(reporter: &'a Reporter) -> Option<Self> {
        let mut sources = reporter.sources();
        if mem::replace(&mut sources.are_called, true) {
            return None;
        }
        Some(Self { list: mem::take(&mut sources.list), shared: sources.shared.clone(), reporter })
    }
}

impl Drop for Taken<'_> {
    fn drop(&mut self) {
        let mut sources = self.reporter.sources();
        let added = mem::replace(&mut sources.list, mem::take(&mut self.list));
        sources.list.extend(added);
        sources.are_called = false;
    }
}

impl fmt::Debug for Reporter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Reporter").field(&self.sources().list.len()).finish()
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
