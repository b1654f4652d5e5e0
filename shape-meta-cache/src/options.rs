/// Where look-ups by key and by relation are answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum LookupIndex {
    /// From the mirror in memory: a miss there is the answer.
    #[default]
    Memory,
    /// By the store below. Saves the memory of two indexes. Each such look-up then costs a disk read, and the
    /// store below must maintain the indexes.
    Disk,
}

/// The largest [`initial_capacity`](CacheOptions::initial_capacity): 1.6 gigabytes, or 3.3 if each key has a
/// slot.
const MAX_INITIAL_CAPACITY: usize = 1 << 23;
/// The largest number of [`preallocated_readers`](CacheOptions::preallocated_readers).
const MAX_PREALLOCATED_READERS: usize = 1 << 12;

/// Options of a [`Cached`](crate::Cached) store. `CacheOptions::default()` suits most uses.
#[derive(Clone, Debug)]
pub struct CacheOptions {
    pub(crate) lookup_index: LookupIndex,
    pub(crate) initial_capacity: usize,
    pub(crate) keys_per_slot: u32,
    pub(crate) exact_key_slots_up_to: usize,
    pub(crate) preallocated_readers: usize,
    pub(crate) definition_cache_bytes: usize,
}

impl Default for CacheOptions {
    fn default() -> Self {
        Self {
            lookup_index: LookupIndex::Memory,
            initial_capacity: 0,
            keys_per_slot: 4,
            exact_key_slots_up_to: 200_000,
            preallocated_readers: 8,
            definition_cache_bytes: 64 << 20,
        }
    }
}

impl CacheOptions {
    /// Where look-ups by key and by relation are answered. Default: [`LookupIndex::Memory`].
    ///
    /// [`LookupIndex::Disk`] saves about a quarter of the memory: some 340 bytes a shape instead of 460, at a
    /// million shapes. It makes a publish twice as fast. Look-ups take tens of microseconds instead of about
    /// one.
    pub fn lookup_index(mut self, lookup_index: LookupIndex) -> Self {
        self.lookup_index = lookup_index;
        self
    }

    /// Returns whether the store below must answer look-ups by key and by relation.
    pub fn needs_indexes_below(&self) -> bool {
        self.lookup_index == LookupIndex::Disk
    }

    /// The number of shapes for which the table has capacity after open. Default: 0. The minimum is an eighth
    /// more than the number of shapes in the store.
    ///
    /// The table grows by itself: it doubles. Each time the writer stops while it copies the table, some 0.1
    /// seconds for both sides at 1.5 million shapes, and 0.5 to 5 seconds at 6 million, where most of it is
    /// the system that finds the memory. Neither reads of the mirror nor callers that change shapes wait for
    /// it; the flush after the next one does. Meanwhile the table takes a quarter more than afterwards. So a
    /// store that will have millions of shapes is opened with capacity for them. Too large a number wastes
    /// 100 to 300 bytes for each shape that is never added, and twice that if each key has its own slot: 0.4
    /// GB for 2 million shapes, 1.6 GB for the maximum, 8,388,608. A number above it counts as that.
    pub fn initial_capacity(mut self, shapes: usize) -> Self {
        self.initial_capacity = shapes.min(MAX_INITIAL_CAPACITY);
        self
    }

    /// The approximate number of keys that share a slot of the table, once there are more shapes than
    /// [`exact_key_slots_up_to`](Self::exact_key_slots_up_to). Default: 4. With `1` or `0`, each key always
    /// has its own slot.
    ///
    /// A larger number saves memory: about 160 bytes a shape from 1 to 4, at a million shapes. It makes the
    /// look-up by key slower, by a third to a half. Reads by handle are not affected.
    pub fn keys_per_slot(mut self, keys: u32) -> Self {
        self.keys_per_slot = keys;
        self
    }

    /// The number of shapes up to which each key has its own slot. Default: 200,000. With `0`, keys always
    /// share slots.
    ///
    /// Each key keeps its own slot above this number where shared slots would not save memory. A table has a
    /// power of two of slots, so the number of shapes at open, or the [initial
    /// capacity](Self::initial_capacity), decides whether sharing would halve it. Sharing can save 20
    /// megabytes at 200,000 shapes, and 200 megabytes at a million.
    ///
    /// When the number of shapes exceeds the limit, the next batches move the keys into shared slots, with
    /// each at most 25,000, or one for each of its changes. Until all have moved, a look-up by key may look
    /// into two slots.
    pub fn exact_key_slots_up_to(mut self, shapes: usize) -> Self {
        self.exact_key_slots_up_to = shapes;
        self
    }

    /// The maximum number of bytes of definitions that stay in memory after they were read. Default: 64 MiB,
    /// some 100,000 definitions of 500 bytes. With `0`, none stay.
    ///
    /// Needs the feature `definitions`, a default one. Without it none stay.
    ///
    /// Reading a definition from memory takes 0.3 microseconds with 10,000 shapes, and 1 to 2 with 100,000 to
    /// a million, which the caches of the processor do not hold. Reading it from the database takes 7 to 11,
    /// and a connection. If the bound is reached, definitions that are read repeatedly stay. A definition
    /// larger than a shard of the cache, which is an eighth of it on two processors, may not be kept.
    /// [`CacheMemory::definitions`](crate::CacheMemory::definitions) reports the bytes in use, which have the
    /// bound: those of the definitions, and 160 for each. Through `shape-meta`, `StoreControl::usage` returns
    /// the sum of all parts of the cache.
    #[cfg(feature = "definitions")]
    pub fn definition_cache_bytes(mut self, bytes: usize) -> Self {
        self.definition_cache_bytes = bytes;
        self
    }

    /// The number of threads for which read access to the table is prepared in advance. Default: 8.
    ///
    /// The first read of a new thread takes a prepared read handle. If none is left, the thread creates one,
    /// which blocks while the writer publishes: milliseconds after a large batch. Each handle costs 300
    /// bytes, and one or two nanoseconds for each publish. A number above 4,096 counts as that.
    pub fn preallocated_readers(mut self, threads: usize) -> Self {
        self.preallocated_readers = threads.min(MAX_PREALLOCATED_READERS);
        self
    }
}
