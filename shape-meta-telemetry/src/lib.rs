//! Observers for the `shape-meta` crates. [`TracingObserver`] emits spans and events of the [`tracing`]
//! crate, `MetricsObserver` (feature `metrics`) records metrics through the `metrics` facade, and
//! [`Observers`] combines several observers.
//!
//! # What it is not
//!
//! It installs no subscriber and no recorder, and exports nothing. These are choices of the application.
//!
//! # Example
//!
//! ```
//! use std::sync::Arc;
//! use shape_meta_core::{Direct, Limits, MemoryStore};
//! use shape_meta_telemetry::TracingObserver;
//!
//! # fn main() -> Result<(), shape_meta_core::Error> {
//! let observer = Arc::new(TracingObserver::new("tenant-7"));
//! let store = Direct::new(MemoryStore::new(), Limits::default(), observer)?;
//! # Ok(())
//! # }
//! ```
//!
//! # Cost
//!
//! Without an interested subscriber, an event or a span costs one or two atomic loads, without formatting or
//! allocation. Events for each use of a connection and each publish have the level `TRACE`, those for each
//! flush `DEBUG`. The event for each single change has its own target, `shape_meta::change`, so that a filter
//! like `shape_meta=debug,shape_meta::change=off` excludes it.
//!
//! A metric costs a look-up in the recorder by its name and labels, and an allocation for these. There are
//! some for each flush, and three for each use of a connection, about a microsecond together. The latency of
//! mutations is counted in a table as they are acknowledged, which costs two reads of the clock, and recorded
//! once for each flush. Reads that are answered from memory call no observer and cost nothing here.
//!
//! # Features
//!
//! | feature | default | what it adds |
//! |---|---|---|
//! | `metrics` | no | `MetricsObserver`: counters, gauges and histograms of the `metrics` facade; `Reporter`: the gauges of all stores of a process |
//!
#![doc = include_str!("names.md")]
//!
#![cfg_attr(feature = "metrics", doc = include_str!("metrics.md"))]
//!
//! # Related crates
//!
//! `shape-meta-core` defines the `Observer` trait. `shape-meta` composes the store that calls it.

#![forbid(unsafe_code)]

mod events;
#[cfg(feature = "metrics")]
mod metering;
mod observers;
mod rate_limit;
mod spans;

pub use events::TracingObserver;
#[cfg(feature = "metrics")]
pub use metering::{MetricsObserver, Reporter, ReporterThread, SIZE_BUCKETS, TIME_BUCKETS};
pub use observers::Observers;
