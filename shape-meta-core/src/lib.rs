//! The data, the traits, the validation and the reference model that the `shape-meta` crates share.
//!
//! A *shape* is a filtered view of PostgreSQL tables that a sync engine streams to clients. Its metadata
//! is asked for on every request; the crates of this family keep it in memory for readers and in SQLite
//! for restarts. This crate holds what they agree on. It does no I/O, but for opening a trace with `Trace::open`.
//!
//! # What it is not
//!
//! It is not a store that you would deploy: see `shape-meta` for the composed one, or combine the crates
//! yourself. [`MemoryStore`] is the reference model for tests.
//!
//! # Example
//!
//! ```
//! use std::sync::Arc;
//! use shape_meta_core::*;
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let store = Direct::new(MemoryStore::new(), Limits::default(), Arc::new(NoopObserver))?;
//! let shape = NewShape {
//!     handle: Handle::new("54334872-1768476874000000")?,
//!     key: Key::new([7; 32]),
//!     hash: DefinitionHash::new(7),
//!     relations: [Relation::new(16501)].into_iter().collect(),
//!     dependencies: [].into(),
//!     indexed: false,
//!     definition: b"todos where done = false".as_slice().into(),
//! };
//! let made = store.get_or_add(&shape, Wait::No)?;
//! assert!(made.added && store.has_handle(&made.handle)?);
//! assert_eq!(store.handles_for_relations(&[Relation::new(16501)])?, [made.handle]);
//! # Ok(())
//! # }
//! ```
//!
//! # How it works
//!
//! Callers hand in a [`Mutation`]. The layer on top ([`Direct`], or `Buffered` of `shape-meta-buffer`)
//! validates it and makes it a [`Change`] with a place in the order, its [`Seq`]. Changes go down in a
//! [`Batch`] through [`ShapeStore::apply`]; reads go down through [`ReadShapes`]. Layers are decorators
//! over these traits.
//!
//! # Features
//!
//! | feature | what it adds |
//! |---|---|
//! | `shape` | the ready-made definition type `Shape`, its JSON, its key, and a reader of traces of such definitions |
//! | `conformance` | the conformance suite, and stores that fail on purpose, for tests of implementations |
//!
//! # Related crates
//!
//! `shape-meta-sqlite` (the durable store), `shape-meta-cache` (the left-right read cache),
//! `shape-meta-buffer` (the write buffer), `shape-meta-telemetry` (observers), `shape-meta` (all of it
//! composed).

#![forbid(unsafe_code)]

mod handle;
mod hash;
mod key;
mod relation;
mod seq;
mod snapshot;
mod timestamp;

mod counts;
mod definition;
mod delta;
mod entry;
mod metadata;
mod record;
mod repaired;

mod change;
mod error;
mod limits;
mod mutation;
mod refusal;
mod validate;

mod durability;
mod receipt;
mod signal;
mod sync;

mod capabilities;
mod control;
mod ext;
mod forward;
mod health;
mod mutate;
mod order;
mod read;
mod store;

mod latencies;
mod observer;
mod usage;

mod direct;
mod memory;

#[cfg(feature = "conformance")]
pub mod conformance;

#[cfg(feature = "shape")]
mod shape;

pub use capabilities::{ChangeLog, LastReadStore, RebuildStore};
pub use change::{Batch, Change};
pub use control::{CloseReport, Pending, StoreControl, Unwritten};
pub use counts::Counts;
pub use definition::Definition;
pub use delta::{Delta, RefreshReport, SweepProgress};
pub use direct::Direct;
pub use durability::{DurabilityTracker, NotDurable};
pub use entry::Entry;
pub use error::{Error, ErrorKind, MutateError, Remedy, Result};
pub use ext::{MutateShapesExt, ReadShapesExt, Wait};
pub use handle::{Handle, InvalidHandle};
pub use hash::DefinitionHash;
pub use health::{Degradation, Health, HealthState, LastError};
pub use key::{InvalidKey, Key};
pub use latencies::Latencies;
pub use limits::Limits;
pub use memory::MemoryStore;
pub use metadata::Metadata;
pub use mutate::{AttemptContext, GetOrAdd, MutateShapes};
pub use mutation::{Mutation, NewShape};
pub use observer::{
    Activity, Checkin, Checkout, DurabilityWait, FlushStats, NoopObserver, Observer, OpenStats, PublishStats,
    RecoveryStats, Span,
};
pub use read::{HandleSet, LeastRecentlyUsed, ReadShapes, Scan};
pub use receipt::Receipt;
pub use record::{Record, ScanItem};
pub use refusal::Refusal;
pub use relation::{Relation, Relations};
pub use repaired::{Lost, Repaired, TrustedState};
pub use seq::Seq;
#[cfg(feature = "shape")]
pub use shape::{InvalidShape, LogMode, Replica, Shape, TableName, Trace, TraceError};
pub use signal::{Signal, Waiter};
pub use snapshot::SnapshotState;
pub use store::{ShapeStore, ShapeStoreExt};
pub use timestamp::Timestamp;
pub use usage::{Connections, Usage};
pub use validate::{Existing, validate, validate_add};
