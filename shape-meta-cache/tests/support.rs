use std::sync::{
    Arc, Mutex,
    atomic::{AtomicBool, Ordering::SeqCst},
};

use shape_meta_cache::{CacheOptions, Cached};
use shape_meta_core::{
    ApplyChanges, Batch, Change, Counts, DefinitionHash, Entry, Error, ErrorKind, Handle, HandleSet, Key,
    LeastRecentlyUsed, MemoryStore, Metadata, NewShape, ReadShapes, Record, Relation, Result, Scan, Seq,
    Silent, SnapshotState, Timestamp,
};

/// A shape made of a number: handle, key and hash are its own; it reads relation 1000 + number % 10.
pub(crate) fn shape(number: u64) -> NewShape {
    let mut key = [0; 32];
    key[..8].copy_from_slice(&number.to_be_bytes());
    NewShape {
        handle: Handle::new(format!("{number:08}-1768476874000000")).expect("valid"),
        key: Key::new(key),
        hash: DefinitionHash::new(number.wrapping_mul(31)),
        relations: [relation(number % 10)].into_iter().collect(),
        dependencies: [].into(),
        indexed: number.is_multiple_of(2),
        definition: format!("definition {number}").into_bytes().into(),
    }
}

pub(crate) fn relation(number: u64) -> Relation {
    Relation::new(1000 + number as u32)
}

pub(crate) fn handle(number: u64) -> Handle {
    shape(number).handle
}

/// The record of [`shape`] with this number, created at this place.
pub(crate) fn record(number: u64, created: u64) -> Arc<Record> {
    let NewShape { handle, key, hash, relations, dependencies, indexed, definition } = shape(number);
    let entry = Entry::new(Seq::new(created), handle, key, hash, relations, indexed);
    Arc::new(Record { entry: Arc::new(entry), dependencies, definition })
}

pub(crate) fn add(record: &Arc<Record>) -> Change {
    Change::Add { record: Arc::clone(record), state: SnapshotState::Pending }
}

pub(crate) fn remove(record: &Arc<Record>) -> Change {
    Change::Remove { entry: Arc::clone(&record.entry) }
}

pub(crate) fn batch(through: u64, changes: impl IntoIterator<Item = Change>) -> Batch {
    Batch { changes: changes.into_iter().collect(), through: Seq::new(through) }
}

pub(crate) fn cached<S: ApplyChanges>(inner: S, options: CacheOptions) -> Cached<S> {
    Cached::open(inner, options, Arc::new(Silent)).expect("the store can be read")
}

/// A memory store with something to be done between its commit and its return, and whose last place can
/// be made unreadable.
#[derive(Default)]
pub(crate) struct Probe {
    pub(crate) store: MemoryStore,
    pub(crate) after_commit: Mutex<Option<Act>>,
    pub(crate) last_seq_fails: AtomicBool,
}

type Act = Box<dyn FnOnce() -> Result<()> + Send>;

impl Probe {
    pub(crate) fn after_next_commit(&self, act: impl FnOnce() -> Result<()> + Send + 'static) {
        *self.after_commit.lock().unwrap() = Some(Box::new(act));
    }
}

pub(crate) fn io_error() -> Error {
    Error::new(ErrorKind::Io, "the disk has gone away")
}

impl ReadShapes for Probe {
    fn metadata(&self, handle: &str) -> Result<Option<Metadata>> {
        self.store.metadata(handle)
    }
    fn handle_for(&self, key: &Key) -> Result<Option<Handle>> {
        self.store.handle_for(key)
    }
    fn entry(&self, handle: &str) -> Result<Option<Arc<Entry>>> {
        self.store.entry(handle)
    }
    fn record(&self, handle: &str) -> Result<Option<Arc<Record>>> {
        self.store.record(handle)
    }
    fn handles_reading(&self, relations: &[Relation]) -> Result<Vec<Handle>> {
        self.store.handles_reading(relations)
    }
    fn counts(&self) -> Result<Counts> {
        self.store.counts()
    }
    fn scan(&self) -> Result<Scan<'_>> {
        self.store.scan()
    }
    fn touch(&self, handle: &str, at: Timestamp) -> Result<bool> {
        self.store.touch(handle, at)
    }
    fn least_recently_used(&self, n: usize, excluded: &HandleSet) -> Result<LeastRecentlyUsed> {
        self.store.least_recently_used(n, excluded)
    }
    fn last_seq(&self) -> Result<Seq> {
        if self.last_seq_fails.load(SeqCst) { Err(io_error()) } else { self.store.last_seq() }
    }
}

impl ApplyChanges for Probe {
    fn apply(&self, batch: &Batch) -> Result<()> {
        self.store.apply(batch)?;
        let act = self.after_commit.lock().unwrap().take();
        act.map_or(Ok(()), |act| act())
    }
    fn load(&self, each: &mut dyn FnMut(Arc<Entry>)) -> Result<Seq> {
        self.store.load(each)
    }
    fn record_of(&self, entry: &Arc<Entry>) -> Result<Option<Arc<Record>>> {
        self.store.record_of(entry)
    }
}
