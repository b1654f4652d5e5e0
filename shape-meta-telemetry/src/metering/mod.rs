mod gauges;
mod metric;
mod observer;
mod span;

pub use observer::MetricsObserver;
