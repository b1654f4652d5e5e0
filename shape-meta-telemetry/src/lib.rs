//! Observers for the `shape-meta` crates: [`TracingObserver`] tells what the layers do in spans and events of
//! the [`tracing`] crate, and [`Observers`] joins several observers to one.
//!
//! # What it is not
//!
//! It sets up no subscriber and exports nothing: that is the application's choice.
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
#![doc = include_str!("names.md")]
//!
//! # Related crates
//!
//! `shape-meta-core` defines what can be observed; `shape-meta` composes the store that tells it.

#![forbid(unsafe_code)]

mod events;
mod observers;
mod spans;

pub use events::TracingObserver;
pub use observers::Observers;
