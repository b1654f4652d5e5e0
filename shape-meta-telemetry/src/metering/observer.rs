use std::{path::Path, sync::Arc, time::Duration};

use metrics::{Label, SharedString};
use shape_meta_core::{
    Activity, Change, Checkin, Checkout, DurabilityWait, Error, ErrorKind, FlushStats, Handle, Latencies,
    Observer, OpenStats, PublishStats, RecoveryStats, Refusal, Repaired, Seq, Span,
};

use super::{metric::*, span::TimedSpan};

/// An observer that records counters and histograms through the [`metrics`] facade. The
/// [table](crate#metrics) lists all metrics.
///
/// ```
/// use std::sync::Arc;
/// use shape_meta_core::{Direct, Limits, MemoryStore};
/// use shape_meta_telemetry::MetricsObserver;
///
/// # fn main() -> Result<(), shape_meta_core::Error> {
/// let observer = Arc::new(MetricsObserver::new("tenant-7")); // after the exporter is installed
/// let store = Direct::new(MemoryStore::new(), Limits::default(), Arc::clone(&observer) as _)?;
/// observer.record_gauges(&store); // before each scrape
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct MetricsObserver {
    stack: Arc<str>,
}

impl MetricsObserver {
    /// An observer of the store with this name, which is the label `stack` of every metric.
    ///
    /// Install the recorder first: the metrics are described to the recorder that is installed now.
    pub fn new(stack: impl Into<Arc<str>>) -> Self {
        describe();
        Self { stack: stack.into() }
    }

    /// Returns the names of all histograms, each with its bucket bounds:
    /// [`TIME_BUCKETS`](crate::TIME_BUCKETS) or [`SIZE_BUCKETS`](crate::SIZE_BUCKETS).
    ///
    /// Configure the exporter with them. Without bounds, the exporter of Prometheus writes summaries, which
    /// cannot be aggregated over several processes, and OpenTelemetry uses bounds for milliseconds.
    pub fn histograms() -> impl Iterator<Item = (&'static str, &'static [f64])> {
        histograms()
    }

    /// Returns the label of the store and these labels.
    pub(super) fn labels<const N: usize>(&self, more: [(&'static str, &'static str); N]) -> Vec<Label> {
        let mut labels = Vec::with_capacity(N + 2);
        labels.push(Label::new("stack", SharedString::from(Arc::clone(&self.stack))));
        labels.extend(more.map(|(key, value)| Label::from_static_parts(key, value)));
        labels
    }

    /// Returns the labels of a connection metric, which also name the pool, as the conventions require.
    pub(super) fn pool_labels<const N: usize>(&self, more: [(&'static str, &'static str); N]) -> Vec<Label> {
        let mut labels = self.labels(more);
        let pool = SharedString::from(Arc::clone(&self.stack));
        labels.push(Label::new("db.client.connection.pool.name", pool));
        labels
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
            TIMEOUTS.counter(self.pool_labels([("db.operation.name", label)])).increment(1);
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
        FLUSHED.counter(self.labels([])).increment(mutations);
        COALESCED.counter(self.labels([])).increment(flush.coalesced());
    }

    fn retrying(&self, error: &Error, _: u32, _: Duration) {
        RETRIES.counter(self.labels([("error.type", error.kind().name())])).increment(1);
    }

    fn rejected(&self, _: Option<&Handle>, _: &[Seq], error: &Error) {
        REJECTED.counter(self.labels([("error.type", error.kind().name())])).increment(1);
    }

    fn refused(&self, refusal: &Refusal) {
        REFUSED.counter(self.labels([("reason", refusal.name())])).increment(1);
    }

    fn failed(&self, error: &Error) {
        FAILED.counter(self.labels([("error.type", error.kind().name())])).increment(1);
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
        STOPS.counter(self.labels([("error.type", error.kind().name())])).increment(1);
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
        RECOVERED.counter(self.labels([])).increment(removed as u64);
    }

    fn quarantined(&self, _: &Path, error: &Error) {
        QUARANTINES.counter(self.labels([("error.type", error.kind().name())])).increment(1);
    }

    fn repaired(&self, repaired: &Repaired) {
        REPAIR_LOST.counter(self.labels([])).increment(repaired.missing());
    }
}
