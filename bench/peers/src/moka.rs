use std::{
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
};

use moka::sync::Cache;
use rusqlite::Connection;
use shape_meta::{Handle, Key, NewShape, Relation};
use shape_meta_bench::{Candidate, Client, Facts, Kind, Store};

use crate::{
    Result,
    record::{self, COMPLETE},
    tables,
};

/// A write-through cache over rusqlite.
pub(crate) struct Moka;

impl Candidate for Moka {
    fn name(&self) -> &'static str {
        "rusqlite + moka"
    }

    fn about(&self) -> &'static str {
        "write-through: each add a synced transaction (WAL, FULL) and then into two moka caches (by handle, by key) \
         that a miss fills; relations from SQLite; filled in batches of 10,000"
    }

    fn kind(&self) -> Kind {
        Kind::Peer
    }

    fn open(&self, directory: &Path, expected: u64) -> Result<Box<dyn Store>> {
        let capacity = expected.max(1_000_000) * 2;
        Ok(Box::new(Open {
            writer: Mutex::new(tables::open(directory)?),
            directory: directory.to_owned(),
            facts: Cache::new(capacity),
            handles: Cache::new(capacity),
        }))
    }
}

struct Open {
    writer: Mutex<Connection>,
    directory: PathBuf,
    facts: Cache<Handle, Facts>,
    handles: Cache<Key, Handle>,
}

impl Open {
    fn insert(&self, shapes: &[NewShape], state: u8) -> Result {
        let connection = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        let transaction = connection.unchecked_transaction()?;
        shapes.iter().try_for_each(|shape| tables::insert(&transaction, shape, state))?;
        transaction.commit()?;
        for shape in shapes {
            self.facts.insert(shape.handle.clone(), Facts { hash: shape.hash.get(), state });
            self.handles.insert(shape.key, shape.handle.clone());
        }
        Ok(())
    }
}

impl Store for Open {
    fn client(&self) -> Result<Box<dyn Client + '_>> {
        Ok(Box::new(Caller { open: self, reader: tables::open(&self.directory)? }))
    }

    fn fill(&self, shapes: &[NewShape]) -> Result {
        shapes.chunks(10_000).try_for_each(|part| self.insert(part, COMPLETE))
    }

    fn flush(&self) -> Result {
        Ok(())
    }
}

struct Caller<'a> {
    open: &'a Open,
    reader: Connection,
}

impl Client for Caller<'_> {
    fn add(&mut self, shape: NewShape) -> Result {
        self.open.insert(&[shape], 0)
    }

    fn remove(&mut self, handle: &str) -> Result {
        let connection = self.open.writer.lock().unwrap_or_else(PoisonError::into_inner);
        let key: Vec<u8> =
            connection.query_row("SELECT key FROM shape WHERE handle = ?", [handle], |row| row.get(0))?;
        let transaction = connection.unchecked_transaction()?;
        tables::delete(&transaction, handle)?;
        transaction.commit()?;
        self.open.facts.invalidate(handle);
        self.open.handles.invalidate(&Key::new(key.as_slice().try_into()?));
        Ok(())
    }

    fn facts(&mut self, handle: &str) -> Result<Option<Facts>> {
        if let Some(facts) = self.open.facts.get(handle) {
            return Ok(Some(facts));
        }
        let facts = tables::facts(&self.reader, handle)?;
        if let Some(facts) = facts {
            self.open.facts.insert(Handle::new(handle)?, facts);
        }
        Ok(facts)
    }

    fn handle_for(&mut self, key: &Key) -> Result<Option<Handle>> {
        if let Some(handle) = self.open.handles.get(key) {
            return Ok(Some(handle));
        }
        let Some(handle) = tables::handle_for(&self.reader, key.as_bytes())? else { return Ok(None) };
        let handle = Handle::new(handle)?;
        self.open.handles.insert(*key, handle.clone());
        Ok(Some(handle))
    }

    fn definition(&mut self, handle: &str) -> Result<Option<usize>> {
        Ok(tables::definition(&self.reader, handle)?.map(|definition| definition.len()))
    }

    fn handles_for_relations(&mut self, relations: &[Relation]) -> Result<Vec<Handle>> {
        let mut handles = Vec::new();
        tables::handles_for_relations(&self.reader, relations, |handle| {
            handles.push(Handle::new(handle)?);
            Ok(())
        })?;
        Ok(record::distinct(handles, relations.len()))
    }
}
