#[cfg(feature = "definitions")]
mod definitions;
mod entry_list;
mod least_recently_used;
#[cfg(not(feature = "definitions"))]
mod no_definitions;
mod thread_readers;

use std::sync::Arc;

use shape_meta_core::{Counts, Delta, Entry, HandleSet, LeastRecentlyUsed, Seq};

#[cfg(feature = "definitions")]
pub(crate) use self::definitions::Definitions;
use self::least_recently_used::{Candidate, LruSelection};
#[cfg(not(feature = "definitions"))]
pub(crate) use self::no_definitions::Definitions;
pub(crate) use self::{entry_list::EntryList, thread_readers::ThreadReaders};
use crate::{
    LookupIndex,
    memory::MemoryCount,
    table::{GroupingPolicy, Groupings, Slot, Slots, View},
};

/// The selections of least recently used shapes with a limit, before the last one without.
const LIMITED_SELECTIONS: usize = 2;

/// The part of the cache that readers use: the read handles of the table, the entry list, and the functions
/// that map shapes to slots.
pub(crate) struct Mirror {
    pub(crate) slots: Slots,
    pub(crate) readers: ThreadReaders,
    pub(crate) entry_list: EntryList,
    pub(crate) memory_count: MemoryCount,
    pub(crate) definitions: Definitions,
    pub(crate) lookup_index: LookupIndex,
    pub(crate) grouping_policy: GroupingPolicy,
}

impl Mirror {
    /// Reads from the table as it is now. Keep `read` short (I5): it delays the writer.
    pub(crate) fn read<T: Default>(&self, read: impl FnOnce(&View<'_>) -> T) -> T {
        self.readers.with(|reader| reader.read(read))
    }

    /// Returns the entry of a live shape.
    pub(crate) fn entry(&self, handle: &str) -> Option<Arc<Entry>> {
        self.read(|view| view.by_handle(&self.slots, handle).cloned())
    }

    /// Returns whether this shape is live. Another live shape with the same handle does not count.
    pub(crate) fn is_live(&self, entry: &Entry) -> bool {
        self.read(|view| {
            view.by_handle(&self.slots, entry.handle()).is_some_and(|live| live.created() == entry.created())
        })
    }

    /// Returns all slots of the table that hold the entry.
    pub(crate) fn slots_of(&self, entry: &Entry, groupings: Groupings) -> impl Iterator<Item = Slot> {
        [self.slots.handle(entry.handle())].into_iter().chain(self.lookup_slots_of(entry, groupings))
    }

    /// Returns the slots of the entry that serve look-ups by key and by relation; none with
    /// [`LookupIndex::Disk`].
    pub(crate) fn lookup_slots_of(&self, entry: &Entry, groupings: Groupings) -> impl Iterator<Item = Slot> {
        let in_memory = self.lookup_index == LookupIndex::Memory;
        let key = in_memory.then(|| self.slots.key(entry.key(), groupings.of(entry.created())));
        let relations = if in_memory { entry.relations() } else { &[] };
        key.into_iter().chain(relations.iter().map(|relation| Slots::relation(*relation, entry)))
    }

    /// Returns up to `wanted` live shapes whose last read is longest ago.
    ///
    /// While a batch is being published, the entry list holds entries that are not visible yet, or no longer.
    /// These are skipped and the selection is repeated without them; the last time without a limit, so that
    /// it ends however many batches are published meanwhile (I9).
    pub(crate) fn least_recently_used(&self, wanted: usize, excluded: &HandleSet) -> LeastRecentlyUsed {
        self.least_recently_used_of(wanted, excluded, |entry| self.is_live(entry))
    }

    /// The same among the entries that `is_live` accepts.
    pub(crate) fn least_recently_used_of(
        &self,
        wanted: usize,
        excluded: &HandleSet,
        is_live: impl Fn(&Entry) -> bool,
    ) -> LeastRecentlyUsed {
        let mut hidden = foldhash::HashSet::default();
        for _ in 0..LIMITED_SELECTIONS {
            let version = self.entry_list.version();
            let selected = LruSelection::select(&self.entry_list, wanted, excluded, &hidden);
            let before = hidden.len();
            // If the list matched the table all the time, no entry has to be looked up in the table.
            if version.is_none() || version != self.entry_list.version() {
                let not_live = selected.iter().filter(|candidate| !is_live(&candidate.entry));
                hidden.extend(not_live.map(|candidate| candidate.entry.created()));
            }
            if hidden.len() == before {
                return least_recently_used(selected.into_iter());
            }
        }
        let all = LruSelection::select(&self.entry_list, usize::MAX, excluded, &hidden);
        let live = all.into_iter().filter(|candidate| is_live(&candidate.entry));
        least_recently_used(live.take(wanted))
    }

    /// Drops from the delta the changes that the mirror shows already.
    pub(crate) fn retain_unapplied(&self, delta: &mut Delta) {
        let oldest =
            self.entry_list.chunks().first().and_then(|chunk| Some(chunk.entries().first()?.created()));
        let reset = delta.reset.filter(|reset| oldest.is_some_and(|oldest| oldest <= *reset));
        delta.reset = reset;
        let live =
            |created: Seq| self.entry_list.get(created).filter(|_| reset.is_none_or(|last| created > last));
        delta.removed.retain(|created| live(*created).is_some());
        delta.marked.retain(|(created, state)| live(*created).is_some_and(|entry| entry.state() < *state));
        delta.added.retain(|entry| live(entry.created()).is_none());
    }

    /// Returns the counts of shapes after this delta.
    pub(crate) fn counts_after(&self, mut counts: Counts, delta: &Delta) -> Counts {
        if let Some(last) = delta.reset {
            for chunk in self.entry_list.chunks() {
                let entries = chunk.entries();
                let reset = entries.iter().take_while(|entry| entry.created() <= last);
                reset.for_each(|entry| counts.remove(entry.is_indexed()));
            }
        }
        for entry in delta.removed.iter().filter_map(|created| self.entry_list.get(*created)) {
            counts.remove(entry.is_indexed());
        }
        delta.added.iter().for_each(|entry| counts.add(entry.is_indexed()));
        counts
    }
}

fn least_recently_used(selected: impl Iterator<Item = Candidate>) -> LeastRecentlyUsed {
    let shapes = selected.map(|candidate| (candidate.entry.handle().clone(), candidate.last_read));
    LeastRecentlyUsed { shapes: shapes.collect() }
}
