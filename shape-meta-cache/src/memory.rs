use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use shape_meta_core::Entry;

use crate::table::buckets;

/// The estimated memory of a cache, in bytes; see [`Cached::memory`](crate::Cached::memory).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct CacheMemory {
    /// The entries: handle, key, hash, state, times, relations.
    pub entries: usize,
    /// Both sides of the table: the slots of handles, keys and relations, and the values that do not fit into
    /// them.
    pub table: usize,
    /// The list of all entries, which the search for the least recently used shapes walks.
    pub entry_list: usize,
    /// Definitions that were read and are kept.
    pub definitions: usize,
}

impl CacheMemory {
    /// Returns the sum of all parts.
    pub fn total(&self) -> usize {
        self.entries + self.table + self.entry_list + self.definitions
    }
}

/// Counters of the memory in use; updated by the writer, read by any thread.
///
/// The result is an estimate: the parts are not read in one step, and evmap does not expose the table's
/// capacity.
#[derive(Debug, Default)]
pub(crate) struct MemoryCount {
    shapes: AtomicUsize,
    entries: AtomicUsize,
    relations: AtomicUsize,
    max_slots: AtomicUsize,
    in_memory: bool,
}

/// Key, values and control byte of a slot of the table.
const SLOT: usize = 8 + 40 + 1;
const SIDES: usize = 2;
/// A shape in the slot of a relation: value, count and control byte, at the mean load of a hash table.
const RELATION: usize = (16 + 8 + 1) * 8 / 5;
/// A shape in the slot of a key: one of about four values of 16 bytes in a vector with capacity eight.
const KEY: usize = 24;
const ARC_COUNTERS: usize = 2 * size_of::<usize>();

impl MemoryCount {
    pub(crate) fn new(in_memory: bool) -> Self {
        Self { in_memory, ..Self::default() }
    }

    /// Counts these entries, without an atomic operation for each.
    pub(crate) fn of_entries(in_memory: bool, entries: &[Arc<Entry>]) -> Self {
        let bytes = entries.iter().map(|entry| entry.memory() + ARC_COUNTERS).sum();
        let relations = entries.iter().map(|entry| entry.relations().len()).sum();
        Self {
            shapes: AtomicUsize::new(entries.len()),
            entries: AtomicUsize::new(bytes),
            relations: AtomicUsize::new(relations),
            ..Self::new(in_memory)
        }
    }

    pub(crate) fn add(&self, entry: &Entry) {
        self.shapes.fetch_add(1, Ordering::Relaxed);
        self.entries.fetch_add(entry.memory() + ARC_COUNTERS, Ordering::Relaxed);
        self.relations.fetch_add(entry.relations().len(), Ordering::Relaxed);
    }

    pub(crate) fn remove(&self, entry: &Entry) {
        self.shapes.fetch_sub(1, Ordering::Relaxed);
        self.entries.fetch_sub(entry.memory() + ARC_COUNTERS, Ordering::Relaxed);
        self.relations.fetch_sub(entry.relations().len(), Ordering::Relaxed);
    }

    /// Records the number of slots that the table has or has capacity for. The table never shrinks, so the
    /// maximum counts.
    pub(crate) fn record_slots(&self, slots: usize) {
        self.max_slots.fetch_max(slots, Ordering::Relaxed);
    }

    /// Returns the estimate, without definitions.
    pub(crate) fn memory(&self) -> CacheMemory {
        let shapes = self.shapes.load(Ordering::Relaxed);
        let slots = buckets(self.max_slots.load(Ordering::Relaxed));
        let lookups = self.relations.load(Ordering::Relaxed) * RELATION + shapes * KEY;
        CacheMemory {
            entries: self.entries.load(Ordering::Relaxed),
            table: SIDES * (slots * SLOT + if self.in_memory { lookups } else { 0 }),
            entry_list: shapes * size_of::<usize>(),
            definitions: 0,
        }
    }
}
