use std::{path::Path, sync::Arc, time::Duration};

use metrics::{Label, SharedString};
use shape_meta_core::{
    Activity, Change, Checkin, Checkout, DurabilityWait, Error, ErrorKind, FlushStats, Handle, Latencies,
    Observer, OpenStats, PublishStats, RecoveryStats, Refusal, Repaired, Seq, Span,
};

use super::{metric::*, span::Timed};

/// Counts and measures what the layers do, through the [`metrics`] facade. The [names](crate#metrics) of all
/// metrics are in a table.
///
/// ```
/// use std::sync::Arc;
/// use shape_meta_core::{Direct, Limits, MemoryStore};
/// use shape_meta_telemetry::MetricsObserver;
///
/// # fn main() -> Result<(), shape_meta_core::Error> {
/// let observer = Arc::new(MetricsObserver::new("tenant-7")); // after the exporter was installed
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
    /// An observer of the store that this name stands for: it is the label `stack` of every metric.
    ///
    /// Install the recorder before: units and texts are told to the one that is there now.
    pub fn new(stack: impl Into<Arc<str>>) -> Self {
        describe();
        Self { stack: stack.into() }
    }

    /// The names of all histograms, each with bounds of its buckets that fit it: [`TIME_BUCKETS`](crate::TIME_BUCKETS) or
    /// [`SIZE_BUCKETS`](crate::SIZE_BUCKETS).
    ///
    /// For an exporter that has to be told: that of Prometheus makes summaries without, which cannot be added up over
    /// several processes, and OpenTelemetry has bounds that fit milliseconds.
    pub fn histograms() -> impl Iterator<Item = (&'static str, &'static [f64])> {
        histograms()
    }

    /// The label of the store, and these.
    pub(super) fn labels<const N: usize>(&self, more: [(&'static str, &'static str); N]) -> Vec<Label> {
        let mut labels = Vec::with_capacity(N + 2);
        labels.push(Label::new("stack", SharedString::from(Arc::clone(&self.stack))));
        labels.extend(more.map(|(key, value)| Label::from_static_parts(key, value)));
        labels
    }

    /// The same for a metric of the connections, which the conventions want to know the pool of.
    pub(super) fn pool_labels<const N: usize>(&self, more: [(&'static str, &'static str); N]) -> Vec<Label> {
        let mut labels = self.labels(more);
        let pool = SharedString::from(Arc::clone(&self.stack));
        labels.push(Label::new("db.client.connection.pool.name", pool));
        labels
    }

    pub(super) fn ended(&self, activity: &'static str, took: Duration, failure: Option<&'static str>) {
        let labels = match failure {
            None => self.labels([("activity", activity)]),
            Some(failure) => self.labels([("activity", activity), ("error.type", failure)]),
        };
        ACTIVITY.histogram(labels).record(took);
    }

    /// An operation is over, perhaps without a connection.
    fn operated(&self, label: &'static str, took: Duration, failure: Option<ErrorKind>) {
        let mut labels = self.labels([("db.system.name", "sqlite"), ("db.operation.name", label)]);
        labels.extend(failure.map(|failure| Label::from_static_parts("error.type", failure.name())));
        OPERATION.histogram(labels).record(took);
    }

    /// An operation got no connection.
    pub(super) fn gave_up(&self, label: &'static str, waited: Duration, failure: ErrorKind) {
        self.operated(label, waited, Some(failure));
        if failure == ErrorKind::Busy {
            TIMEOUTS.counter(self.pool_labels([("db.operation.name", label)])).increment(1);
        }
    }
}

#[deny(clippy::missing_trait_methods)] // What happens and is not counted would not be missed.
impl Observer for MetricsObserver {
    fn begin(&self, activity: Activity<'_>) -> Option<Box<dyn Span>> {
        match activity {
            // Measured by whoever tells `flushed`; failures are told to `retrying`.
            Activity::Flush { .. } => None,
            Activity::Checkout { label } => Some(Box::new(Timed::checkout(self.clone(), label))),
            _ => Some(Box::new(Timed::activity(self.clone(), activity.name()))),
        }
    }

    fn checkout(&self, &Checkout { label, queued, .. }: &Checkout) {
        WAIT.histogram(self.pool_labels([("db.operation.name", label)])).record(queued);
    }

    fn checkin(&self, &Checkin { label, queued, used, error, .. }: &Checkin) {
        USE.histogram(self.pool_labels([("db.operation.name", label)])).record(used);
        self.operated(label, queued.saturating_add(used), error);
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

    /// The middle of each step, so that a thousand mutations cost a few calls.
    fn acknowledged(&self, latencies: &Latencies) {
        let histogram = ACKNOWLEDGE.histogram(self.labels([]));
        for (took, count) in latencies.iter() {
            histogram.record_many(took, usize::try_from(count).unwrap_or(usize::MAX));
        }
    }

    fn awaited(&self, &DurabilityWait { took, error }: &DurabilityWait) {
        let mut labels = self.labels([]);
        labels.extend(error.map(|error| Label::from_static_parts("error.type", error)));
        AWAITED.histogram(labels).record(took);
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

    /// Its duration is that of the activity, its shapes are a gauge.
    fn opened(&self, _: &OpenStats) {}

    fn recovered(&self, &RecoveryStats { removed, .. }: &RecoveryStats) {
        RECOVERED.counter(self.labels([])).increment(removed as u64);
    }

    fn quarantined(&self, _: &Path, error: &Error) {
        QUARANTINES.counter(self.labels([("error.type", error.kind().name())])).increment(1);
    }

    fn repaired(&self, repaired: &Repaired) {
        UNSAVED.counter(self.labels([])).increment(repaired.missing());
    }
}
