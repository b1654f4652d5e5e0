use std::path::Path;

use heed::{Database, DatabaseFlags, Env, EnvOpenOptions, RwTxn, types::Bytes};
use shape_meta::{Handle, Key, NewShape, Relation};
use shape_meta_bench::{Candidate, Client, Facts, Kind, Store};

use crate::{Result, record};

type Table = Database<Bytes, Bytes>;

/// LMDB through heed.
pub(crate) struct Lmdb;

impl Candidate for Lmdb {
    fn name(&self) -> &'static str {
        "LMDB"
    }

    fn about(&self) -> &'static str {
        "LMDB through heed: each add a synced transaction; filled in batches of 10,000; each read a transaction"
    }

    fn kind(&self) -> Kind {
        Kind::Peer
    }

    fn open(&self, directory: &Path, _: u64) -> Result<Box<dyn Store>> {
        let mut options = EnvOpenOptions::new();
        options.map_size(32 << 30).max_dbs(3).max_readers(1_024);
        // SAFETY: no other code opens, changes or truncates this file while the environment is open.
        let env = unsafe { options.open(directory)? };
        let mut transaction = env.write_txn()?;
        let mut table = |name, flags| -> Result<Table> {
            let mut options = env.database_options().types::<Bytes, Bytes>();
            Ok(options.name(name).flags(flags).create(&mut transaction)?)
        };
        let records = table("records", DatabaseFlags::empty())?;
        let keys = table("keys", DatabaseFlags::empty())?;
        let readers = table("readers", DatabaseFlags::DUP_SORT)?;
        transaction.commit()?;
        Ok(Box::new(Open { env, records, keys, readers }))
    }
}

struct Open {
    env: Env,
    /// By handle.
    records: Table,
    /// Handles by key.
    keys: Table,
    /// Handles by relation, with duplicate keys.
    readers: Table,
}

impl Open {
    fn insert(&self, shapes: &[NewShape], state: u8) -> Result {
        let mut transaction = self.env.write_txn()?;
        shapes.iter().try_for_each(|shape| self.put(&mut transaction, shape, state))?;
        Ok(transaction.commit()?)
    }

    fn put(&self, transaction: &mut RwTxn<'_>, shape: &NewShape, state: u8) -> Result {
        let handle = shape.handle.as_bytes();
        self.records.put(transaction, handle, &record::encode(shape, state))?;
        self.keys.put(transaction, shape.key.as_bytes(), handle)?;
        for relation in shape.relations.iter() {
            self.readers.put(transaction, &relation.oid().to_be_bytes(), handle)?;
        }
        Ok(())
    }

    fn record<T>(&self, handle: &str, read: impl FnOnce(&[u8]) -> Result<T>) -> Result<Option<T>> {
        let transaction = self.env.read_txn()?;
        self.records.get(&transaction, handle.as_bytes())?.map(read).transpose()
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
        let Open { env, records, keys, readers } = self.0;
        let mut transaction = env.write_txn()?;
        let old = records.get(&transaction, handle.as_bytes())?.ok_or("the shape does not exist")?.to_vec();
        records.delete(&mut transaction, handle.as_bytes())?;
        keys.delete(&mut transaction, record::key(&old)?.as_bytes())?;
        for relation in record::relations(&old)? {
            readers.delete_one_duplicate(
                &mut transaction,
                &relation.oid().to_be_bytes(),
                handle.as_bytes(),
            )?;
        }
        Ok(transaction.commit()?)
    }

    fn facts(&mut self, handle: &str) -> Result<Option<Facts>> {
        self.0.record(handle, record::facts)
    }

    fn handle_for(&mut self, key: &Key) -> Result<Option<Handle>> {
        let transaction = self.0.env.read_txn()?;
        self.0.keys.get(&transaction, key.as_bytes())?.map(record::handle).transpose()
    }

    fn definition(&mut self, handle: &str) -> Result<Option<usize>> {
        Ok(self.0.record(handle, record::definition)?.map(|definition| definition.len()))
    }

    fn handles_for_relations(&mut self, relations: &[Relation]) -> Result<Vec<Handle>> {
        let transaction = self.0.env.read_txn()?;
        let mut handles = Vec::new();
        for relation in relations {
            let found = self.0.readers.get_duplicates(&transaction, &relation.oid().to_be_bytes())?;
            for pair in found.into_iter().flatten() {
                handles.push(record::handle(pair?.1)?);
            }
        }
        Ok(record::distinct(handles, relations.len()))
    }
}
