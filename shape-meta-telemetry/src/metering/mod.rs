mod buckets;
mod counters;
mod gauges;
mod metric;
mod observer;
mod reporter;
mod span;

pub use buckets::{SIZE_BUCKETS, TIME_BUCKETS};
pub use observer::MetricsObserver;
pub use reporter::{Reporter, ReporterThread};
