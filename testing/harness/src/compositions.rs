//! The compositions under test, and how they are opened.

use std::{path::Path, sync::Arc, time::Duration};

use shape_meta::{
    BufferOptions, Builder, CacheOptions, Durability, LookupIndex, NoopCleaner, NoopObserver, ShapeMeta,
    SqliteOptions, SqliteStore, Wait,
};
use shape_meta_core::ShapeStore;
use tempfile::TempDir;

/// Longer than anything takes that works.
pub const PATIENT: Duration = Duration::from_secs(60);
/// Waits for room rather than be refused.
pub const WAIT: Wait = Wait::UpTo(PATIENT);

/// What is stacked over a store.
#[derive(Clone, Copy, Debug)]
pub struct Composition {
    pub cache: Option<LookupIndex>,
    pub buffer: Option<Flushing>,
    /// Bytes of definitions that the cache keeps.
    pub definitions: usize,
}

/// Who flushes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flushing {
    /// The test, step by step.
    Stepped,
    /// The flusher thread, all the time and a few changes at once.
    Busy,
    /// The flusher thread, about half of the time, and some dozens of changes at once.
    Often,
    /// The flusher thread, as it does for everybody.
    AsUsual,
}

/// The reference.
pub const DIRECT: Composition = Composition { cache: None, buffer: None, definitions: 0 };
/// Written through.
pub const DIRECT_CACHED: Composition =
    Composition { cache: Some(LookupIndex::Memory), buffer: None, definitions: 0 };
/// Written through, with look-ups by key and relation left to SQLite.
pub const DIRECT_ON_DISK: Composition =
    Composition { cache: Some(LookupIndex::Disk), buffer: None, definitions: 0 };
/// Without a cache.
pub const BUFFERED: Composition =
    Composition { cache: None, buffer: Some(Flushing::AsUsual), definitions: 0 };
/// The product.
pub const PRODUCT: Composition =
    Composition { cache: Some(LookupIndex::Memory), buffer: Some(Flushing::AsUsual), definitions: 0 };
/// The product, with look-ups by key and relation left to SQLite.
pub const PRODUCT_ON_DISK: Composition =
    Composition { cache: Some(LookupIndex::Disk), buffer: Some(Flushing::AsUsual), definitions: 0 };

/// The product, which keeps some definitions in memory: so few that they come and go.
pub const PRODUCT_DEFINITIONS: Composition = Composition { definitions: 4_096, ..PRODUCT };

/// All that differ in what lies over what.
pub const ALL: [Composition; 6] = [DIRECT, DIRECT_CACHED, DIRECT_ON_DISK, BUFFERED, PRODUCT, PRODUCT_ON_DISK];

impl Composition {
    /// The same, flushed in another way if it has a buffer.
    pub const fn flushing(mut self, flushing: Flushing) -> Self {
        if self.buffer.is_some() {
            self.buffer = Some(flushing);
        }
        self
    }

    /// The builder of this composition.
    pub fn builder(self) -> Builder {
        self.stacked_by(ShapeMeta::builder(NoopCleaner).sqlite(sqlite()))
    }

    /// This composition by a builder that knows everything else.
    pub fn stacked_by(self, mut builder: Builder) -> Builder {
        if let Some(lookups) = self.cache {
            builder = builder.cached(
                CacheOptions::default().lookup_index(lookups).definition_cache_bytes(self.definitions),
            );
        }
        if let Some(flushing) = self.buffer {
            builder = builder.buffered(flushing.options());
        }
        builder
    }

    /// Opens the database in this directory.
    pub fn open(self, directory: &Path) -> ShapeMeta {
        self.builder().open(directory).expect("a directory of our own can be opened")
    }

    /// Over a store of the test's own.
    pub fn over(self, store: impl ShapeStore + 'static) -> ShapeMeta {
        self.builder().over(store).expect("a store of our own can be read")
    }

    /// The database in this directory, recovered and opened as this composition wants it below.
    pub fn below(self, directory: &Path) -> SqliteStore {
        let lookups = match self.cache {
            Some(LookupIndex::Memory) => shape_meta_sqlite::DiskIndexes::Omitted,
            Some(LookupIndex::Disk) | None => shape_meta_sqlite::DiskIndexes::Maintained,
        };
        let options = sqlite().disk_indexes(lookups).last_reads(self.cache.is_none());
        let store = SqliteStore::open(directory, options, Arc::new(NoopObserver))
            .expect("a directory of our own can be opened");
        let recovery = store.recover().expect("it recovers");
        store.ack_cleanup(&recovery.to_clean).expect("it notes what was cleaned");
        store
    }
}

impl Flushing {
    fn options(self) -> BufferOptions {
        let options = BufferOptions::default();
        match self {
            Self::Stepped => options.background_flush(false),
            Self::Busy => options
                .flush_interval(Duration::from_micros(50))
                .flush_shapes(3)
                .concurrent_publish_min_changes(1)
                .backoff(Duration::from_micros(50), Duration::from_millis(1)),
            Self::Often => options.flush_interval(Duration::from_millis(1)),
            Self::AsUsual => options,
        }
    }
}

/// Options for tests that lose no power.
pub fn sqlite() -> SqliteOptions {
    SqliteOptions::default().durability(Durability::ProcessCrash)
}

/// A directory that goes with the test.
pub fn directory() -> TempDir {
    tempfile::tempdir().expect("there is room for temporary files")
}
