//! A hand-written write-behind store: concurrent maps, a channel, and a thread that commits what it receives.
//!
//! It has none of the guarantees of shape-meta: its indexes change one after the other, two adds of one key
//! can both succeed, and a fault of the disk ends the thread.

use std::{
    path::{Path, PathBuf},
    sync::{Arc, mpsc},
    thread::{self, JoinHandle},
};

use rusqlite::Connection;
use shape_meta::{Handle, Key, NewShape, Relation};
use shape_meta_bench::{Candidate, Client, Facts, Kind, Store};

use crate::{Result, maps::Maps, record::COMPLETE, tables};

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
        load(&maps, &connection)?;
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

fn load(maps: &Maps, connection: &Connection) -> Result {
    let mut shapes = connection.prepare("SELECT handle, key, hash, state FROM shape")?;
    let mut rows = shapes.query([])?;
    while let Some(row) = rows.next()? {
        let handle = Handle::new(row.get_ref(0)?.as_str()?)?;
        let key = Key::new(row.get_ref(1)?.as_blob()?.try_into()?);
        maps.load(handle, key, Facts { hash: row.get::<_, i64>(2)?.cast_unsigned(), state: row.get(3)? });
    }
    let mut reads = connection.prepare("SELECT relation, handle FROM reads")?;
    let mut rows = reads.query([])?;
    while let Some(row) = rows.next()? {
        maps.load_relation(row.get(0)?, Handle::new(row.get_ref(1)?.as_str()?)?);
    }
    Ok(())
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
        self.maps.waiting.insert(shape.handle.clone(), Arc::clone(&shape.definition));
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
        Ok(self.open.maps.facts(handle))
    }

    fn handle_for(&mut self, key: &Key) -> Result<Option<Handle>> {
        Ok(self.open.maps.handle_for(key))
    }

    fn definition(&mut self, handle: &str) -> Result<Option<usize>> {
        if let Some(waiting) = self.open.maps.waiting.get(handle) {
            return Ok(Some(waiting.to_vec().len()));
        }
        Ok(tables::definition(&self.reader, handle)?.map(|definition| definition.len()))
    }

    fn handles_for_relations(&mut self, relations: &[Relation]) -> Result<Vec<Handle>> {
        Ok(self.open.maps.handles_for_relations(relations))
    }
}
