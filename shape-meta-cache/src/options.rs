/// Where look-ups by key and by relation are answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum LookupIndex {
    /// From memory, like everything small: a miss there is the answer.
    #[default]
    Memory,
    /// By the store below. Saves the memory of two indexes; each such look-up then costs a read of the
    /// disk, and the store below must keep the indexes for it.
    Disk,
}

/// How a [`Cached`](crate::Cached) store is made. `CacheOptions::default()` suits most.
#[derive(Clone, Debug)]
pub struct CacheOptions {
    pub(crate) lookup_index: LookupIndex,
    pub(crate) initial_capacity: usize,
    pub(crate) keys_per_slot: u32,
    pub(crate) keys_apart: usize,
    pub(crate) preallocated_readers: usize,
    pub(crate) definitions: usize,
}

impl Default for CacheOptions {
    fn default() -> Self {
        Self {
            lookup_index: LookupIndex::Memory,
            initial_capacity: 0,
            keys_per_slot: 4,
            keys_apart: 200_000,
            preallocated_readers: 8,
            definitions: 0,
        }
    }
}

impl CacheOptions {
    /// Where look-ups by key and by relation are answered. Default: [`LookupIndex::Memory`].
    ///
    /// On disk saves about a quarter of the memory (some 340 bytes a shape instead of 460, at a million)
    /// and makes publishing twice as fast, but turns look-ups of less than a microsecond into several.
    pub fn lookup_index(mut self, lookup_index: LookupIndex) -> Self {
        self.lookup_index = lookup_index;
        self
    }

    /// Whether the store below has to answer look-ups by key and by relation.
    pub fn needs_indexes_below(&self) -> bool {
        self.lookup_index == LookupIndex::Disk
    }

    /// Room for so many shapes is made at open, or for an eighth more than there are, if that is more.
    /// Default: 0.
    ///
    /// The table grows by itself. But each time, the writer stops for as long as it takes to copy it (some
    /// 50 milliseconds at a million shapes, for both sides), and needs half as much memory again
    /// meanwhile. Too large a number costs 100 bytes for each shape that never comes.
    pub fn initial_capacity(mut self, shapes: usize) -> Self {
        self.initial_capacity = shapes;
        self
    }

    /// How many keys share a slot of the table, about, once there are more shapes than
    /// [`exact_key_slots_up_to`](Self::exact_key_slots_up_to) says. Default: 4. `1` gives each its own however many there are.
    ///
    /// More to a slot is less memory: at a million shapes about 160 bytes a shape go from 1 to 4. It makes
    /// the look-up by key slower, by a third or a half. Reads by handle are not concerned.
    pub fn keys_per_slot(mut self, keys: u32) -> Self {
        self.keys_per_slot = keys;
        self
    }

    /// Up to how many shapes each key has a slot of its own. Default: 200,000. With `0`, keys share slots from the
    /// first on.
    ///
    /// Where it does not cost memory, each has its own beyond that, too: a table has a power of two of slots in any
    /// case, and how many shapes there are at open, or [are expected](Self::initial_capacity), says whether keys that
    /// share would save a half of them. It can save 20 megabytes at 200,000 shapes, and 200 at a million.
    ///
    /// When there come to be more shapes than that, keys are gathered into shared slots at once, which
    /// holds the writer up for as long as adding all keys again takes: 0.1 seconds at 200,000 shapes. Readers go on.
    pub fn exact_key_slots_up_to(mut self, shapes: usize) -> Self {
        self.keys_apart = shapes;
        self
    }

    /// How many bytes of definitions are kept in memory after they were read. Default: 0, none.
    ///
    /// A definition that is there takes a fifth of a microsecond, and one that has to be read from the
    /// database some microseconds and a connection. Those that are read again and again stay when there is no room for
    /// all; one that is larger than its share of the room, an eighth on two processors, may not be kept.
    /// What they take is told in [`CacheMemory::definitions`](crate::CacheMemory::definitions): their bytes and 160 for
    /// each.
    #[cfg(feature = "definitions")]
    pub fn definition_cache_bytes(mut self, bytes: usize) -> Self {
        self.definitions = bytes;
        self
    }

    /// How many threads' access to the table is prepared ahead. Default: 8.
    ///
    /// The first read of a new thread takes one. If none is left, it has to make one, which waits while
    /// the writer publishes (milliseconds after a large batch). Each costs 300 bytes, and a nanosecond
    /// or two for each publish.
    pub fn preallocated_readers(mut self, threads: usize) -> Self {
        self.preallocated_readers = threads;
        self
    }
}
