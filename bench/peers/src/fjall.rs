use std::path::Path;

use fjall::{Database, Keyspace, KeyspaceCreateOptions, PersistMode};
use shape_meta::{Handle, Key, NewShape, Relation};
use shape_meta_bench::{Candidate, Client, Facts, Kind, Store};

use crate::{Result, record};

/// fjall, a log-structured merge tree.
pub(crate) struct Fjall;

impl Candidate for Fjall {
    fn name(&self) -> &'static str {
        "fjall"
    }

    fn about(&self) -> &'static str {
        "fjall 3: each add a synced batch (SyncAll); filled in batches of 10,000. A read sees one key at a time: no \
         snapshot over several"
    }

    fn kind(&self) -> Kind {
        Kind::Peer
    }

    fn open(&self, directory: &Path, _: u64) -> Result<Box<dyn Store>> {
        let database = Database::builder(directory.join("fjall")).open()?;
        let keyspace = |name| database.keyspace(name, KeyspaceCreateOptions::default);
        let (records, keys, readers) = (keyspace("records")?, keyspace("keys")?, keyspace("readers")?);
        Ok(Box::new(Open { database, records, keys, readers }))
    }
}

struct Open {
    database: Database,
    /// By handle.
    records: Keyspace,
    /// Handles by key.
    keys: Keyspace,
    /// Relation and handle in one key.
    readers: Keyspace,
}

impl Open {
    fn insert(&self, shapes: &[NewShape], state: u8) -> Result {
        let mut batch = self.database.batch().durability(Some(PersistMode::SyncAll));
        for shape in shapes {
            let handle = shape.handle.as_str();
            batch.insert(&self.records, handle, record::encode(shape, state));
            batch.insert(&self.keys, &shape.key.as_bytes()[..], handle);
            for relation in shape.relations.iter() {
                batch.insert(&self.readers, record::pair(*relation, handle), &[][..]);
            }
        }
        Ok(batch.commit()?)
    }
}

impl Store for Open {
    fn client(&self) -> Result<Box<dyn Client + '_>> {
        Ok(Box::new(Caller(self)))
    }

    fn fill(&self, shapes: &[NewShape]) -> Result {
        shapes.chunks(10_000).try_for_each(|part| self.insert(part, record::COMPLETE))
    }

    fn flush(&self) -> Result {
        Ok(())
    }
}

struct Caller<'a>(&'a Open);

impl Client for Caller<'_> {
    fn add(&mut self, shape: NewShape) -> Result {
        self.0.insert(&[shape], 0)
    }

    fn remove(&mut self, handle: &str) -> Result {
        let old = self.0.records.get(handle)?.ok_or("the shape does not exist")?;
        let mut batch = self.0.database.batch().durability(Some(PersistMode::SyncAll));
        batch.remove(&self.0.records, handle);
        batch.remove(&self.0.keys, &record::key(&old)?.as_bytes()[..]);
        for relation in record::relations(&old)? {
            batch.remove(&self.0.readers, record::pair(relation, handle));
        }
        Ok(batch.commit()?)
    }

    fn facts(&mut self, handle: &str) -> Result<Option<Facts>> {
        self.0.records.get(handle)?.map(|record| record::facts(&record)).transpose()
    }

    fn handle_for(&mut self, key: &Key) -> Result<Option<Handle>> {
        self.0.keys.get(key.as_bytes())?.map(|handle| record::handle(&handle)).transpose()
    }

    fn definition(&mut self, handle: &str) -> Result<Option<usize>> {
        let definition = self.0.records.get(handle)?.map(|record| record::definition(&record)).transpose()?;
        Ok(definition.map(|definition| definition.len()))
    }

    fn handles_for_relations(&mut self, relations: &[Relation]) -> Result<Vec<Handle>> {
        let mut handles = Vec::new();
        for relation in relations {
            for pair in self.0.readers.prefix(relation.oid().to_be_bytes()) {
                let (pair, _) = pair.into_inner()?;
                handles.push(record::handle(pair.get(4..).ok_or("a pair has a handle")?)?);
            }
        }
        Ok(record::distinct(handles, relations.len()))
    }
}
