use std::{fmt, path::Path, sync::Arc, time::Duration};

use shape_meta_core::{
    Activity, Change, Checkin, Checkout, DurabilityWait, Error, EvictionStats, FlushStats, Handle, Latencies,
    MutateError, Observer, OpenStats, PublishStats, RecoveryStats, Refusal, Repaired, Seq, Span,
};

/// Several observers as one. Each call goes to all of them, in their order.
///
/// ```
/// use std::sync::Arc;
/// use shape_meta_core::Observer;
/// use shape_meta_telemetry::{Observers, TracingObserver};
///
/// struct Alarm;
/// impl Observer for Alarm {
///     fn stopped(&self, error: &shape_meta_core::Error) {
///         // Page the operator.
///     }
/// }
///
/// let both = Observers::default().and(Arc::new(TracingObserver::new("main"))).and(Arc::new(Alarm));
/// ```
#[derive(Clone, Default)]
pub struct Observers(Vec<Arc<dyn Observer>>);

impl Observers {
    /// Adds an observer after the others.
    pub fn and(mut self, observer: Arc<dyn Observer>) -> Self {
        self.0.push(observer);
        self
    }
}

impl FromIterator<Arc<dyn Observer>> for Observers {
    fn from_iter<I: IntoIterator<Item = Arc<dyn Observer>>>(all: I) -> Self {
        Self(all.into_iter().collect())
    }
}

impl fmt::Debug for Observers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Observers").field(&self.0.len()).finish()
    }
}

#[deny(clippy::missing_trait_methods)] // A missing method would reach none of them.
impl Observer for Observers {
    fn begin(&self, activity: Activity<'_>) -> Option<Box<dyn Span>> {
        let mut spans: Vec<_> = self.0.iter().filter_map(|observer| observer.begin(activity)).collect();
        // The last to begin is the first to end, so that the spans nest.
        spans.reverse();
        match spans.len() {
            0 | 1 => spans.pop(),
            _ => Some(Box::new(Spans(spans))),
        }
    }

    fn checkout(&self, checkout: &Checkout) {
        self.0.iter().for_each(|observer| observer.checkout(checkout));
    }

    fn checkin(&self, checkin: &Checkin) {
        self.0.iter().for_each(|observer| observer.checkin(checkin));
    }

    fn flushed(&self, flush: &FlushStats) {
        self.0.iter().for_each(|observer| observer.flushed(flush));
    }

    fn retrying(&self, error: &Error, failures: u32, delay: Duration) {
        self.0.iter().for_each(|observer| observer.retrying(error, failures, delay));
    }

    fn rejected(&self, handle: Option<&Handle>, mutations: &[Seq], error: &Error) {
        self.0.iter().for_each(|observer| observer.rejected(handle, mutations, error));
    }

    fn refused(&self, refusal: &Refusal) {
        self.0.iter().for_each(|observer| observer.refused(refusal));
    }

    fn failed(&self, error: &Error) {
        self.0.iter().for_each(|observer| observer.failed(error));
    }

    fn wants_acknowledged(&self) -> bool {
        self.0.iter().any(|observer| observer.wants_acknowledged())
    }

    fn acknowledged(&self, latencies: &Latencies) {
        let interested = self.0.iter().filter(|observer| observer.wants_acknowledged());
        interested.for_each(|observer| observer.acknowledged(latencies));
    }

    fn awaited(&self, awaited: &DurabilityWait) {
        self.0.iter().for_each(|observer| observer.awaited(awaited));
    }

    fn stopped(&self, error: &Error) {
        self.0.iter().for_each(|observer| observer.stopped(error));
    }

    fn published(&self, published: &PublishStats) {
        self.0.iter().for_each(|observer| observer.published(published));
    }

    fn wants_committed(&self) -> bool {
        self.0.iter().any(|observer| observer.wants_committed())
    }

    fn committed(&self, change: &Change) {
        let interested = self.0.iter().filter(|observer| observer.wants_committed());
        interested.for_each(|observer| observer.committed(change));
    }

    fn opened(&self, opened: &OpenStats) {
        self.0.iter().for_each(|observer| observer.opened(opened));
    }

    fn recovered(&self, recovered: &RecoveryStats) {
        self.0.iter().for_each(|observer| observer.recovered(recovered));
    }

    fn quarantined(&self, path: &Path, error: &Error) {
        self.0.iter().for_each(|observer| observer.quarantined(path, error));
    }

    fn cleanup_failed(&self, error: &Error, failures: u32, delay: Duration) {
        self.0.iter().for_each(|observer| observer.cleanup_failed(error, failures, delay));
    }

    fn orphans_found(&self, orphans: u64, sample: &[Handle], waits_for_confirmation: bool) {
        self.0.iter().for_each(|observer| observer.orphans_found(orphans, sample, waits_for_confirmation));
    }

    fn repaired(&self, repaired: &Repaired) {
        self.0.iter().for_each(|observer| observer.repaired(repaired));
    }

    fn evicted(&self, evicted: &EvictionStats, error: Option<&MutateError>) {
        self.0.iter().for_each(|observer| observer.evicted(evicted, error));
    }
}

/// Spans in the order in which they end, which is also the order in which the vector drops them.
struct Spans(Vec<Box<dyn Span>>);

impl Span for Spans {
    fn end(self: Box<Self>, error: Option<&Error>) {
        self.0.into_iter().for_each(|span| span.end(error));
    }
}
