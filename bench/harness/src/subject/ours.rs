use std::{path::Path, time::Duration};

use shape_meta::{
    BufferOptions, CacheOptions, Durability, Handle, Key, LookupIndex, Mutation, NewShape, NoopCleaner,
    Relation, ShapeMeta, SnapshotState, SqliteOptions, prelude::*,
};

use super::{Candidate, Client, Facts, Kind, Subject};
use crate::Result;

/// How long a caller waits for room, and a flush for the disk, before a benchmark is given up.
const PATIENCE: Duration = Duration::from_secs(600);

/// A composition of shape-meta.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ours {
    name: &'static str,
    about: &'static str,
    cached: Option<LookupIndex>,
    buffered: bool,
}

/// The product.
pub(crate) const FULL: Ours = Ours {
    name: "full stack",
    about: "Buffered<Cached<SqliteStore>>: visible in memory at once; on disk by group commit, FULL",
    cached: Some(LookupIndex::Memory),
    buffered: true,
};

const ON_DISK: Ours = Ours {
    name: "look-ups on disk",
    about: "the same, with look-ups by key and relation left to SQLite",
    cached: Some(LookupIndex::Disk),
    buffered: true,
};

const BUFFERED: Ours = Ours {
    name: "buffered",
    about: "Buffered<SqliteStore>: no cache; written look-ups come from SQLite",
    cached: None,
    buffered: true,
};

const CACHED: Ours = Ours {
    name: "cached",
    about: "Direct<Cached<SqliteStore>>: write-through, each add a synced transaction, FULL",
    cached: Some(LookupIndex::Memory),
    buffered: false,
};

/// What storms were slow on.
pub(crate) const DIRECT: Ours = Ours {
    name: "direct",
    about: "Direct<SqliteStore>: no cache, each add a synced transaction, FULL; what storms were slow on",
    cached: None,
    buffered: false,
};

/// All compositions, the product first.
pub(crate) fn compositions() -> Vec<Box<dyn Candidate>> {
    [FULL, DIRECT, CACHED, BUFFERED, ON_DISK].into_iter().map(|one| Box::new(one) as _).collect()
}

impl Ours {
    /// Opens it with other options for the database.
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
            // Room for a storm, so that what is measured is the work and not the bound.
            builder = builder.buffered(BufferOptions::default().max_pending_shapes(200_000));
        }
        Ok(builder.open(directory)?)
    }
}

impl Candidate for Ours {
    fn name(&self) -> &'static str {
        self.name
    }

    fn about(&self) -> &'static str {
        self.about
    }

    fn kind(&self) -> Kind {
        Kind::Composition
    }

    fn open(&self, directory: &Path, expected: u64) -> Result<Box<dyn Subject>> {
        let store = self.open_with(directory, expected, SqliteOptions::default())?;
        Ok(Box::new(Open { store, buffered: self.buffered }))
    }
}

struct Open {
    store: ShapeMeta,
    buffered: bool,
}

impl Subject for Open {
    fn client(&self) -> Result<Box<dyn Client + '_>> {
        Ok(Box::new(Caller(&self.store)))
    }

    fn fill(&self, shapes: &[NewShape]) -> Result {
        if !self.buffered {
            return Err("without a buffer there are no batches".into());
        }
        let wait = Wait::UpTo(PATIENCE);
        for shape in shapes {
            self.store.add(shape.clone(), wait)?;
            let complete = Mutation::Mark(shape.handle.to_string(), SnapshotState::Complete);
            self.store.mutate(&complete, wait)?;
        }
        self.flush()
    }

    fn flush(&self) -> Result {
        Ok(self.store.flush(PATIENCE)?)
    }

    fn ours(&self) -> Option<&ShapeMeta> {
        Some(&self.store)
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        let report = self.store.close(PATIENCE);
        assert!(report.is_complete(), "a benchmark loses nothing: {report:?}");
    }
}

struct Caller<'a>(&'a ShapeMeta);

impl Client for Caller<'_> {
    fn add(&mut self, shape: NewShape) -> Result {
        self.0.add(shape, Wait::UpTo(PATIENCE))?;
        Ok(())
    }

    fn remove(&mut self, handle: &str) -> Result {
        self.0.remove(handle, Wait::UpTo(PATIENCE))?;
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
