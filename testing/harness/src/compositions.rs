//! The compositions under test, and functions that open them.

use std::{path::Path, sync::Arc, time::Duration};

use shape_meta::{
    BufferOptions, Builder, CacheOptions, Durability, LookupIndex, NoopCleaner, NoopObserver, ShapeMeta,
    SqliteOptions, SqliteStore, Wait,
};
use shape_meta_core::ShapeStore;
use tempfile::TempDir;

/// Longer than any step takes on a working machine.
pub const TIMEOUT: Duration = Duration::from_secs(60);
/// Waits at the bound of pending changes instead of being refused.
pub const WAIT: Wait = Wait::UpTo(TIMEOUT);

/// The layers over a store.
#[derive(Clone, Copy, Debug)]
pub struct Composition {
    /// Where the cache keeps its look-ups, if there is one.
    pub cache: Option<LookupIndex>,
    /// When the buffer flushes, if there is one.
    pub buffer: Option<FlushSchedule>,
    /// The capacity of the definition cache, in bytes, if it is not the default.
    pub definitions: Option<usize>,
}

/// When a buffer flushes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FlushSchedule {
    /// When the test flushes: there is no flusher thread.
    Manual,
    /// All the time, a few changes at once.
    Continuous,
    /// About half of the time, some dozens of changes at once.
    Frequent,
    /// With the default options.
    Default,
}

/// No layer: the reference for the others.
pub const DIRECT: Composition = Composition { cache: None, buffer: None, definitions: Some(0) };
/// A write-through cache.
pub const DIRECT_CACHED: Composition =
    Composition { cache: Some(LookupIndex::Memory), buffer: None, definitions: Some(0) };
/// A write-through cache that leaves look-ups by key and relation to SQLite.
pub const DIRECT_DISK_LOOKUPS: Composition =
    Composition { cache: Some(LookupIndex::Disk), buffer: None, definitions: Some(0) };
/// A buffer without a cache.
pub const BUFFERED: Composition =
    Composition { cache: None, buffer: Some(FlushSchedule::Default), definitions: Some(0) };
/// The product: a buffer over a cache, with the default options.
pub const PRODUCT: Composition =
    Composition { cache: Some(LookupIndex::Memory), buffer: Some(FlushSchedule::Default), definitions: None };
/// The product, with a cache that leaves look-ups by key and relation to SQLite.
pub const PRODUCT_DISK_LOOKUPS: Composition = Composition {
    cache: Some(LookupIndex::Disk),
    buffer: Some(FlushSchedule::Default),
    definitions: Some(0),
};

/// The product with a definition cache that is too small for all definitions, so that some are evicted.
pub const PRODUCT_DEFINITION_CACHE: Composition = Composition { definitions: Some(4_096), ..PRODUCT };

/// Every combination of layers.
pub const ALL: [Composition; 6] =
    [DIRECT, DIRECT_CACHED, DIRECT_DISK_LOOKUPS, BUFFERED, PRODUCT, PRODUCT_DISK_LOOKUPS];

impl Composition {
    /// Sets when the buffer flushes. A composition without a buffer stays unchanged.
    pub const fn with_flush_schedule(mut self, schedule: FlushSchedule) -> Self {
        if self.buffer.is_some() {
            self.buffer = Some(schedule);
        }
        self
    }

    /// Returns a builder of this composition.
    pub fn builder(self) -> Builder {
        self.apply_to(ShapeMeta::builder(NoopCleaner).sqlite(sqlite()))
    }

    /// Adds the layers to a builder with other options.
    pub fn apply_to(self, mut builder: Builder) -> Builder {
        if let Some(lookups) = self.cache {
            let cache = CacheOptions::default().lookup_index(lookups);
            builder = builder.cached(match self.definitions {
                Some(bytes) => cache.definition_cache_bytes(bytes),
                None => cache,
            });
        }
        if let Some(schedule) = self.buffer {
            builder = builder.buffered(schedule.options());
        }
        builder
    }

    /// Opens the database in this directory.
    pub fn open(self, directory: &Path) -> ShapeMeta {
        self.builder().open(directory).expect("the database opens")
    }

    /// Opens the layers over another store.
    pub fn over(self, store: impl ShapeStore + 'static) -> ShapeMeta {
        self.builder().over(store).expect("the store can be read")
    }

    /// Opens and recovers the store of the database in this directory, with the options that these layers
    /// need.
    pub fn open_sqlite(self, directory: &Path) -> SqliteStore {
        self.open_sqlite_with(directory, sqlite())
    }

    /// As [`open_sqlite`](Self::open_sqlite), with other options.
    pub fn open_sqlite_with(self, directory: &Path, options: SqliteOptions) -> SqliteStore {
        let lookups = match self.cache {
            Some(LookupIndex::Memory) => shape_meta_sqlite::DiskIndexes::Omitted,
            Some(LookupIndex::Disk) | None => shape_meta_sqlite::DiskIndexes::Maintained,
        };
        let options = options.disk_indexes(lookups).last_reads(self.cache.is_none());
        let store =
            SqliteStore::open(directory, options, Arc::new(NoopObserver)).expect("the database opens");
        store.recover().expect("recovery succeeds");
        let tasks = store.cleanup_tasks(None, usize::MAX).expect("the tasks are read");
        store.ack_cleanup(&tasks).expect("the acknowledgement is written");
        store
    }
}

impl FlushSchedule {
    fn options(self) -> BufferOptions {
        let options = BufferOptions::default();
        match self {
            Self::Manual => options.background_flush(false),
            Self::Continuous => options
                .flush_interval(Duration::from_micros(50))
                .flush_shapes(3)
                .concurrent_publish_min_changes(1)
                .backoff(Duration::from_micros(50), Duration::from_millis(1)),
            Self::Frequent => options.flush_interval(Duration::from_millis(1)),
            Self::Default => options,
        }
    }
}

/// Returns options for tests without power loss: no syncs.
pub fn sqlite() -> SqliteOptions {
    SqliteOptions::default().durability(Durability::ProcessCrash)
}

/// Creates a temporary directory, which is deleted when the value is dropped.
pub fn directory() -> TempDir {
    tempfile::tempdir().expect("a temporary directory is created")
}
