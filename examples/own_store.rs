//! Cache and buffer over your own store: `cargo run --features shape --example own_store`.
//!
//! The store keeps records in a `BTreeMap`; put your database in its place. One line in your tests checks it:
//! `shape_meta_core::conformance_tests!(store: MapStore::default);` (feature `conformance` of
//! shape-meta-core).

use std::{
    collections::BTreeMap,
    error::Error,
    sync::{Arc, PoisonError, RwLock, RwLockReadGuard},
    time::Duration,
};

use shape_meta::{
    BufferOptions, CacheOptions, Change, Counts, Entry, HandleSet, LeastRecentlyUsed, Metadata, NoopCleaner,
    Record, Result, Scan, ScanItem, Seq, Shape, TableName, prelude::*,
};
use shape_meta_core::{Batch, ShapeStore};

/// Shapes by the sequence number of their add, and the sequence number of the last batch.
#[derive(Default)]
struct MapStore(RwLock<(BTreeMap<Seq, Arc<Record>>, Seq)>);

impl MapStore {
    fn lock(&self) -> RwLockReadGuard<'_, (BTreeMap<Seq, Arc<Record>>, Seq)> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Under a cache only scans and definitions are read from here, so a search of all shapes is good enough.
    fn select(&self, matches: impl Fn(&Record) -> bool) -> Vec<Arc<Record>> {
        self.lock().0.values().filter(|record| matches(record)).cloned().collect()
    }

    fn find(&self, handle: &str) -> Option<Arc<Record>> {
        self.select(|record| record.handle() == handle).pop()
    }
}

impl ShapeStore for MapStore {
    /// All or nothing, and idempotent: a batch that was applied is skipped (I6).
    fn apply(&self, batch: &Batch) -> Result<()> {
        let mut guard = self.0.write().unwrap_or_else(PoisonError::into_inner);
        let (shapes, last_seq) = &mut *guard;
        if batch.through <= *last_seq {
            return Ok(());
        }
        for change in &batch.changes {
            match change {
                Change::Add { record, state } => {
                    record.entry.advance(*state);
                    shapes.insert(record.entry.created(), Arc::clone(record));
                }
                Change::Mark { entry, state } => {
                    if let Some(record) = shapes.get(&entry.created()) {
                        record.entry.advance(*state);
                    }
                }
                Change::Remove { entry } => drop(shapes.remove(&entry.created())),
                // A cleaner of this store would delete the stored data of this handle.
                Change::Discard { .. } => {}
                Change::Reset => shapes.clear(),
            }
        }
        *last_seq = batch.through;
        Ok(())
    }

    /// Fills the cache at open.
    fn load(&self, each: &mut dyn FnMut(Arc<Entry>)) -> Result<Seq> {
        let guard = self.lock();
        guard.0.values().for_each(|record| each(Arc::clone(&record.entry)));
        Ok(guard.1)
    }

    /// Reads a definition. The record must hold the very entry that was passed in.
    fn record_of(&self, entry: &Arc<Entry>) -> Result<Option<Arc<Record>>> {
        let found = self.lock().0.get(&entry.created()).cloned();
        Ok(found.map(|record| Arc::new(Record { entry: Arc::clone(entry), ..(*record).clone() })))
    }
}

impl ReadShapes for MapStore {
    fn metadata(&self, handle: &str) -> Result<Option<Metadata>> {
        Ok(self.find(handle).map(|record| record.entry.metadata()))
    }

    fn handle_for(&self, key: &Key) -> Result<Option<Handle>> {
        Ok(self.select(|record| record.key() == key).pop().map(|record| record.handle().clone()))
    }

    fn entry(&self, handle: &str) -> Result<Option<Arc<Entry>>> {
        Ok(self.find(handle).map(|record| Arc::clone(&record.entry)))
    }

    fn record(&self, handle: &str) -> Result<Option<Arc<Record>>> {
        Ok(self.find(handle))
    }

    fn handles_for_relations(&self, relations: &[Relation]) -> Result<Vec<Handle>> {
        let found = self.select(|record| record.entry.relations().iter().any(|one| relations.contains(one)));
        Ok(found.iter().map(|record| record.handle().clone()).collect())
    }

    fn counts(&self) -> Result<Counts> {
        let mut counts = Counts::default();
        self.select(|_| true).iter().for_each(|record| counts.add(record.entry.is_indexed()));
        Ok(counts)
    }

    fn scan(&self) -> Result<Scan<'_>> {
        let item = |record: Arc<Record>| Ok(ScanItem { metadata: record.entry.metadata(), record });
        Ok(Box::new(self.select(|_| true).into_iter().map(item)))
    }

    fn touch(&self, handle: &str, at: Timestamp) -> Result<bool> {
        Ok(self.find(handle).is_some_and(|record| record.entry.touch(at)))
    }

    fn least_recently_used(&self, n: usize, excluded: &HandleSet) -> Result<LeastRecentlyUsed> {
        // A time in the future comes from a clock that was ahead, and counts as now.
        let now = Timestamp::now();
        let read = |record: &Arc<Record>| Some((record.handle().clone(), record.entry.last_read()?.min(now)));
        let mut shapes: Vec<_> =
            self.select(|record| !excluded.contains(record.handle())).iter().filter_map(read).collect();
        shapes.sort_by_key(|(_, at)| *at);
        shapes.truncate(n);
        Ok(LeastRecentlyUsed { shapes })
    }

    fn last_seq(&self) -> Result<Seq> {
        Ok(self.lock().1)
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let store = ShapeMeta::builder(NoopCleaner)
        .cached(CacheOptions::default())
        .buffered(BufferOptions::default())
        .over(MapStore::default())?;
    let todos = Shape::new(TableName::new("public", "todos"), Relation::new(16510)).filter("done = false");
    let made = store.get_or_add(&NewShape::of(Handle::new("todos-1")?, &todos), Wait::No)?;
    made.receipt.wait_durable(Duration::from_secs(10))?;
    let record = store.record(&made.handle)?.ok_or("the shape is lost")?;
    println!("{} is in the store: {:?}", made.handle, record.decode::<Shape>()?.filter);
    Ok(())
}
