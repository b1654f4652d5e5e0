use std::{
    fmt,
    sync::{Arc, Mutex, atomic::AtomicBool},
};

use shape_meta_core::{
    ChangeLog, Counts, Entry, Observer, Result, Seq, ShapeStore,
    store_parts::{ObservedGuard, ObservedLock},
};

use crate::{
    CacheMemory, CacheOptions, LookupIndex,
    join::join,
    memory::MemoryCount,
    mirror::{Definitions, EntryList, Mirror, ThreadReaders},
    table::{GroupingPolicy, Groupings, Slots, SortedValues, Table, Totals},
    write::{InFlight, Writer},
};

/// The limit on the entries that are allocated in advance, as the number of shapes that the store below
/// reports may be wrong.
const MAX_PREALLOCATED_ENTRIES: usize = 1 << 20;

/// A store with a mirror of the small columns in memory, which is read without a lock. The [crate
/// docs](crate) describe how it works.
pub struct Cached<S> {
    pub(crate) inner: S,
    /// Held across disk work by [`apply`](ShapeStore::apply) and [`refresh`](Self::refresh). No reader takes
    /// it (I5).
    ///
    /// Above `mirror`, so that its table is dropped first: then the entry list frees the entries, in the
    /// order of memory, which takes half as long as in that of the table.
    pub(crate) writer: ObservedLock<Writer>,
    pub(crate) mirror: Mirror,
    /// The last shape whose last-read time was saved by a sweep that has more to save.
    pub(crate) sweep_position: Mutex<Seq>,
    pub(crate) in_flight: InFlight,
    /// Whether a buffer above shows batches that are committed and not published.
    pub(crate) below_buffer: bool,
    /// Whether `outcome_unknown` or `needs_full_reload` may be set in the writer. A commit checks this flag
    /// first and normally does not take the writer's lock.
    pub(crate) in_doubt: AtomicBool,
    pub(crate) observer: Arc<dyn Observer>,
}

impl<S: ShapeStore> Cached<S> {
    /// Opens a cache over a store and fills the mirror from it. From then on only this cache may change the
    /// store.
    ///
    /// Reads the small columns of all shapes once.
    ///
    /// # Errors
    ///
    /// If the store cannot be read.
    pub fn open(inner: S, options: CacheOptions, observer: Arc<dyn Observer>) -> Result<Self> {
        Self::open_with(inner, options, observer, Slots::new(), false)
    }

    /// Opens a cache below a write buffer, as [`open`](Self::open) does. The layer above must show every
    /// change from before its [`commit`](ShapeStore::commit) until its [`publish`](ShapeStore::publish) has
    /// returned, as `Buffered` does.
    ///
    /// Disk reads (scans, and look-ups with [`LookupIndex::Disk`]) then do not wait for the apply in flight,
    /// and a batch can be published while the next one is committed. Without such a layer above, reads are
    /// not linearizable (C1): the next look-up may miss a change that a scan has shown.
    ///
    /// # Errors
    ///
    /// If the store cannot be read.
    pub fn open_below_buffer(inner: S, options: CacheOptions, observer: Arc<dyn Observer>) -> Result<Self> {
        Self::open_with(inner, options, observer, Slots::new(), true)
    }

    pub(crate) fn open_with(
        inner: S,
        options: CacheOptions,
        observer: Arc<dyn Observer>,
        slots: Slots,
        below_buffer: bool,
    ) -> Result<Self> {
        let expected =
            inner.resource_usage().shapes.map_or(0, |shapes| usize::try_from(shapes.total).unwrap_or(0));
        let mut entries: Vec<Arc<Entry>> = Vec::with_capacity(expected.min(MAX_PREALLOCATED_ENTRIES));
        let line = line_of(&inner);
        let last_seq = inner.load(&mut |entry| entries.push(entry))?;

        let in_memory = options.lookup_index == LookupIndex::Memory;
        let capacity = options.initial_capacity.max(entries.len() + entries.len() / 8);
        let grouping_policy =
            GroupingPolicy::new(options.keys_per_slot, options.exact_key_slots_up_to, capacity);
        let grouping = grouping_policy.for_shapes(capacity as u64);
        let key_slots = if in_memory { grouping.slots(capacity) } else { 0 };
        let table_slots = capacity + key_slots;
        let groupings = Groupings::settled(grouping);
        let mut totals = Totals { counts: Counts::default(), last_seq, groupings };
        let (mut table, reader) = Table::new(totals, table_slots);
        let mut mirror = Mirror {
            slots,
            readers: ThreadReaders::new(reader, options.preallocated_readers),
            entry_list: EntryList::default(),
            memory_count: MemoryCount::new(in_memory),
            definitions: Definitions::new(options.definition_cache_bytes),
            lookup_index: options.lookup_index,
            grouping_policy,
        };

        // The pointers are cloned here, while the entries are visited in the order in which they lie in
        // memory.
        let ((), lookups) = join(
            entries.len(),
            || {
                let value = |entry: &Arc<Entry>| (mirror.slots.handle(entry.handle()), Arc::clone(entry));
                table.insert_all(SortedValues::new(table_slots, entries.iter().map(value)));
            },
            || {
                let values = entries.iter().flat_map(|entry| {
                    mirror.lookup_slots_of(entry, groupings).map(|slot| (slot, Arc::clone(entry)))
                });
                SortedValues::new(table_slots, values)
            },
        );
        table.insert_all(lookups);
        entries.iter().for_each(|entry| totals.counts.add(entry.is_indexed()));
        table.set_totals(totals);
        table.publish();
        // Until the first publish there is only one side. The second publish creates the other one, which
        // takes a fifth of a second at a million shapes: better here than in the first flush. It copies the
        // values but not the totals, so the totals are set again.
        table.set_totals(totals);
        let ((), (memory_count, entry_list)) = join(
            entries.len(),
            || table.publish(),
            || (MemoryCount::of_entries(in_memory, &entries), EntryList::from_sorted(entries)),
        );
        (mirror.memory_count, mirror.entry_list) = (memory_count, entry_list);
        mirror.memory_count.record_slots(table_slots.max(table.slots()));

        let writer = ObservedLock::new(Writer::new(table, totals, line));
        let in_flight = InFlight::default();
        let (sweep_position, in_doubt) = (Mutex::default(), AtomicBool::new(false));
        Ok(Self { inner, mirror, writer, sweep_position, in_flight, below_buffer, in_doubt, observer })
    }
}

impl<S> Cached<S> {
    /// Returns the store below.
    pub fn inner(&self) -> &S {
        &self.inner
    }

    /// Returns the estimated memory of the mirror, and of the definitions that are kept.
    ///
    /// The estimate is within a fifth of the real size for many shapes. The call only reads counters.
    pub fn memory(&self) -> CacheMemory {
        let definitions = self.mirror.definitions.bytes();
        CacheMemory { definitions, ..self.mirror.memory_count.memory() }
    }

    /// Locks the writer.
    ///
    /// # Errors
    ///
    /// `Unsupported` if an observer calls on the thread that has it locked.
    pub(crate) fn writer(&self) -> Result<ObservedGuard<'_, Writer>> {
        // A panic may have left a batch unfinished; `outcome_unknown` is set then.
        self.writer.lock()
    }

    /// Waits until the apply in flight is published. For a read that has touched the disk, before it returns.
    ///
    /// # Errors
    ///
    /// `Unsupported` if an observer reads on the thread of that apply.
    pub(crate) fn wait_published(&self) -> Result<()> {
        if self.below_buffer || !self.in_flight.is_any() {
            return Ok(());
        }
        self.writer.check_not_locked_here()?;
        self.in_flight.wait_published();
        Ok(())
    }
}

impl<S: fmt::Debug> fmt::Debug for Cached<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cached")
            .field("inner", &self.inner)
            .field("lookup_index", &self.mirror.lookup_index)
            .field("below_buffer", &self.below_buffer)
            .finish_non_exhaustive()
    }
}

/// Returns the line of history of a store; 0 if it keeps no change log.
pub(crate) fn line_of(store: &impl ShapeStore) -> u64 {
    store.change_log().map_or(0, ChangeLog::line)
}
