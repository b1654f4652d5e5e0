//! Shape metadata for sync engines: read from memory on every request, written in storms, durable in
//! SQLite.
//!
//! A sync engine streams *shapes* (filtered views of PostgreSQL tables) to many clients. On every request
//! it asks which handle serves a definition, whether a handle is still valid, whether its snapshot has
//! begun; on every change of a table, which shapes read it. This crate composes the crates of the family
//! into one store that answers all of that from memory without a lock, accepts thousands of new shapes at
//! once after a redeploy, and writes them to SQLite in batches behind.
//!
//! # What it is not
//!
//! Not the shape log (the rows that are streamed), not a replication client, not a general key-value store,
//! and not a distributed one: a database has one owning process.
//!
//! # Example
//!
//! ```
//! # #[cfg(all(feature = "sqlite", feature = "cache", feature = "buffer"))]
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! use shape_meta::{BufferOptions, CacheOptions, NoopCleaner, ShapeMeta, prelude::*};
//!
//! # let directory = tempfile::tempdir()?;
//! # let directory = directory.path();
//! let store = ShapeMeta::builder(NoopCleaner)
//!     .cached(CacheOptions::default())
//!     .buffered(BufferOptions::default())
//!     .open(directory)?;
//!
//! let shape = NewShape {
//!     handle: Handle::new("54334872-1768476874000000")?,
//!     key: Key::new([7; 32]), // or let `Shape` (feature `shape`) or your `Definition` make all of this
//!     hash: DefinitionHash::new(7),
//!     relations: [Relation::new(16501)].into_iter().collect(),
//!     dependencies: [].into(),
//!     indexed: false,
//!     definition: b"todos where done = false".as_slice().into(),
//! };
//! let made = store.get_or_add(&shape, Wait::UpTo(Duration::from_secs(1)))?;
//! store.mark_snapshot_started(&made.handle, Wait::No)?;
//! assert!(store.validate_handle(&made.handle, shape.hash)?);
//! made.receipt.wait_durable(Duration::from_secs(10))?; // if you must know
//! assert!(store.close(Duration::from_secs(10)).is_complete());
//! # Ok(())
//! # }
//! # #[cfg(not(all(feature = "sqlite", feature = "cache", feature = "buffer")))]
//! # fn main() {}
//! ```
//!
//! # Compositions
//!
//! | builder | composition | for |
//! |---|---|---|
//! | `.cached(..).buffered(..)` | `Buffered<Cached<SqliteStore>>` | the product: reads from memory, writes behind |
//! | `.buffered(..)` | `Buffered<SqliteStore>` | little memory: look-ups straight from SQLite |
//! | `.cached(..)` | `Direct<Cached<SqliteStore>>` | write-through: every mutation is on disk when it returns |
//! | neither | `Direct<SqliteStore>` | the reference |
//!
//! All of them can be had over any other store with `Builder::over`.
//!
//! # Many stores in one process
//!
//! A process that opens a store for each of its tenants lets them share flusher threads and connections. An
//! idle store then costs about 0.1 megabytes, one file descriptor and no thread, and one that hangs does not
//! hold up the others.
//!
//! ```
//! # #[cfg(all(feature = "sqlite", feature = "cache", feature = "buffer"))]
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! use std::{collections::HashMap, path::Path};
//! use shape_meta::{
//!     BufferOptions, CacheOptions, ConnectionLimit, FlusherOptions, FlusherPool, NoopCleaner, SqliteOptions, prelude::*,
//! };
//!
//! struct Tenants {
//!     flushers: FlusherPool,
//!     connections: ConnectionLimit,
//!     stores: HashMap<String, ShapeMeta>,
//! }
//!
//! impl Tenants {
//!     fn open(&mut self, name: &str, directory: &Path) -> Result<ShapeMeta, shape_meta::Error> {
//!         let store = ShapeMeta::builder(NoopCleaner)
//!             .sqlite(SqliteOptions::default().connection_limit(&self.connections))
//!             .cached(CacheOptions::default())
//!             .buffered(BufferOptions::default().flushers(&self.flushers).max_pending_shapes(10_000))
//!             .open(directory)?;
//!         self.stores.insert(name.to_owned(), store.clone());
//!         Ok(store)
//!     }
//! }
//!
//! # let directory = tempfile::tempdir()?;
//! # let directory = directory.path();
//! let mut tenants = Tenants {
//!     flushers: FlusherPool::new(FlusherOptions::default()),
//!     connections: ConnectionLimit::new(64),
//!     stores: HashMap::new(),
//! };
//! tenants.open("acme", &directory.join("acme"))?;
//! tenants.open("ajax", &directory.join("ajax"))?;
//! let stats = tenants.flushers.stats();
//! assert_eq!((stats.stores, stats.slow), (2, 0)); // for a gauge
//! # Ok(())
//! # }
//! # #[cfg(not(all(feature = "sqlite", feature = "cache", feature = "buffer")))]
//! # fn main() {}
//! ```
//!
//! # Deploys
//!
//! A database has one owner. `Builder::open_standby` opens it for reading beside a live one, and a `Standby` becomes
//! the owner when it is promoted, while reads go on. See `docs/operations.md` of the repository.
//!
//! # Features
//!
//! They are additive: turning one on never changes what another user of the crate has.
//!
//! | feature | default | what it adds |
//! |---|---|---|
//! | `sqlite` | yes | `Builder::open`: the durable store |
//! | `cache` | yes | `Builder::cached`: the left-right read cache |
//! | `definitions` | no | `CacheOptions::definitions`: definitions that were read stay in memory (brings `cache`) |
//! | `buffer` | yes | `Builder::buffered`: the write buffer |
//! | `telemetry` | no | `TracingObserver` |
//! | `metrics` | no | `MetricsObserver`, for the `metrics` facade (brings `telemetry`) |
//! | `admission` | no | `admission`: load shedding for callers |
//! | `tower` | no | `admission::AdmissionLayer`: the same as a tower layer (brings `admission`) |
//! | `shape` | no | `Shape`, the ready-made definition type, and its JSON |
//! | `full` | no | all of the above |
//!
//! # Related crates
//!
//! Each layer is a crate of its own that depends on `shape-meta-core` alone: `shape-meta-sqlite`,
//! `shape-meta-cache`, `shape-meta-buffer`, `shape-meta-telemetry`; `shape-meta-admission` depends on none.

#![forbid(unsafe_code)]

mod builder;
mod cleaner;
#[cfg(feature = "sqlite")]
mod database;
#[cfg(feature = "admission")]
mod drain;
mod layers;
#[cfg(feature = "sqlite")]
mod standby;
mod store;

pub use builder::Builder;
pub use cleaner::{BoxError, NoopCleaner, ShapeCleaner};
#[cfg(feature = "sqlite")]
pub use database::OpenReport;
#[cfg(feature = "sqlite")]
pub use standby::Standby;
pub use store::{ShapeMeta, WeakShapeMeta};

pub use shape_meta_core::*;

#[cfg(feature = "buffer")]
pub use shape_meta_buffer::{BufferOptions, FlusherOptions, FlusherPool, FlusherStats};
#[cfg(feature = "cache")]
pub use shape_meta_cache::{CacheOptions, LookupIndex};
#[cfg(feature = "sqlite")]
pub use shape_meta_sqlite::{
    ConnectionLimit, Durability, Inspector, IntegrityCheck, Mode, OnCorruption, OnLiveOwner, SqliteOptions,
    SqliteStore,
};
#[cfg(feature = "metrics")]
pub use shape_meta_telemetry::{MetricsObserver, Reporter, ReporterThread, SIZE_BUCKETS, TIME_BUCKETS};
#[cfg(feature = "telemetry")]
pub use shape_meta_telemetry::{Observers, TracingObserver};

/// Load shedding for callers: at most so many requests of a kind at a time.
#[cfg(feature = "admission")]
pub use shape_meta_admission as admission;

/// What most users of a store want in scope.
pub mod prelude {
    pub use std::time::Duration;

    pub use shape_meta_core::{
        Definition, DefinitionHash, Handle, Key, MutateShapes, MutateShapesExt, NewShape, ReadShapes,
        ReadShapesExt, Relation, SnapshotState, StoreControl, Timestamp, Wait,
    };

    pub use crate::{ShapeCleaner, ShapeMeta};
}
