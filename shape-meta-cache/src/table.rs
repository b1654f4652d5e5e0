//! The table that readers see: the one file that names evmap, and that holds the `unsafe` of this crate.

#![allow(unsafe_code, reason = "evmap cannot know that the keys, values and hasher are deterministic")]

use std::{
    hash::{BuildHasher, Hash, Hasher},
    sync::Arc,
};

use evmap::{
    handles::{ReadHandle, WriteHandle},
    refs::MapReadRef,
};
use shape_meta_core::{Counts, Entry, Key, Relation, Seq};

use crate::{
    fold::Fold,
    slots::{Grouping, Slot, Slots, buckets},
};

/// An entry in one of its slots.
struct Value {
    check: u32,
    entry: Arc<Entry>,
}

impl Value {
    fn new(slot: Slot, entry: &Arc<Entry>) -> Self {
        Self { check: slot.check, entry: Arc::clone(entry) }
    }
}

impl PartialEq for Value {
    // An entry is told by its `created`, its id for life: whoever removes a shape may hold another copy.
    fn eq(&self, other: &Self) -> bool {
        self.check == other.check && self.entry.created() == other.entry.created()
    }
}

impl Eq for Value {}

impl Hash for Value {
    // The check alone: a slot that grows hashes all its values again, and should not have to visit them.
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u32(self.check);
    }
}

/// What is published together with the table.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Totals {
    pub(crate) counts: Counts,
    pub(crate) last_seq: Seq,
    pub(crate) grouping: Grouping,
}

/// The writer's end. Changes gather until they are published.
pub(crate) struct Table(WriteHandle<u64, Value, Totals, Fold>);

/// Entries with their slots, in the order in which they will lie in a table.
pub(crate) struct InOrder(Vec<(u64, Value)>);

impl InOrder {
    /// In a table of so many slots. Walking through memory instead of jumping about in it takes half the time at a
    /// million, and the order can be made while others still have the table. Should the table place them
    /// otherwise one day, it is only slower.
    pub(crate) fn new(slots: usize, values: impl Iterator<Item = (Slot, Arc<Entry>)>) -> Self {
        let mask = buckets(slots) as u64 - 1;
        let order = |place: u64| Fold.hash_one(place) & mask;
        let mut values: Vec<_> =
            values.map(|(slot, entry)| (slot.place, Value { check: slot.check, entry })).collect();
        values.sort_unstable_by_key(|(place, _)| order(*place));
        Self(values)
    }
}

/// A reader's end, for one thread at a time.
pub(crate) struct Reader(ReadHandle<u64, Value, Totals, Fold>);

/// The table at one moment. As long as it lives, the publish after the next one waits; so it is never
/// kept across a lock, I/O, an await or code of a caller (I5).
pub(crate) struct View<'a>(MapReadRef<'a, u64, Value, Totals, Fold>);

impl Table {
    /// A table with room for so many slots. Nothing is seen of it before the first publish.
    pub(crate) fn new(totals: Totals, slots: usize) -> (Self, Reader) {
        let options = evmap::Options::default().with_meta(totals).with_capacity(slots);
        // SAFETY: `with_hasher` wants a hasher whose clones hash alike. `Fold` has no state at all, and
        // `Folded` always begins with zero.
        let options = unsafe { options.with_hasher(Fold) };
        // SAFETY: `assert_stable` wants `Hash` and `Eq` of keys and values to give the same answer
        // whenever they are asked. Keys are `u64`. A value is hashed by its check and compared by its
        // check and its entry's `created`: an integer of its own, and an integer that `Entry` keeps
        // private, has no interior mutability for, and changes through `&mut` alone: so not while it is
        // shared, and what is in the table is only reached through shared pointers. What does change in an entry
        // (state, last read) is not looked at. Equal values have equal checks, and so equal hashes.
        let (table, reader) = unsafe { options.assert_stable() };
        (Self(table), Reader(reader))
    }

    /// Puts the entry into the slot. Must not stand there yet.
    pub(crate) fn insert(&mut self, slot: Slot, entry: &Arc<Entry>) {
        self.0.insert(slot.place, Value::new(slot, entry));
    }

    /// Inserts many. None of them may stand there yet.
    pub(crate) fn insert_all(&mut self, values: InOrder) {
        self.0.extend(values.0);
    }

    /// Takes the entry out of the slot. The slot stays, though it may be empty.
    pub(crate) fn remove(&mut self, slot: Slot, entry: &Arc<Entry>) {
        self.0.remove_value(slot.place, Value::new(slot, entry));
    }

    /// Takes the slot away with all that is in it.
    pub(crate) fn drop_slot(&mut self, place: u64) {
        self.0.remove_entry(place);
    }

    /// Takes everything away.
    pub(crate) fn clear(&mut self) {
        self.0.purge();
    }

    pub(crate) fn set_totals(&mut self, totals: Totals) {
        self.0.set_meta(totals);
    }

    /// Shows all changes to the readers, in one step. Waits for those that still read what was published
    /// before the last time.
    pub(crate) fn publish(&mut self) {
        self.0.publish();
    }

    /// Whether the slot is there, as published, and holds nothing.
    pub(crate) fn is_empty_slot(&self, place: u64) -> bool {
        self.0.get(&place).is_some_and(|values| values.is_empty())
    }

    /// The number of slots, as published.
    pub(crate) fn slots(&self) -> usize {
        self.0.len()
    }
}

impl Reader {
    /// Reads from the table as it is at this moment; keep `read` short (I5). Nothing is there once the
    /// table is dropped, which a cache that can still be asked never does.
    pub(crate) fn read<T: Default>(&self, read: impl FnOnce(&View<'_>) -> T) -> T {
        self.0.enter().map_or_else(T::default, |guard| read(&View(guard)))
    }

    /// One more end. Blocks while the table is being published.
    pub(crate) fn another(&self) -> Self {
        Self(self.0.clone())
    }
}

impl View<'_> {
    pub(crate) fn totals(&self) -> Totals {
        *self.0.meta()
    }

    pub(crate) fn by_handle(&self, slots: &Slots, handle: &str) -> Option<&Arc<Entry>> {
        self.find(slots.handle(handle), |entry| *entry.handle() == *handle)
    }

    pub(crate) fn by_key(&self, slots: &Slots, key: &Key) -> Option<&Arc<Entry>> {
        self.find(slots.key(key, self.0.meta().grouping), |entry| entry.key() == key)
    }

    /// The entries that read the relation, each once.
    pub(crate) fn reading(&self, relation: Relation) -> impl Iterator<Item = &Arc<Entry>> {
        let values = self.0.get(&Slots::relation(relation));
        values.into_iter().flat_map(|values| values.iter()).map(|value| &value.entry)
    }

    /// How many they are.
    pub(crate) fn number_reading(&self, relation: Relation) -> usize {
        self.0.get(&Slots::relation(relation)).map_or(0, |values| values.len())
    }

    fn find(&self, slot: Slot, is: impl Fn(&Entry) -> bool) -> Option<&Arc<Entry>> {
        let values = self.0.get(&slot.place)?;
        values.iter().find(|value| value.check == slot.check && is(&value.entry)).map(|value| &value.entry)
    }
}
