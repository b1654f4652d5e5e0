//! The left-right table that readers see. The only file of this crate that names evmap and contains `unsafe`.

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

use super::{
    hasher::BuildSlotHasher,
    slots::{Groupings, Slot, Slots, buckets},
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
    // Compares `created`, the permanent id, and not the pointer: a removal may come with another copy of the
    // entry.
    fn eq(&self, other: &Self) -> bool {
        self.check == other.check && self.entry.created() == other.entry.created()
    }
}

impl Eq for Value {}

impl Hash for Value {
    // Only the check: a slot that grows rehashes all its values, and should not have to dereference them.
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u32(self.check);
    }
}

/// The data that is published together with the table.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Totals {
    pub(crate) counts: Counts,
    pub(crate) last_seq: Seq,
    pub(crate) groupings: Groupings,
}

/// The write handle of the table. Readers see no change before it is published.
pub(crate) struct Table(WriteHandle<u64, Value, Totals, BuildSlotHasher>);

/// Entries with their slots, sorted by their position in a table.
pub(crate) struct SortedValues(Vec<(u64, Value)>);

impl SortedValues {
    /// Sorts the values for a table with capacity for `slots`.
    ///
    /// Insertion in the order of memory takes half the time of insertion in random order, at a million
    /// values. The sort needs no access to the table. If the table's layout changes one day, insertion is
    /// only slower.
    pub(crate) fn new(slots: usize, values: impl Iterator<Item = (Slot, Arc<Entry>)>) -> Self {
        let mask = buckets(slots) as u64 - 1;
        let bucket = |id: u64| BuildSlotHasher.hash_one(id) & mask;
        let mut values: Vec<_> =
            values.map(|(slot, entry)| (slot.id, Value { check: slot.check, entry })).collect();
        values.sort_unstable_by_key(|(id, _)| bucket(*id));
        Self(values)
    }
}

/// A read handle of the table, for one thread at a time.
pub(crate) struct TableReader(ReadHandle<u64, Value, Totals, BuildSlotHasher>);

/// The table at one moment. While it lives, the publish after the next one waits. It is therefore never held
/// across a lock, I/O, an await or a caller's closure (I5).
pub(crate) struct View<'a>(MapReadRef<'a, u64, Value, Totals, BuildSlotHasher>);

impl Table {
    /// Creates a table with capacity for `slots`. Readers see nothing of it before the first publish.
    pub(crate) fn new(totals: Totals, slots: usize) -> (Self, TableReader) {
        let options = evmap::Options::default().with_meta(totals).with_capacity(slots);
        // SAFETY: `with_hasher` requires a hasher whose clones hash alike. `BuildSlotHasher` has no state,
        // and `SlotHasher` always starts at zero.
        let options = unsafe { options.with_hasher(BuildSlotHasher) };
        // SAFETY: `assert_stable` requires that `Hash` and `Eq` of keys and values are deterministic. Keys
        // are `u64`. A value is hashed by its check, and compared by its check and its entry's `created`. The
        // check is an integer of the value's own. `created` is a private integer of `Entry` without interior
        // mutability: it changes only through `&mut`, so not while the entry is shared, and the entries in
        // the table are reachable only through shared pointers. The fields of an entry that do change (state,
        // last read) are neither hashed nor compared. Equal values have equal checks, and therefore equal
        // hashes.
        let (table, reader) = unsafe { options.assert_stable() };
        (Self(table), TableReader(reader))
    }

    /// Adds the entry to the slot. The slot must not hold the entry yet.
    pub(crate) fn insert(&mut self, slot: Slot, entry: &Arc<Entry>) {
        self.0.insert(slot.id, Value::new(slot, entry));
    }

    /// Adds all values. The table must hold none of them yet.
    pub(crate) fn insert_all(&mut self, values: SortedValues) {
        self.0.extend(values.0);
    }

    /// Removes the entry from the slot. The slot stays, even if it is empty.
    pub(crate) fn remove(&mut self, slot: Slot, entry: &Arc<Entry>) {
        self.0.remove_value(slot.id, Value::new(slot, entry));
    }

    /// Removes the slot with this id and all its values.
    pub(crate) fn drop_slot(&mut self, id: u64) {
        self.0.remove_entry(id);
    }

    /// Removes all slots.
    pub(crate) fn clear(&mut self) {
        self.0.purge();
    }

    pub(crate) fn set_totals(&mut self, totals: Totals) {
        self.0.set_meta(totals);
    }

    /// Shows all changes to the readers, in one step. Waits for the readers that still use the side that was
    /// published before the current one.
    pub(crate) fn publish(&mut self) {
        self.0.publish();
    }

    /// Returns whether the published slot exists and is empty.
    pub(crate) fn is_empty_slot(&self, id: u64) -> bool {
        self.0.get(&id).is_some_and(|values| values.is_empty())
    }

    /// Returns the number of published slots.
    pub(crate) fn slots(&self) -> usize {
        self.0.len()
    }
}

impl TableReader {
    /// Reads from the table as it is now. Keep `read` short (I5): it delays the writer.
    ///
    /// Returns the default if the table was dropped, which does not happen while its cache exists.
    pub(crate) fn read<T: Default>(&self, read: impl FnOnce(&View<'_>) -> T) -> T {
        self.0.enter().map_or_else(T::default, |guard| read(&View(guard)))
    }

    /// Creates another read handle. Blocks while the table is being published.
    pub(crate) fn new_handle(&self) -> Self {
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
        let groupings = self.0.meta().groupings;
        let find = |grouping| self.find(slots.key(key, grouping), |entry| entry.key() == key);
        find(groupings.current()).or_else(|| find(groupings.earlier()?.0))
    }

    /// Returns the entries of the shapes that read the relation, each once.
    pub(crate) fn by_relation(&self, relation: Relation) -> impl Iterator<Item = &Arc<Entry>> {
        let values = self.0.get(&Slots::relation_id(relation));
        values.into_iter().flat_map(|values| values.iter()).map(|value| &value.entry)
    }

    /// Returns the number of shapes that read the relation.
    pub(crate) fn relation_len(&self, relation: Relation) -> usize {
        self.0.get(&Slots::relation_id(relation)).map_or(0, |values| values.len())
    }

    fn find(&self, slot: Slot, is_match: impl Fn(&Entry) -> bool) -> Option<&Arc<Entry>> {
        let values = self.0.get(&slot.id)?;
        let mut values = values.iter();
        values.find(|value| value.check == slot.check && is_match(&value.entry)).map(|value| &value.entry)
    }
}
