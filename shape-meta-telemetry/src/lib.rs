//! Observers for the `shape-meta` crates: [`TracingObserver`] tells what the layers do in spans and events of
//! the [`tracing`] crate, `MetricsObserver` (feature `metrics`) counts and measures it through the `metrics`
//! facade, and [`Observers`] joins several observers to one.
//!
//! # What it is not
//!
//! It sets up no subscriber and no recorder, and exports nothing: that is the application's choice.
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
//! Where nobody listens, an event or a span costs one or two atomic loads; nothing is formatted or
//! allocated. What happens once a connection or once a publish is at the level `TRACE`, once a flush at `DEBUG`.
//! The event for every single change has a target of its own, `shape_meta::change`, so that a
//! filter like `shape_meta=debug,shape_meta::change=off` can leave it out.
//!
//! A metric costs a look-up in the recorder by its name and labels, and an allocation for those: some for each flush, and
//! three for each use of a connection, about a microsecond together. How long mutations took is counted in a table as they are acknowledged, for the
//! price of two looks at the clock, and told once a flush. Reads that are answered from memory are not told to any
//! observer, so that they cost nothing here.
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
//! `shape-meta-core` defines what can be observed; `shape-meta` composes the store that tells it.

#![forbid(unsafe_code)]

mod events;
#[cfg(feature = "metrics")]
mod metering;
mod observers;
mod spans;

pub use events::TracingObserver;
#[cfg(feature = "metrics")]
pub use metering::{MetricsObserver, Reporter, ReporterThread, SIZE_BUCKETS, TIME_BUCKETS};
pub use observers::Observers;
