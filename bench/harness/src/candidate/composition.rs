use std::{path::Path, time::Duration};

use shape_meta::{
    BufferOptions, CacheOptions, Durability, Handle, Key, LookupIndex, Mutation, NewShape, NoopCleaner,
    Relation, ShapeMeta, SnapshotState, SqliteOptions, prelude::*,
};

use super::interface::{Candidate, Client, Facts, Kind, Store};
use crate::error::Result;

/// The time-out for backpressure and flushes, after which a benchmark fails.
const TIMEOUT: Duration = Duration::from_secs(600);

/// A composition of shape-meta.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Composition {
    name: &'static str,
    about: &'static str,
    cached: Option<LookupIndex>,
    buffered: bool,
}

/// The default composition.
pub(crate) const FULL_STACK: Composition = Composition {
    name: "full stack",
    about: "Buffered<Cached<SqliteStore>>: visible in memory at once; on disk by group commit, FULL",
    cached: Some(LookupIndex::Memory),
    buffered: true,
};

const ON_DISK: Composition = Composition {
    name: "look-ups on disk",
    about: "the same, with look-ups by key and relation left to SQLite",
    cached: Some(LookupIndex::Disk),
    buffered: true,
};

const BUFFERED: Composition = Composition {
    name: "buffered",
    about: "Buffered<SqliteStore>: no cache; written look-ups come from SQLite",
    cached: None,
    buffered: true,
};

const CACHED: Composition = Composition {
    name: "cached",
    about: "Direct<Cached<SqliteStore>>: write-through, an add returns when it is synced; concurrent ones share a sync",
    cached: Some(LookupIndex::Memory),
    buffered: false,
};

/// The composition on which storms were slow.
pub(crate) const DIRECT: Composition = Composition {
    name: "direct",
    about: "Direct<SqliteStore>: the same without a cache",
    cached: None,
    buffered: false,
};

/// All compositions, the full stack first.
pub(crate) fn all() -> Vec<Box<dyn Candidate>> {
    [FULL_STACK, DIRECT, CACHED, BUFFERED, ON_DISK].into_iter().map(|one| Box::new(one) as _).collect()
}

impl Composition {
    /// Opens the composition with these options for the database.
    pub(crate) fn open_with(
        &self,
        directory: &Path,
        expected: u64,
        sqlite: SqliteOptions,
    ) -> Result<ShapeMeta> {
        let mut builder =
            ShapeMeta::builder(NoopCleaner).sqlite(sqlite.durability(Durability::PowerLossDurable));
        if let Some(lookups) = self.cached {
            let cache = CacheOptions::default().lookup_index(lookups).initial_capacity(expected as usize);
            builder = builder.cached(cache);
        }
        if self.buffered {
            // The capacity covers a storm, so the work is measured and not the bound.
            builder = builder.buffered(BufferOptions::default().max_pending_shapes(200_000));
        }
        Ok(builder.open(directory)?)
    }
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

    fn open(&self, directory: &Path, expected: u64) -> Result<Box<dyn Store>> {
        let store = self.open_with(directory, expected, SqliteOptions::default())?;
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
