//! A store that loads a given number of shapes and stores nothing, so that a benchmark measures only the
//! cache.

use std::sync::Arc;

use shape_meta_cache::{CacheOptions, Cached};
use shape_meta_core::{
    Batch, Change, Entry, Handle, MemoryStore, NoopObserver, ReadShapes, Record, Relation, Result, Seq,
    ShapeStore, SnapshotState, Timestamp, conformance, forward_reads,
};

/// The number of shapes that read the same relation.
pub const SHAPES_PER_RELATION: u64 = 10_000;

/// A store that loads this number of shapes and ignores all batches.
pub struct NullStore {
    pub shapes: u64,
    /// An empty store, which answers the reads.
    empty: MemoryStore,
}

pub fn record(number: u64) -> Arc<Record> {
    let mut shape = conformance::shape(number);
    shape.handle = handle(number);
    shape.relations = [Relation::new((number / SHAPES_PER_RELATION) as u32)].into_iter().collect();
    shape.definition = [].into();
    conformance::store::record(&shape, number + 1)
}

pub fn handle(number: u64) -> Handle {
    Handle::new(format!("{:08}-{:016}", number * 7919 % 100_000_000, 1_768_476_874_000_000 + number))
        .expect("valid")
}

impl ShapeStore for NullStore {
    fn apply(&self, _: &Batch) -> Result<()> {
        Ok(())
    }
    fn load(&self, each: &mut dyn FnMut(Arc<Entry>)) -> Result<Seq> {
        (0..self.shapes).for_each(|number| {
            let entry = Arc::clone(&record(number).entry);
            entry.touch(Timestamp::from_micros(1 + mixed(number) % 1_000_000_000));
            each(entry);
        });
        Ok(Seq::new(self.shapes))
    }
    fn record_of(&self, entry: &Arc<Entry>) -> Result<Option<Arc<Record>>> {
        let definition = [7; 400].as_slice().into();
        Ok(Some(Arc::new(Record { entry: Arc::clone(entry), dependencies: [].into(), definition })))
    }
}

impl ReadShapes for NullStore {
    forward_reads!(self => self.empty);
}

pub fn open(shapes: u64, options: CacheOptions) -> Cached<NullStore> {
    Cached::open(NullStore { shapes, empty: MemoryStore::new() }, options, Arc::new(NoopObserver))
        .expect("it never fails")
}

/// Returns a pseudo-random number for this one.
pub fn mixed(number: u64) -> u64 {
    let mixed = (number ^ (number >> 29)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed ^ (mixed >> 32)
}

/// Returns a batch that adds `count` shapes, starting with number `from`.
pub fn adds(from: u64, count: u64) -> Batch {
    let changes = (from..from + count)
        .map(|number| Change::Add { record: record(number), state: SnapshotState::Pending })
        .collect();
    Batch { changes, through: Seq::new(from + count) }
}
