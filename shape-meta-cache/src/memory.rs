use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use shape_meta_core::Entry;

use crate::slots::buckets;

/// About how many bytes a cache holds; see [`Cached::memory`](crate::Cached::memory).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct CacheMemory {
    /// The entries themselves: handle, key, hash, state, times, relations.
    pub entries: usize,
    /// Both sides of the table: the slots of handles, keys and relations, and what does not fit into them.
    pub table: usize,
    /// The list of all entries from which those not read for longest are selected.
    pub roster: usize,
    /// Definitions that were read and are kept, if that was asked for.
    pub definitions: usize,
}

impl CacheMemory {
    /// All of it.
    pub fn total(&self) -> usize {
        self.entries + self.table + self.roster + self.definitions
    }
}

/// Keeps count of what takes memory; written by the writer, read by anyone. It is an estimate: the parts
/// are not read in one step, and the table does not tell its capacity.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    shapes: AtomicUsize,
    entries: AtomicUsize,
    relations: AtomicUsize,
    most_slots: AtomicUsize,
    in_memory: bool,
}

/// Key, values and control byte of a slot of the table.
const SLOT: usize = 8 + 40 + 1;
const SIDES: usize = 2;
/// Value, count and control byte, at the mean load of a hash table.
const READER: usize = (16 + 8 + 1) * 8 / 5;
/// One of about four values of 16 bytes in a vector with room for eight.
const KEY: usize = 24;
const COUNTS_OF_ARC: usize = 2 * size_of::<usize>();

impl Tally {
    pub(crate) fn new(in_memory: bool) -> Self {
        Self { in_memory, ..Self::default() }
    }

    /// Of these entries, counted without a step of an atomic for each.
    pub(crate) fn of(in_memory: bool, entries: &[Arc<Entry>]) -> Self {
        let bytes = entries.iter().map(|entry| entry.memory() + COUNTS_OF_ARC).sum();
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
        self.entries.fetch_add(entry.memory() + COUNTS_OF_ARC, Ordering::Relaxed);
        self.relations.fetch_add(entry.relations().len(), Ordering::Relaxed);
    }

    pub(crate) fn remove(&self, entry: &Entry) {
        self.shapes.fetch_sub(1, Ordering::Relaxed);
        self.entries.fetch_sub(entry.memory() + COUNTS_OF_ARC, Ordering::Relaxed);
        self.relations.fetch_sub(entry.relations().len(), Ordering::Relaxed);
    }

    /// The table has so many slots in use, or room for so many. It never shrinks.
    pub(crate) fn slots(&self, slots: usize) {
        self.most_slots.fetch_max(slots, Ordering::Relaxed);
    }

    pub(crate) fn memory(&self) -> CacheMemory {
        let shapes = self.shapes.load(Ordering::Relaxed);
        let slots = buckets(self.most_slots.load(Ordering::Relaxed));
        let readers = self.relations.load(Ordering::Relaxed) * READER + shapes * KEY;
        CacheMemory {
            entries: self.entries.load(Ordering::Relaxed),
            table: SIDES * (slots * SLOT + if self.in_memory { readers } else { 0 }),
            roster: shapes * size_of::<usize>(),
            definitions: 0,
        }
    }
}
