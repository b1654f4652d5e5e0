use metrics::{SharedString, counter, describe_counter, describe_gauge, gauge};

use crate::{Admission, Kind, KindStats};

const CURRENT: &str = "shape_meta.admission.current";
const LIMIT: &str = "shape_meta.admission.limit";
const ACQUIRED: &str = "shape_meta.admission.acquired";
const REJECTED: &str = "shape_meta.admission.rejected";

impl Admission {
    /// Records the [metrics](crate#metrics) through the `metrics` facade, with this name of the store as the
    /// label `stack`. Call it regularly, for example before each scrape. Takes some microseconds and delays
    /// no request.
    ///
    /// There are eight series for each name, and an exporter keeps them as it keeps others: use one limiter
    /// and one name for a process, not one for each store.
    ///
    /// The `Reporter` of `shape-meta-telemetry` can call it together with the gauges of the stores:
    /// `reporter.add(move || { admission.record_metrics("main"); true })`.
    pub fn record_metrics(&self, stack: impl Into<SharedString>) {
        let stack = stack.into();
        let stats = self.stats();
        for kind in Kind::ALL {
            let KindStats { acquired, rejected, current, limit } = stats.of(kind);
            let (stack, kind) = (stack.clone(), kind.name());
            gauge!(CURRENT, "stack" => stack.clone(), "kind" => kind).set(current);
            gauge!(LIMIT, "stack" => stack.clone(), "kind" => kind).set(limit);
            counter!(ACQUIRED, "stack" => stack.clone(), "kind" => kind).absolute(acquired);
            counter!(REJECTED, "stack" => stack, "kind" => kind).absolute(rejected);
        }
    }

    /// Describes the [metrics](crate#metrics) to the recorder that is installed now. Call it once.
    pub fn describe_metrics() {
        // Without units: the facade only has `Count`, which OpenTelemetry maps to the unit of ratios.
        describe_gauge!(CURRENT, "Requests in progress");
        describe_gauge!(LIMIT, "Maximum number of concurrent requests");
        describe_counter!(ACQUIRED, "Requests that were admitted, including those moved to this kind");
        describe_counter!(REJECTED, "Requests that were rejected, including failed moves to this kind");
    }
}
