use std::{path::Path, time::Duration};

use shape_meta::{
    BufferOptions, Builder, CacheOptions, Durability, Handle, Key, LookupIndex, Mutation, NewShape,
    NoopCleaner, PoolOptions, PostgresOptions, PostgresPool, Relation, ShapeMeta, SnapshotState,
    SqliteOptions, prelude::*,
};

use super::{
    backend::Backend,
    interface::{Candidate, Client, Facts, Kind, Store},
    server::Schema,
};
use crate::{data::sample, error::Result};

/// The time-out for backpressure and flushes, after which a benchmark fails.
const TIMEOUT: Duration = Duration::from_secs(600);

/// A composition of shape-meta.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Composition {
    name: &'static str,
    about: &'static str,
    backend: Backend,
    cached: Option<LookupIndex>,
    buffered: bool,
    /// Whether the cache has room for all definitions. Otherwise it keeps none, unlike by default.
    keeps_definitions: bool,
}

/// The default composition, except that it reads definitions from the disk.
pub(crate) const FULL_STACK: Composition = Composition {
    name: "full stack",
    about: "Buffered<Cached<SqliteStore>>: visible in memory at once; on disk by group commit, FULL",
    backend: Backend::Sqlite,
    cached: Some(LookupIndex::Memory),
    buffered: true,
    keeps_definitions: false,
};

const ON_DISK: Composition = Composition {
    name: "look-ups on disk",
    about: "the same, with look-ups by key and relation left to SQLite",
    backend: Backend::Sqlite,
    cached: Some(LookupIndex::Disk),
    buffered: true,
    keeps_definitions: false,
};

const BUFFERED: Composition = Composition {
    name: "buffered",
    about: "Buffered<SqliteStore>: no cache; written look-ups come from SQLite",
    backend: Backend::Sqlite,
    cached: None,
    buffered: true,
    keeps_definitions: false,
};

const CACHED: Composition = Composition {
    name: "cached",
    about: "Direct<Cached<SqliteStore>>: write-through, an add returns when it is synced; concurrent ones share a sync",
    backend: Backend::Sqlite,
    cached: Some(LookupIndex::Memory),
    buffered: false,
    keeps_definitions: false,
};

/// The composition on which storms were slow.
pub(crate) const DIRECT: Composition = Composition {
    name: "direct",
    about: "Direct<SqliteStore>: the same without a cache",
    backend: Backend::Sqlite,
    cached: None,
    buffered: false,
    keeps_definitions: false,
};

/// The full stack after each definition was read once. Only reads of definitions differ.
pub(crate) const DEFINITIONS: Composition = Composition {
    name: "definitions in memory",
    about: "the full stack with a definition cache that holds all definitions, after each was read once",
    keeps_definitions: true,
    ..FULL_STACK
};

/// The full stack of `--store postgres`.
pub(crate) const POSTGRES: Composition = Composition {
    about: "Buffered<Cached<PostgresStore>>: visible in memory at once; in PostgreSQL by group commit, synced",
    backend: Backend::Postgres,
    ..FULL_STACK
};

/// The bytes of a definition in the cache, which counts 160 for each, and a third more: its parts fill
/// unequally.
const CACHED_DEFINITION: u64 = (sample::DEFINITION as u64 + 160) * 4 / 3;

/// The name of the stack.
const STACK: &str = "bench";

/// All compositions, the full stack first.
pub(crate) fn all() -> Vec<Box<dyn Candidate>> {
    [FULL_STACK, DIRECT, CACHED, BUFFERED, ON_DISK, POSTGRES]
        .into_iter()
        .map(|one| Box::new(one) as _)
        .collect()
}

impl Composition {
    /// Opens the composition with these options for the database.
    pub(crate) fn open_with(
        &self,
        directory: &Path,
        expected: u64,
        sqlite: SqliteOptions,
    ) -> Result<ShapeMeta> {
        let builder = self.builder(expected).sqlite(sqlite.durability(Durability::PowerLossDurable));
        Ok(builder.open(directory)?)
    }

    /// Returns the builder of the composition. The durability of PostgreSQL is the default, and the highest
    /// of a server without standby servers.
    pub(crate) fn builder(&self, expected: u64) -> Builder {
        let mut builder = ShapeMeta::builder(NoopCleaner);
        if let Some(lookups) = self.cached {
            let cache = CacheOptions::default().lookup_index(lookups).initial_capacity(expected as usize);
            let definitions = if self.keeps_definitions { expected * CACHED_DEFINITION } else { 0 };
            builder = builder.cached(cache.definition_cache_bytes(definitions as usize));
        }
        if self.buffered {
            // The capacity covers a storm, so the work is measured and not the bound.
            builder = builder.buffered(BufferOptions::default().max_pending_shapes(200_000));
        }
        builder
    }
}

/// Returns a pool as a process would have it, and the options of the stacks in this directory's schema.
pub(crate) fn pool(directory: &Path) -> Result<(PostgresPool, PostgresOptions)> {
    let schema = Schema::of(directory)?;
    let pool = PostgresPool::new(PoolOptions::parse(&schema.connection())?)?;
    Ok((pool, PostgresOptions::default().schema(schema.name)))
}

impl Candidate for Composition {
    fn name(&self) -> &'static str {
        self.name
    }

    fn about(&self) -> &'static str {
        self.about
    }

    fn kind(&self) -> Kind {
        Kind::Composition
    }

    fn is_over_postgres(&self) -> bool {
        self.backend == Backend::Postgres
    }

    fn open(&self, directory: &Path, expected: u64) -> Result<Box<dyn Store>> {
        let store = match self.backend {
            Backend::Sqlite => self.open_with(directory, expected, SqliteOptions::default())?,
            Backend::Postgres => {
                let (pool, options) = pool(directory)?;
                self.builder(expected).postgres(options).open_postgres(&pool, STACK)?
            }
        };
        Ok(Box::new(Open { store, buffered: self.buffered }))
    }
}

struct Open {
    store: ShapeMeta,
    buffered: bool,
}

impl Store for Open {
    fn client(&self) -> Result<Box<dyn Client + '_>> {
        Ok(Box::new(Caller(&self.store)))
    }

    fn fill(&self, shapes: &[NewShape]) -> Result {
        if !self.buffered {
            return Err("a composition without a buffer has no batches".into());
        }
        let wait = Wait::UpTo(TIMEOUT);
        for shape in shapes {
            self.store.add(shape.clone(), wait)?;
            let complete = Mutation::Mark(shape.handle.to_string(), SnapshotState::Complete);
            self.store.mutate(&complete, wait)?;
        }
        self.flush()
    }

    fn flush(&self) -> Result {
        Ok(self.store.flush(TIMEOUT)?)
    }

    fn shape_meta(&self) -> Option<&ShapeMeta> {
        Some(&self.store)
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        let report = self.store.close(TIMEOUT);
        assert!(report.is_complete(), "mutations were not written: {report:?}");
    }
}

struct Caller<'a>(&'a ShapeMeta);

impl Client for Caller<'_> {
    fn add(&mut self, shape: NewShape) -> Result {
        self.0.add(shape, Wait::UpTo(TIMEOUT))?;
        Ok(())
    }

    fn add_durable(&mut self, shape: NewShape) -> Result {
        Ok(self.0.add(shape, Wait::UpTo(TIMEOUT))?.wait_durable(TIMEOUT)?)
    }

    fn remove(&mut self, handle: &str) -> Result {
        self.0.remove(handle, Wait::UpTo(TIMEOUT))?;
        Ok(())
    }

    fn facts(&mut self, handle: &str) -> Result<Option<Facts>> {
        let metadata = self.0.metadata(handle)?;
        Ok(metadata.map(|one| Facts { hash: one.hash.get(), state: one.state.bits() }))
    }

    fn handle_for(&mut self, key: &Key) -> Result<Option<Handle>> {
        Ok(self.0.handle_for(key)?)
    }

    fn definition(&mut self, handle: &str) -> Result<Option<usize>> {
        Ok(self.0.record(handle)?.map(|record| record.definition.len()))
    }

    fn handles_for_relations(&mut self, relations: &[Relation]) -> Result<Vec<Handle>> {
        Ok(self.0.handles_for_relations(relations)?)
    }
}
