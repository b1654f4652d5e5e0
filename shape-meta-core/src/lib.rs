//! The data types, traits, validation and reference model that the `shape-meta` crates share.
//!
//! A *shape* is a filtered view of PostgreSQL tables that a sync engine streams to clients. The engine needs
//! its metadata on every request. The `shape-meta` crates keep it in memory for reads, and in SQLite for
//! restarts. This crate is for implementors of further stores and layers. It does no I/O.
//!
//! # What it is not
//!
//! It is not a store to deploy: use `shape-meta`, or compose the crates yourself. [`MemoryStore`] is the
//! reference model for tests.
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
//!     created_at: None,
//! };
//! let made = store.get_or_add(&shape, Wait::No)?;
//! assert!(made.added && store.has_handle(&made.handle)?);
//! assert_eq!(store.handles_for_relations(&[Relation::new(16501)])?, [made.handle]);
//! # Ok(())
//! # }
//! ```
//!
//! # Trade-offs
//!
//! - Layers are generic over the store below them. That makes reads fast and decorators simple; the composed
//!   type of a stack is long, and `shape-meta` boxes it once.
//! - A store implements three methods in addition to its reads. An operation that only some stores support is
//!   an optional capability, so callers must handle its absence; [`ShapeStoreExt`] does so in one place.
//! - Stores keep definitions as bytes and do not interpret them. Any definition type works; a store cannot
//!   search in definitions.
//!
//! # How it works
//!
//! A caller passes a [`Mutation`] to the layer on top: [`Direct`], or `Buffered` of `shape-meta-buffer`. That
//! layer validates it and turns it into a [`Change`] with a sequence number, its [`Seq`]. Changes go down in
//! a [`Batch`] through [`ShapeStore`]; reads go down through [`ReadShapes`]. Layers are decorators over these
//! two traits.
//!
//! # Features
//!
//! | feature | what it adds |
//! |---|---|
//! | `shape` | the ready-made definition type `Shape`, its JSON, its key, and a reader of traces of such definitions |
//! | `serde` | `Serialize` for `Health`; also `Deserialize` for `Handle`, `Key`, `DefinitionHash`, `SnapshotState`, `Seq`, `Timestamp`, `Metadata` and `Counts` |
//! | `rows` | checksums of rows, identities and look-up hashes in `store_parts`, for implementors of a store over a database |
//! | `conformance` | the conformance suite, and stores that fail on purpose, for tests of implementations |
//!
//! # Related crates
//!
//! `shape-meta-sqlite` (the durable store), `shape-meta-cache` (the left-right read cache),
//! `shape-meta-buffer` (the write buffer), `shape-meta-telemetry` (observers), `shape-meta` (all of them
//! composed).

#![forbid(unsafe_code)]

mod value;

mod data;

mod error;
mod validation;

mod traits;

mod durability;

pub mod feed;
mod waits;

mod reservation;
mod retired;
pub mod store_parts;

mod instrumentation;

mod direct;
mod memory;

mod evictor;

mod sync;

#[cfg(feature = "conformance")]
pub mod conformance;

#[cfg(feature = "shape")]
mod shape;

#[cfg(feature = "serde")]
mod serialize;

// Traits: reads, stores and their capabilities, mutations and control.
pub use traits::{ChangeLog, LastReadStore, RebuildStore};
pub use traits::{MutateShapes, MutateShapesExt, StoreControl};
pub use traits::{ReadShapes, ReadShapesExt, ShapeStore, ShapeStoreExt};

// Stores and layers of this crate.
pub use direct::Direct;
pub use memory::MemoryStore;

// Eviction of the least recently used shapes.
pub use evictor::{Eviction, Evictor, EvictorOptions};

// Identities, numbers and times.
pub use value::{DefinitionHash, Handle, Key, Relation, Relations, Seq, SnapshotState, Timestamp};
pub use value::{InvalidHandle, InvalidKey};

// A shape as memory and disk keep it.
pub use data::{Counts, Definition, DefinitionExt, Entry, Keyed, Metadata, Record, ScanItem};
pub use data::{OnOtherStamp, Rekey, Stamp, StampCheck, StampOutcome};

// The requests of callers, and their validation.
pub use validation::{
    Batch, Change, Existing, Limits, Mutation, NewShape, Refusal, Removal, Selection, validate, validate_add,
};

// Arguments and results of the traits.
pub use traits::{AttemptContext, Check, CloseReport, GetOrAdd, Pending, Submitted, Unwritten, Wait};
pub use traits::{Delta, HandleSet, LeastRecentlyUsed, RefreshReport, Scan, SweepProgress};
pub use traits::{Lost, Repaired, TrustedState};

// Durability: receipts, and the tracker with which a top layer implements them.
pub use durability::{DurabilityTracker, NotDurable, Receipt, RequestFlush, Signal, Waiter};

// Waits for a state of a shape, and what a layer on top implements them with.
pub use waits::{AwaitShapes, AwaitShapesExt, LookUp, Milestone, NotReached, ShapeWaits, Watch};

// Reads over two sources, for implementors of layers.
pub use retired::{Retired, RetiredSince};
// Handles whose stored data is being deleted, for implementors of a top layer.
pub use reservation::{HandleState, Reservation, ReservedHandles};

// Errors.
pub use error::{Error, ErrorKind, MutateError, Remedy, Result};

// Instrumentation: events, health and resource usage.
pub use instrumentation::{
    Activity, Checkin, Checkout, DurabilityWait, EvictionStats, FlushStats, Latencies, NoopObserver,
    Observer, OpenStats, PublishStats, RecoveryStats, Span,
};
pub use instrumentation::{Connections, Degradation, Health, HealthState, LastError, Usage};

// The ready-made definition type.
#[cfg(feature = "shape")]
pub use shape::{InvalidShape, LogMode, Replica, Shape, TableName, Trace, TraceError};
