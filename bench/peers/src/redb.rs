use std::path::Path;

use redb::{Database, MultimapTableDefinition, ReadableDatabase, TableDefinition};
use shape_meta::{Handle, Key, NewShape, Relation};
use shape_meta_bench::{Candidate, Client, Facts, Kind, Store};

use crate::{Result, record};

const RECORDS: TableDefinition<&str, &[u8]> = TableDefinition::new("records");
const KEYS: TableDefinition<&[u8; 32], &str> = TableDefinition::new("keys");
const READERS: MultimapTableDefinition<u32, &str> = MultimapTableDefinition::new("readers");

/// redb, a B-tree with copy on write.
pub(crate) struct Redb;

impl Candidate for Redb {
    fn name(&self) -> &'static str {
        "redb"
    }

    fn about(&self) -> &'static str {
        "redb 4: each add a synced transaction; filled in batches of 10,000; each read a transaction"
    }

    fn kind(&self) -> Kind {
        Kind::Peer
    }

    fn open(&self, directory: &Path, _: u64) -> Result<Box<dyn Store>> {
        let database = Database::create(directory.join("shapes.redb"))?;
        let transaction = database.begin_write()?;
        transaction.open_table(RECORDS)?;
        transaction.open_table(KEYS)?;
        transaction.open_multimap_table(READERS)?;
        transaction.commit()?;
        Ok(Box::new(Open(database)))
    }
}

struct Open(Database);

impl Open {
    fn insert(&self, shapes: &[NewShape], state: u8) -> Result {
        let transaction = self.0.begin_write()?;
        {
            let mut records = transaction.open_table(RECORDS)?;
            let mut keys = transaction.open_table(KEYS)?;
            let mut readers = transaction.open_multimap_table(READERS)?;
            for shape in shapes {
                let handle = shape.handle.as_str();
                records.insert(handle, &*record::encode(shape, state))?;
                keys.insert(shape.key.as_bytes(), handle)?;
                for relation in shape.relations.iter() {
                    readers.insert(relation.oid(), handle)?;
                }
            }
        }
        Ok(transaction.commit()?)
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

impl Caller<'_> {
    fn record<T>(&self, handle: &str, read: impl FnOnce(&[u8]) -> Result<T>) -> Result<Option<T>> {
        let transaction = self.0.0.begin_read()?;
        let records = transaction.open_table(RECORDS)?;
        let found = records.get(handle)?;
        found.map(|record| read(record.value())).transpose()
    }
}

impl Client for Caller<'_> {
    fn add(&mut self, shape: NewShape) -> Result {
        self.0.insert(&[shape], 0)
    }

    fn remove(&mut self, handle: &str) -> Result {
        let transaction = self.0.0.begin_write()?;
        {
            let mut records = transaction.open_table(RECORDS)?;
            let Some(old) = records.remove(handle)?.map(|record| record.value().to_vec()) else {
                return Err("the shape does not exist".into());
            };
            transaction.open_table(KEYS)?.remove(record::key(&old)?.as_bytes())?;
            let mut readers = transaction.open_multimap_table(READERS)?;
            for relation in record::relations(&old)? {
                readers.remove(relation.oid(), handle)?;
            }
        }
        Ok(transaction.commit()?)
    }

    fn facts(&mut self, handle: &str) -> Result<Option<Facts>> {
        self.record(handle, record::facts)
    }

    fn handle_for(&mut self, key: &Key) -> Result<Option<Handle>> {
        let transaction = self.0.0.begin_read()?;
        let found = transaction.open_table(KEYS)?.get(key.as_bytes())?;
        found.map(|handle| Ok(Handle::new(handle.value())?)).transpose()
    }

    fn definition(&mut self, handle: &str) -> Result<Option<usize>> {
        Ok(self.record(handle, record::definition)?.map(|definition| definition.len()))
    }

    fn handles_for_relations(&mut self, relations: &[Relation]) -> Result<Vec<Handle>> {
        let transaction = self.0.0.begin_read()?;
        let readers = transaction.open_multimap_table(READERS)?;
        let mut handles = Vec::new();
        for relation in relations {
            for handle in readers.get(relation.oid())? {
                handles.push(Handle::new(handle?.value())?);
            }
        }
        Ok(record::distinct(handles, relations.len()))
    }
}
