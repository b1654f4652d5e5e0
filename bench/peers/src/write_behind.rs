//! A hand-written write-behind store: concurrent maps, a channel, and a thread that commits what it receives.
//!
//! It has none of the guarantees of shape-meta: its indexes change one after the other, two adds of one key
//! can both succeed, and a fault of the disk ends the thread.

use std::{
    path::{Path, PathBuf},
    sync::{Arc, mpsc},
    thread::{self, JoinHandle},
};

use dashmap::DashMap;
use rusqlite::Connection;
use shape_meta::{Handle, Key, NewShape, Relation};
use shape_meta_bench::{Candidate, Client, Facts, Kind, Store};

use crate::{
    Result,
    record::{self, COMPLETE},
    tables,
};

/// The bound on pending changes, as for shape-meta in these benchmarks.
const BOUND: usize = 200_000;
const BATCH: usize = 50_000;

/// DashMap, a channel and rusqlite.
pub(crate) struct WriteBehind;

impl Candidate for WriteBehind {
    fn name(&self) -> &'static str {
        "hand-rolled"
    }

    fn about(&self) -> &'static str {
        "three DashMaps, a bounded channel and a thread with rusqlite (WAL, FULL): visible at once though not in one \
         step, on disk by group commit; definitions from SQLite or what waits for it"
    }

    fn kind(&self) -> Kind {
        Kind::Peer
    }

    fn open(&self, directory: &Path, _: u64) -> Result<Box<dyn Store>> {
        let maps = Arc::new(Maps::default());
        let connection = tables::open(directory)?;
        maps.load(&connection)?;
        let (sender, receiver) = mpsc::sync_channel(BOUND);
        let writer = {
            let maps = Arc::clone(&maps);
            thread::spawn(move || write(&connection, &receiver, &maps))
        };
        Ok(Box::new(Open {
            maps,
            sender: Some(sender),
            writer: Some(writer),
            directory: directory.to_owned(),
        }))
    }
}

struct Kept {
    facts: Facts,
    key: Key,
    relations: Vec<Relation>,
}

#[derive(Default)]
struct Maps {
    by_handle: DashMap<Handle, Kept>,
    by_key: DashMap<Key, Handle>,
    by_relation: DashMap<u32, std::collections::HashSet<Handle>>,
    /// The definitions that are not on disk yet.
    waiting: DashMap<Handle, Arc<[u8]>>,
}

impl Maps {
    fn load(&self, connection: &Connection) -> Result {
        let mut shapes = connection.prepare("SELECT handle, key, hash, state FROM shape")?;
        let mut rows = shapes.query([])?;
        while let Some(row) = rows.next()? {
            let handle = Handle::new(row.get_ref(0)?.as_str()?)?;
            let key = Key::new(row.get_ref(1)?.as_blob()?.try_into()?);
            let facts = Facts { hash: row.get::<_, i64>(2)?.cast_unsigned(), state: row.get(3)? };
            self.by_key.insert(key, handle.clone());
            self.by_handle.insert(handle, Kept { facts, key, relations: Vec::new() });
        }
        let mut reads = connection.prepare("SELECT relation, handle FROM reads")?;
        let mut rows = reads.query([])?;
        while let Some(row) = rows.next()? {
            let (relation, handle): (u32, _) = (row.get(0)?, Handle::new(row.get_ref(1)?.as_str()?)?);
            if let Some(mut kept) = self.by_handle.get_mut(&*handle) {
                kept.relations.push(Relation::new(relation));
            }
            self.by_relation.entry(relation).or_default().insert(handle);
        }
        Ok(())
    }

    fn add(&self, shape: &NewShape, state: u8) {
        let handle = &shape.handle;
        self.waiting.insert(handle.clone(), Arc::clone(&shape.definition));
        for relation in shape.relations.iter() {
            self.by_relation.entry(relation.oid()).or_default().insert(handle.clone());
        }
        let facts = Facts { hash: shape.hash.get(), state };
        let kept = Kept { facts, key: shape.key, relations: shape.relations.to_vec() };
        self.by_handle.insert(handle.clone(), kept);
        self.by_key.insert(shape.key, handle.clone());
    }

    fn remove(&self, handle: &str) -> Result {
        let (_, kept) = self.by_handle.remove(handle).ok_or("the shape does not exist")?;
        self.by_key.remove(&kept.key);
        for relation in kept.relations {
            if let Some(mut readers) = self.by_relation.get_mut(&relation.oid()) {
                readers.remove(handle);
            }
        }
        Ok(())
    }
}

enum Message {
    Add(NewShape, u8),
    Remove(String),
    Flush(mpsc::Sender<()>),
}

/// Commits the queued messages in batches until the channel is closed.
fn write(connection: &Connection, receiver: &mpsc::Receiver<Message>, maps: &Maps) -> Result {
    while let Ok(first) = receiver.recv() {
        let (mut written, mut flushed) = (Vec::new(), Vec::new());
        let transaction = connection.unchecked_transaction()?;
        for message in std::iter::once(first).chain(receiver.try_iter()).take(BATCH) {
            match message {
                Message::Add(shape, state) => {
                    tables::insert(&transaction, &shape, state)?;
                    written.push(shape.handle);
                }
                Message::Remove(handle) => tables::delete(&transaction, &handle)?,
                Message::Flush(done) => flushed.push(done),
            }
        }
        transaction.commit()?;
        for handle in written {
            maps.waiting.remove(&*handle);
        }
        for done in flushed {
            done.send(())?;
        }
    }
    Ok(())
}

struct Open {
    maps: Arc<Maps>,
    sender: Option<mpsc::SyncSender<Message>>,
    writer: Option<JoinHandle<Result>>,
    directory: PathBuf,
}

impl Open {
    fn send(&self, message: Message) -> Result {
        let sender = self.sender.as_ref().ok_or("it is closed")?;
        sender.send(message).map_err(|_| "the writer has ended")?;
        Ok(())
    }

    fn add(&self, shape: NewShape, state: u8) -> Result {
        self.maps.add(&shape, state);
        self.send(Message::Add(shape, state))
    }
}

impl Store for Open {
    fn client(&self) -> Result<Box<dyn Client + '_>> {
        Ok(Box::new(Caller { open: self, reader: tables::open(&self.directory)? }))
    }

    fn fill(&self, shapes: &[NewShape]) -> Result {
        shapes.iter().try_for_each(|shape| self.add(shape.clone(), COMPLETE))?;
        self.flush()
    }

    fn flush(&self) -> Result {
        let (sender, done) = mpsc::channel();
        self.send(Message::Flush(sender))?;
        done.recv().map_err(|_| "the writer has failed")?;
        Ok(())
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.sender = None;
        let ended = self.writer.take().map(JoinHandle::join);
        assert!(matches!(ended, Some(Ok(Ok(())))), "the writer failed: {ended:?}");
    }
}

struct Caller<'a> {
    open: &'a Open,
    reader: Connection,
}

impl Client for Caller<'_> {
    fn add(&mut self, shape: NewShape) -> Result {
        self.open.add(shape, 0)
    }

    fn add_durable(&mut self, shape: NewShape) -> Result {
        self.open.add(shape, 0)?;
        self.open.flush()
    }

    fn remove(&mut self, handle: &str) -> Result {
        self.open.maps.remove(handle)?;
        self.open.send(Message::Remove(handle.to_owned()))
    }

    fn facts(&mut self, handle: &str) -> Result<Option<Facts>> {
        Ok(self.open.maps.by_handle.get(handle).map(|kept| kept.facts))
    }

    fn handle_for(&mut self, key: &Key) -> Result<Option<Handle>> {
        Ok(self.open.maps.by_key.get(key).map(|handle| handle.clone()))
    }

    fn definition(&mut self, handle: &str) -> Result<Option<usize>> {
        if let Some(waiting) = self.open.maps.waiting.get(handle) {
            return Ok(Some(waiting.to_vec().len()));
        }
        Ok(tables::definition(&self.reader, handle)?.map(|definition| definition.len()))
    }

    fn handles_for_relations(&mut self, relations: &[Relation]) -> Result<Vec<Handle>> {
        let mut handles = Vec::new();
        for relation in relations {
            if let Some(readers) = self.open.maps.by_relation.get(&relation.oid()) {
                handles.extend(readers.iter().cloned());
            }
        }
        Ok(record::distinct(handles, relations.len()))
    }
}
