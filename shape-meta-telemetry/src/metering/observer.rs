use std::{path::Path, sync::Arc, time::Duration};

use metrics::{Label, SharedString};
use shape_meta_core::{
    Activity, Change, Checkin, Checkout, DurabilityWait, Error, ErrorKind, EvictionStats, FlushStats, Handle,
    Latencies, MutateError, Observer, OpenStats, PublishStats, RecoveryStats, Refusal, Repaired, Seq, Span,
};

use super::{counters::Counters, metric::*, span::TimedSpan};

/// An observer that records counters and histograms through the [`metrics`] facade. The
/// [table](crate#metrics) lists all metrics. Clones share one state.
///
/// Without a name, the metrics are those of all such stores of the process together, so their number does not
/// depend on the number of stores: see [`new`](Self::new) and [`named`](Self::named). A
/// [`Reporter`](crate::Reporter) sets the gauges.
///
/// ```
/// use std::sync::Arc;
/// use shape_meta_core::{Direct, Limits, MemoryStore};
/// use shape_meta_telemetry::{MetricsObserver, Reporter};
///
/// # fn main() -> Result<(), shape_meta_core::Error> {
/// let observer = MetricsObserver::new(); // after the exporter is installed
/// let store = Arc::new(Direct::new(MemoryStore::new(), Limits::default(), Arc::new(observer.clone()))?);
/// let reporter = Reporter::default();
/// let weak = Arc::downgrade(&store);
/// reporter.watch(observer, move || weak.upgrade());
/// reporter.record(); // before each scrape
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct MetricsObserver {
    stack: Option<Arc<str>>,
    counters: Arc<Counters>,
}

impl Default for MetricsObserver {
    fn default() -> Self {
        Self::new()
    }
}

impl MetricsObserver {
    /// An observer of any number of stores, whose metrics are recorded together: counters and histograms are
    /// sums, and [`Reporter`](crate::Reporter) says what the gauges are. One observer can serve all stores;
    /// several have the same effect.
    ///
    /// The number of series does not depend on the number of stores, and no counter or histogram decreases
    /// when a store is closed.
    ///
    /// Install the recorder first: the metrics are described to the recorder that is installed now.
    pub fn new() -> Self {
        describe();
        Self { stack: None, counters: Counters::of_unnamed() }
    }

    /// An observer of the store with this name, which is the label `stack` of its metrics. They are not part
    /// of those of [`new`](Self::new).
    ///
    /// Each name has up to some hundred series. After the store is closed or dropped, nothing records them,
    /// and an exporter with an idle time-out forgets them. One without shows their last values for the life
    /// of the process: `shape_meta.health` with `state="closed"`, and the other gauges zero. So name a few
    /// stores, or configure the time-out (`PrometheusBuilder::idle_timeout`) as several times the interval of
    /// scrapes. A [`Reporter`](crate::Reporter) keeps the counters and gauges of open stores from being
    /// forgotten; a histogram into which nothing is recorded for that long begins at zero again.
    ///
    /// Install the recorder first: the metrics are described to the recorder that is installed now.
    pub fn named(stack: impl Into<Arc<str>>) -> Self {
        describe();
        Self { stack: Some(stack.into()), counters: Arc::default() }
    }

    /// Returns the names of all histograms, each with its bucket bounds:
    /// [`TIME_BUCKETS`](crate::TIME_BUCKETS) or [`SIZE_BUCKETS`](crate::SIZE_BUCKETS).
    ///
    /// Configure the exporter with them. Without bounds, the exporter of Prometheus writes summaries, which
    /// cannot be aggregated over several processes, and OpenTelemetry uses bounds for milliseconds.
    pub fn histograms() -> impl Iterator<Item = (&'static str, &'static [f64])> {
        histograms()
    }

    /// Whether the metrics are those of all stores without a name.
    pub(super) fn is_shared(&self) -> bool {
        self.stack.is_none()
    }

    /// Keeps exporters from forgetting the counters.
    pub(super) fn keep_counters(&self) {
        self.counters.keep();
    }

    /// Returns the label of the store, if it has a name, and these labels.
    pub(super) fn labels<const N: usize>(&self, more: [(&'static str, &'static str); N]) -> Vec<Label> {
        let mut labels = Vec::with_capacity(N + 2);
        labels.extend(self.stack.clone().map(|stack| Label::new("stack", SharedString::from(stack))));
        labels.extend(more.map(|(key, value)| Label::from_static_parts(key, value)));
        labels
    }

    /// Returns the labels of a connection metric, which also name the pool, as the conventions require.
    pub(super) fn pool_labels<const N: usize>(&self, more: [(&'static str, &'static str); N]) -> Vec<Label> {
        let mut labels = self.labels(more);
        let pool = self.stack.clone().map_or(SharedString::const_str("shape_meta"), SharedString::from);
        labels.push(Label::new("db.client.connection.pool.name", pool));
        labels
    }

    /// Increments a counter.
    fn count(&self, metric: &Metric, labels: Vec<Label>, by: u64) {
        self.counters.increment(metric.key(labels), by);
    }

    /// Counts a failure of this kind.
    fn count_error(&self, metric: &Metric, error: &Error) {
        self.count(metric, self.labels([("error.type", error.kind().name())]), 1);
    }

    pub(super) fn record_activity(
        &self,
        activity: &'static str,
        took: Duration,
        failure: Option<&'static str>,
    ) {
        let labels = match failure {
            None => self.labels([("activity", activity)]),
            Some(failure) => self.labels([("activity", activity), ("error.type", failure)]),
        };
        ACTIVITY.histogram(labels).record(took);
    }

    /// Records an operation, with or without a connection.
    fn record_operation(&self, label: &'static str, took: Duration, failure: Option<ErrorKind>) {
        let mut labels = self.labels([("db.system.name", "sqlite"), ("db.operation.name", label)]);
        labels.extend(failure.map(|failure| Label::from_static_parts("error.type", failure.name())));
        OPERATION.histogram(labels).record(took);
    }

    /// Records an operation that got no connection.
    pub(super) fn record_no_connection(&self, label: &'static str, waited: Duration, failure: ErrorKind) {
        self.record_operation(label, waited, Some(failure));
        if failure == ErrorKind::Busy {
            self.count(&TIMEOUTS, self.pool_labels([("db.operation.name", label)]), 1);
        }
    }
}

#[deny(clippy::missing_trait_methods)] // A missing method would silently lose a metric.
impl Observer for MetricsObserver {
    fn begin(&self, activity: Activity<'_>) -> Option<Box<dyn Span>> {
        match activity {
            // `flushed` and `retrying` record it.
            Activity::Flush { .. } => None,
            Activity::Checkout { label } => Some(Box::new(TimedSpan::checkout(self.clone(), label))),
            _ => Some(Box::new(TimedSpan::activity(self.clone(), activity.name()))),
        }
    }

    fn checkout(&self, &Checkout { label, queued, .. }: &Checkout) {
        WAIT.histogram(self.pool_labels([("db.operation.name", label)])).record(queued);
    }

    fn checkin(&self, &Checkin { label, queued, used, error, .. }: &Checkin) {
        USE.histogram(self.pool_labels([("db.operation.name", label)])).record(used);
        self.record_operation(label, queued.saturating_add(used), error);
    }

    fn flushed(&self, flush: &FlushStats) {
        let &FlushStats { mutations, changes, bytes, took, oldest } = flush;
        FLUSH_DURATION.histogram(self.labels([])).record(took);
        FLUSH_CHANGES.histogram(self.labels([])).record(changes as f64);
        FLUSH_BYTES.histogram(self.labels([])).record(bytes as f64);
        FLUSH_AGE.histogram(self.labels([])).record(oldest);
        self.count(&FLUSHED, self.labels([]), mutations);
        self.count(&COALESCED, self.labels([]), flush.coalesced());
    }

    fn retrying(&self, error: &Error, _: u32, _: Duration) {
        self.count_error(&RETRIES, error);
    }

    fn rejected(&self, _: Option<&Handle>, _: &[Seq], error: &Error) {
        self.count_error(&REJECTED, error);
    }

    fn refused(&self, refusal: &Refusal) {
        self.count(&REFUSED, self.labels([("reason", refusal.name())]), 1);
    }

    fn failed(&self, error: &Error) {
        self.count_error(&FAILED, error);
    }

    fn wants_acknowledged(&self) -> bool {
        true
    }

    /// Records the middle of each step of the table, so that a thousand mutations cost a few calls.
    fn acknowledged(&self, latencies: &Latencies) {
        let histogram = ACKNOWLEDGE.histogram(self.labels([]));
        for (took, count) in latencies.iter() {
            histogram.record_many(took, usize::try_from(count).unwrap_or(usize::MAX));
        }
    }

    fn awaited(&self, &DurabilityWait { took, error }: &DurabilityWait) {
        let mut labels = self.labels([]);
        labels.extend(error.map(|error| Label::from_static_parts("error.type", error)));
        DURABILITY_WAIT.histogram(labels).record(took);
    }

    fn stopped(&self, error: &Error) {
        self.count_error(&STOPS, error);
    }

    fn published(&self, &PublishStats { took, .. }: &PublishStats) {
        PUBLISH.histogram(self.labels([])).record(took);
    }

    fn wants_committed(&self) -> bool {
        false
    }

    fn committed(&self, _: &Change) {}

    /// Nothing: the activity has its duration, and a gauge the number of shapes.
    fn opened(&self, _: &OpenStats) {}

    fn recovered(&self, &RecoveryStats { removed, .. }: &RecoveryStats) {
        self.count(&RECOVERED, self.labels([]), removed as u64);
    }

    fn quarantined(&self, _: &Path, error: &Error) {
        self.count_error(&QUARANTINES, error);
    }

    fn repaired(&self, repaired: &Repaired) {
        self.count(&REPAIR_LOST, self.labels([]), repaired.missing());
    }

    fn cleanup_failed(&self, error: &Error, _: u32, _: Duration) {
        self.count_error(&CLEANUP_FAILURES, error);
    }

    fn orphans_found(&self, orphans: u64, _: &[Handle], _: bool) {
        self.count(&ORPHANS, self.labels([]), orphans);
    }

    fn evicted(&self, evicted: &EvictionStats, error: Option<&MutateError>) {
        self.count(&EVICTED, self.labels([]), evicted.removed as u64);
        self.count(&EVICTION_SPARED, self.labels([]), evicted.spared as u64);
        EVICTION_DURATION.histogram(self.labels([])).record(evicted.took);
        if let Some(unread) = evicted.newest_unread {
            EVICTION_UNREAD.histogram(self.labels([])).record(unread);
        }
        if error.is_some() || evicted.over_limit > 0 {
            self.count(&EVICTION_SHORT, self.labels([]), 1);
        }
    }
}
