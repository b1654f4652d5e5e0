mod gauges;
mod metric;
mod observer;
mod reporter;
mod span;

pub use observer::MetricsObserver;
pub use reporter::{Reporter, ReporterThread};
