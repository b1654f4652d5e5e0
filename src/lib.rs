//! Shape metadata for sync engines: served from memory, accepted in storms, durable in SQLite.
//!
//! A sync engine streams *shapes* (filtered views of PostgreSQL tables) to many clients. Every request looks
//! up shape metadata: which handle serves a definition, whether a handle is valid, whether its snapshot has
//! started. Every change of a table looks up which shapes read it. After a redeploy, thousands of clients
//! create shapes at once. This crate composes a store that answers these look-ups from memory without a lock,
//! accepts new shapes in memory, and commits them to SQLite in batches.
//!
//! # What it is not
//!
//! Not the shape log (the rows that are streamed), not a replication client, not a general key-value store,
//! and not distributed: a database has one owning process.
//!
//! # Example
//!
//! ```
//! # #[cfg(all(feature = "sqlite", feature = "cache", feature = "buffer"))]
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! use std::time::Duration;
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
//!     key: Key::new([7; 32]), // `Shape` (feature `shape`) or your own `Definition` computes these fields
//!     hash: DefinitionHash::new(7),
//!     relations: [Relation::new(16501)].into_iter().collect(),
//!     dependencies: [].into(),
//!     indexed: false,
//!     definition: b"todos where done = false".as_slice().into(),
//!     created_at: None,
//! };
//! let made = store.get_or_add(&shape, Wait::UpTo(Duration::from_secs(1)))?;
//! store.mark_snapshot_started(&made.handle, Wait::No)?;
//! assert!(store.validate_handle(&made.handle, shape.hash)?);
//! made.receipt.wait_durable(Duration::from_secs(10))?; // only if durability matters here
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
//! | `.cached(..).buffered(..)` | `Buffered<Cached<SqliteStore>>` | the product: reads from memory, batched commits |
//! | `.buffered(..)` | `Buffered<SqliteStore>` | little memory: look-ups from SQLite |
//! | `.cached(..)` | `Direct<Cached<SqliteStore>>` | write-through: every mutation is on disk when it returns; concurrent ones share a commit |
//! | neither | `Direct<SqliteStore>` | the reference |
//!
//! [`Builder::open_postgres`] puts the same layers over a stack in PostgreSQL.
//!
//! [`Builder::over`] composes them over any other store.
//!
//! # Trade-offs
//!
//! With a buffer, an acknowledged mutation is visible at once and durable about 100 ms later, or sooner if a
//! caller waits for its [`Receipt`]: all that wait share a commit. A crash loses
//! mutations that no [`Receipt`] had reported as durable, and leaves a prefix of the acknowledged mutations.
//! Without a buffer a mutation returns when it is on disk: nothing is lost, and each caller waits for a sync.
//! Mutations that are made at the same time share one.
//!
//! # Types by topic
//!
//! | topic | types |
//! |---|---|
//! | compose and open | [`ShapeMeta`], [`Builder`], [`ShapeCleaner`], [`DirectoryCleaner`], [`CleanupStatus`], [`OpenReport`], [`Standby`] |
//! | read | [`ReadShapes`], [`ReadShapesExt`], [`Check`], [`Metadata`], [`Record`], [`ScanItem`], [`Counts`], [`LeastRecentlyUsed`] |
//! | wait for a shape | [`AwaitShapesExt`], [`Milestone`], [`NotReached`] |
//! | mutate | [`MutateShapes`], [`MutateShapesExt`], [`NewShape`], [`Definition`], [`Shape`], [`Mutation`], [`Removal`], [`Wait`], [`GetOrAdd`], [`Receipt`] |
//! | evict | [`Evictor`], [`EvictorOptions`], [`Eviction`], [`EvictorThread`], [`EvictorSchedule`] |
//! | stamp | [`Stamp`], [`StampCheck`], [`OnOtherStamp`], [`Rekey`] |
//! | follow changes | [`StoreControl::subscribe`], [`Feed`], [`FeedOptions`], [`FeedChange`], [`FeedEvent`], [`FeedError`], [`ShapeList`] |
//! | operate | [`StoreControl`], [`Health`], [`Pending`], [`Usage`], [`CloseReport`], [`Repaired`], [`Inspector`], [`PostgresInspector`], [`PostgresPool`] |
//! | await | [`ReadShapesAsync`], [`ScanStream`], [`BlockingPool`], [`BlockingOptions`], [`StopHandle`] |
//! | options | [`BufferOptions`], [`CacheOptions`], [`SqliteOptions`], [`Durability`], [`PoolOptions`], [`PostgresOptions`], [`OnLiveOwner`], [`OnCorruption`], [`Limits`], [`FlusherPool`], [`ConnectionLimit`] |
//! | errors | [`Error`], [`ErrorKind`], [`MutateError`], [`Refusal`], [`NotDurable`] |
//! | observe | [`Observer`], [`Observers`], [`TracingObserver`], [`MetricsObserver`], [`Reporter`] |
//! | shed load | [`admission`] |
//!
//! Types that only implementors of stores and layers need stay in `shape-meta-core`: `ShapeStore`, `Batch`,
//! `Direct`, the reference model `MemoryStore`, validation, and the conformance suite.
//!
//! # Many stores in one process
//!
//! A process that opens one store for each tenant lets the stores share flusher threads ([`FlusherPool`]) and
//! connections ([`ConnectionLimit`]). An idle store then costs about 0.1 MB, one file descriptor and no
//! thread. A store whose disk hangs does not delay the others.
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
//! # Change feeds
//!
//! [`StoreControl::subscribe`] gives every change of the list of shapes once and in order, for whatever
//! follows it: a router of rows, another cache, an audit. A caller that keeps a list subscribes first and
//! lists second.
//!
//! ```
//! # #[cfg(all(feature = "sqlite", feature = "cache", feature = "buffer"))]
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! use std::time::Duration;
//! use shape_meta::{BufferOptions, FeedError, FeedOptions, NoopCleaner, ShapeList, ShapeMeta, prelude::*};
//!
//! let store = ShapeMeta::builder(NoopCleaner).buffered(BufferOptions::default()).open_in_memory()?;
//! let mut feed = store.subscribe(&FeedOptions::visible())?;
//! let mut list = ShapeList::of(&store)?;
//! store.reset(Wait::No)?;
//! // On a thread of its own, or in a task with `recv_async`.
//! match feed.recv_timeout(Duration::from_secs(1)) {
//!     Ok(Some(change)) => list.apply(&change),
//!     Ok(None) => {} // nothing has changed
//!     Err(FeedError::Lagged { resume_after }) if list.can_resume_after(resume_after) => {
//!         // May fail with `ListAnew`: then begin anew, as below.
//!         feed = store.subscribe(&FeedOptions::visible().after(resume_after))?;
//!     }
//!     Err(_) => (feed, list) = (store.subscribe(&FeedOptions::visible())?, ShapeList::of(&store)?),
//! }
//! assert_eq!(feed.position(), store.last_seq()?);
//! # Ok(())
//! # }
//! # #[cfg(not(all(feature = "sqlite", feature = "cache", feature = "buffer")))]
//! # fn main() {}
//! ```
//!
//! # In an async service
//!
//! The look-ups of a request are memory, and can be called on an executor. Each call that touches the disk or
//! waits has a future of any runtime, with `_async` in its name, which never blocks the thread that polls it:
//! it runs on a few threads of the store ([`BlockingPool`]). See `docs/async.md` in the repository for what
//! blocks, and for what dropping a future or the last clone does.
//!
//! # Deploys
//!
//! A database has one owner. [`Builder::open_standby`] opens a read-only [`Standby`] while the owner is
//! alive, and [`Standby::promote`] makes it the owner while reads go on. See `docs/operations.md` in the
//! repository.
//!
//! # Features
//!
//! Features are additive: a feature that another crate enables changes no answer of your store. `definitions`
//! takes up to 64 MiB for each store: enable it yourself to set that bound.
//!
//! | feature | default | what it adds |
//! |---|---|---|
//! | `sqlite` | yes | [`Builder::open`]: the durable store in a file |
//! | `postgres` | no | [`Builder::open_postgres`]: the durable store in PostgreSQL |
//! | `rustls` | no | [`PoolOptions::tls`]: TLS to PostgreSQL, by rustls with ring (brings `postgres`) |
//! | `cache` | yes | [`Builder::cached`]: the left-right read cache |
//! | `definitions` | yes | [`CacheOptions::definition_cache_bytes`]: definitions that were read stay in memory (brings `cache`) |
//! | `buffer` | yes | [`Builder::buffered`]: the write buffer |
//! | `telemetry` | no | [`TracingObserver`]: spans and events of the `tracing` crate |
//! | `metrics` | no | [`MetricsObserver`] and [`Reporter`], for the `metrics` facade (brings `telemetry`) |
//! | `admission` | no | [`admission`]: load shedding for callers |
//! | `tower` | no | [`admission::AdmissionLayer`]: load shedding as a tower layer (brings `admission`) |
//! | `shape` | no | [`Shape`], the ready-made definition type, its JSON, and a reader of traces |
//! | `serde` | no | `Serialize` and `Deserialize` for handles, states, metadata and counts, `Serialize` for [`Health`] |
//! | `full` | no | all of the above |
//!
//! # Related crates
//!
//! Each layer is a crate that depends on `shape-meta-core` alone: `shape-meta-sqlite`, `shape-meta-postgres`,
//! `shape-meta-cache`, `shape-meta-buffer`, `shape-meta-telemetry`. `shape-meta-admission` depends on none of
//! them. `shape-meta-cli` is the command for operators.

#![forbid(unsafe_code)]
#![cfg_attr(
    not(feature = "full"),
    allow(rustdoc::broken_intra_doc_links, reason = "the front page links to types of every feature")
)]

mod async_store;
mod builder;
mod cleaner;
#[cfg(any(feature = "sqlite", feature = "postgres"))]
mod cleanup;
#[cfg(any(feature = "sqlite", feature = "postgres"))]
mod database;
#[cfg(feature = "admission")]
mod drain;
mod eviction;
mod layers;
#[cfg(any(feature = "sqlite", feature = "postgres"))]
mod open;
#[cfg(any(feature = "sqlite", feature = "postgres"))]
mod standby;
#[cfg(any(feature = "sqlite", feature = "postgres"))]
mod standby_feeds;
mod store;

// The store.
pub use async_store::{BlockingOptions, BlockingPool, BlockingStats, ReadShapesAsync, ScanStream};
pub use builder::Builder;
pub use cleaner::{BoxError, DirectoryCleaner, NoopCleaner, ShapeCleaner, StoredHandles};
#[cfg(any(feature = "sqlite", feature = "postgres"))]
pub use cleanup::{CleanupStatus, OrphanSweep};
#[cfg(any(feature = "sqlite", feature = "postgres"))]
pub use open::{DatabaseReport, OpenReport};
#[doc(inline)]
pub use shape_meta_core::{
    AwaitShapes, AwaitShapesExt, MutateShapes, MutateShapesExt, ReadShapes, ReadShapesExt, StoreControl, Wait,
};
#[cfg(any(feature = "sqlite", feature = "postgres"))]
pub use standby::Standby;
pub use store::{ShapeMeta, WeakShapeMeta};

// Shapes: the arguments and results of callers.
#[doc(inline)]
pub use shape_meta_core::{
    Counts, Definition, DefinitionExt, DefinitionHash, Entry, Handle, HandleSet, InvalidHandle, InvalidKey,
    Key, Keyed, LeastRecentlyUsed, Metadata, NewShape, Record, Relation, Relations, Scan, ScanItem,
    SnapshotState, Timestamp,
};
#[cfg(feature = "shape")]
#[doc(inline)]
pub use shape_meta_core::{InvalidShape, LogMode, Replica, Shape, TableName, Trace, TraceError};

// Eviction of the least recently used shapes.
pub use eviction::{EvictorSchedule, EvictorThread};
#[doc(inline)]
pub use shape_meta_core::{Eviction, Evictor, EvictorOptions};

// What the shapes of a database were made with.
#[doc(inline)]
pub use shape_meta_core::{OnOtherStamp, Rekey, Stamp, StampCheck, StampOutcome};

// Mutations and durability.
#[doc(inline)]
pub use shape_meta_core::{
    Check, CloseReport, GetOrAdd, Mutation, NotDurable, Pending, Receipt, Removal, Seq, Unwritten,
};

// Waits for a state of a shape.
#[doc(inline)]
pub use shape_meta_core::{Milestone, NotReached, ShapeWaits};

// Change feeds.
#[doc(inline)]
pub use shape_meta_core::feed::{
    ChangedShape, Feed, FeedChange, FeedError, FeedEvent, FeedOptions, FeedStage, ShapeList,
};

// Health, repair and refresh.
#[doc(inline)]
pub use shape_meta_core::{
    Connections, Degradation, Health, HealthState, LastError, Lost, RefreshReport, Repaired, Usage,
};

// Errors.
#[doc(inline)]
pub use shape_meta_core::{Error, ErrorKind, MutateError, Refusal, Remedy, Result};

// Options.
#[cfg(feature = "buffer")]
#[doc(inline)]
pub use shape_meta_buffer::{BufferOptions, FlusherOptions, FlusherPool, FlusherStats};
#[cfg(feature = "cache")]
#[doc(inline)]
pub use shape_meta_cache::{CacheOptions, LookupIndex};
#[doc(inline)]
pub use shape_meta_core::Limits;
#[cfg(any(feature = "sqlite", feature = "postgres"))]
#[doc(inline)]
pub use shape_meta_core::store_parts::{OnLiveOwner, StopHandle};
#[cfg(feature = "sqlite")]
#[doc(inline)]
pub use shape_meta_sqlite::{
    ConnectionLimit, Durability, IntegrityCheck, Mode, OnCorruption, SqliteOptions, Verifier,
};
/// The options of a stack in PostgreSQL whose names other options have.
#[cfg(feature = "postgres")]
pub mod postgres {
    pub use shape_meta_postgres::{DiskIndexes, Durability};
}
#[cfg(feature = "rustls")]
#[doc(inline)]
pub use shape_meta_postgres::Tls;
#[cfg(feature = "postgres")]
#[doc(inline)]
pub use shape_meta_postgres::{
    LatestOwner, PoolOptions, PostgresInspector, PostgresOpenReport, PostgresOptions, PostgresPool,
    PostgresStore, StackInfo, StackOwner, StackState, StackSummary,
};

// The database below, and how to inspect one without owning it.
#[cfg(feature = "sqlite")]
#[doc(inline)]
pub use shape_meta_sqlite::{BackupProgress, Inspector, SqliteOpenReport, SqliteStore};

// Observers, and the arguments of their methods.
#[doc(inline)]
pub use shape_meta_core::{
    Activity, Change, Checkin, Checkout, DurabilityWait, EvictionStats, FlushStats, Latencies, NoopObserver,
    Observer, OpenStats, PublishStats, RecoveryStats, Span,
};
#[cfg(feature = "metrics")]
#[doc(inline)]
pub use shape_meta_telemetry::{MetricsObserver, Reporter, ReporterThread, SIZE_BUCKETS, TIME_BUCKETS};
#[cfg(feature = "telemetry")]
#[doc(inline)]
pub use shape_meta_telemetry::{Observers, TracingObserver};

/// Admission control for callers: limits on concurrent requests by kind.
#[cfg(feature = "admission")]
pub use shape_meta_admission as admission;

/// The traits and the types that most callers need: `use shape_meta::prelude::*`.
pub mod prelude {
    pub use shape_meta_core::{
        AwaitShapes, AwaitShapesExt, Definition, DefinitionExt, DefinitionHash, Handle, Key, Milestone,
        MutateShapes, MutateShapesExt, NewShape, ReadShapes, ReadShapesExt, Relation, SnapshotState,
        StoreControl, Timestamp, Wait,
    };

    pub use crate::{ReadShapesAsync, ShapeCleaner, ShapeMeta};
}
