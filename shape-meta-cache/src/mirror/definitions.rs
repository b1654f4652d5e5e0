use std::sync::{
    Arc, OnceLock,
    atomic::{AtomicU64, Ordering},
};

use foldhash::fast::RandomState;
use quick_cache::{
    Weighter,
    sync::{Cache, DefaultLifecycle},
};
use shape_meta_core::{Entry, Record, Seq};

/// A cache of records that were read from the store below, up to a bound in bytes. It prefers records that
/// are read repeatedly.
///
/// The mirror decides what is live, and this cache only saves the disk read of a definition. Unlike the
/// mirror (I4), a read fills it. That is safe: a definition never changes and a sequence number is never
/// reused, so a cached record cannot become wrong, only unused. Both hold on one line of history: a full
/// reload removes all records.
#[derive(Debug)]
pub(crate) struct Definitions {
    /// The bound; 0 turns the cache off.
    bytes: usize,
    /// Made by the first read of a definition: its shards take more memory than an idle store.
    records: OnceLock<Records>,
    /// How often all records were removed.
    cleared: AtomicU64,
}

type Records = Cache<Seq, Arc<Record>, RecordWeight, RandomState>;

#[derive(Clone, Copy, Debug)]
struct RecordWeight;

/// The overhead of a record in bytes: the counters of two `Arc`s, its slot in the cache, and its share of the
/// hash table and of the keys that the cache remembers after eviction.
const RECORD_OVERHEAD: usize = 160;
/// The assumed size of a record when the cache is sized.
const TYPICAL_RECORD_BYTES: usize = 512;

impl Weighter<Seq, Arc<Record>> for RecordWeight {
    fn weight(&self, _: &Seq, record: &Arc<Record>) -> u64 {
        (record.memory() - record.entry.memory() + RECORD_OVERHEAD) as u64
    }
}

impl Definitions {
    /// A cache of at most `bytes`; 0 turns it off.
    pub(crate) fn new(bytes: usize) -> Self {
        Self { bytes, records: OnceLock::new(), cleared: AtomicU64::new(0) }
    }

    /// Returns the cached record of exactly this entry.
    ///
    /// The entries are compared by address: after a standby has followed its owner to another database, the
    /// same sequence number can belong to another shape.
    pub(crate) fn get(&self, entry: &Arc<Entry>) -> Option<Arc<Record>> {
        let record = self.records.get()?.get(&entry.created())?;
        Arc::ptr_eq(&record.entry, entry).then_some(record)
    }

    /// Adds a record that was read when the cache had been [`cleared`](Self::cleared) this often. The cache
    /// may evict it at any time.
    pub(crate) fn insert(&self, record: &Arc<Record>, cleared: u64) {
        if self.bytes > 0 {
            let records = self.records.get_or_init(|| with_bound(self.bytes));
            records.insert(record.entry.created(), Arc::clone(record));
            if self.cleared() != cleared {
                drop(records.remove(&record.entry.created()));
            }
        }
    }

    /// Returns how often all records were removed. A record that is read after this call may be
    /// [inserted](Self::insert).
    pub(crate) fn cleared(&self) -> u64 {
        self.cleared.load(Ordering::SeqCst)
    }

    /// Removes the records of shapes that were removed; `created` is sorted.
    ///
    /// A concurrent read that began before the removal can insert its record again. That record stays until
    /// it is evicted, and no look-up returns it, because its entry is no longer in the mirror.
    pub(crate) fn remove(&self, created: &[Seq]) {
        let Some(records) = self.records.get().filter(|_| !created.is_empty()) else { return };
        if created.len() < records.len() {
            created.iter().for_each(|created| drop(records.remove(created)));
        } else {
            // One pass over the cache is cheaper than many look-ups, for example after a reset.
            records.retain(|seq, _| created.binary_search(seq).is_err());
        }
    }

    /// Removes all records, also those that are being read.
    pub(crate) fn clear(&self) {
        self.cleared.fetch_add(1, Ordering::SeqCst);
        if let Some(records) = self.records.get() {
            records.clear();
        }
    }

    /// Returns the number of bytes in use.
    pub(crate) fn bytes(&self) -> usize {
        self.records.get().map_or(0, |records| usize::try_from(records.weight()).unwrap_or(usize::MAX))
    }
}

fn with_bound(bytes: usize) -> Records {
    let (weight, items) = (RecordWeight, bytes / TYPICAL_RECORD_BYTES);
    Cache::with(items, bytes as u64, weight, RandomState::default(), DefaultLifecycle::default())
}
