use metrics::{SharedString, counter, describe_counter, describe_gauge, gauge};

use crate::{Admission, Kind, KindStats};

const CURRENT: &str = "shape_meta.admission.current";
const LIMIT: &str = "shape_meta.admission.limit";
const ACQUIRED: &str = "shape_meta.admission.acquired";
const REJECTED: &str = "shape_meta.admission.rejected";

impl Admission {
    /// Tells the [metrics](crate#metrics) what they are now, through the `metrics` facade, under this name of the
    /// stack. Call it now and then, for example before each scrape: some microseconds, and no request waits for
    /// it.
    ///
    /// The `Reporter` of `shape-meta-telemetry` can do it with the gauges of the stores:
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

    /// Tells the recorder that is installed now the texts of the [metrics](crate#metrics). Once is enough.
    pub fn describe_metrics() {
        // Without units: the facade could only say `Count`, which OpenTelemetry takes for that of ratios.
        describe_gauge!(CURRENT, "Requests that are being worked on");
        describe_gauge!(LIMIT, "How many there can be at a time");
        describe_counter!(ACQUIRED, "Requests that were admitted, those that were moved here included");
        describe_counter!(REJECTED, "Requests that were refused, those that were not moved here included");
    }
}
