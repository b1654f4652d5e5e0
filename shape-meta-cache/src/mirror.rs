use std::sync::Arc;

use shape_meta_core::{Counts, Delta, Entry, HandleSet, LeastRecentlyUsed, Seq};

use crate::{
    LookupIndex,
    definitions::Definitions,
    memory::Tally,
    readers::Readers,
    roster::Roster,
    slots::{Gathering, Grouping, Slot, Slots},
    stalest::Stalest,
    table::View,
};

/// What readers share: the table's ends, the roster, and how things are found in them.
pub(crate) struct Mirror {
    pub(crate) slots: Slots,
    pub(crate) readers: Readers,
    pub(crate) roster: Roster,
    pub(crate) tally: Tally,
    pub(crate) definitions: Definitions,
    pub(crate) lookup_index: LookupIndex,
    pub(crate) gathering: Gathering,
}

impl Mirror {
    /// Reads from the table as it is at this moment; keep `read` short (I5).
    pub(crate) fn read<T: Default>(&self, read: impl FnOnce(&View<'_>) -> T) -> T {
        self.readers.get().read(read)
    }

    /// The entry of a live shape.
    pub(crate) fn entry(&self, handle: &str) -> Option<Arc<Entry>> {
        self.read(|view| view.by_handle(&self.slots, handle).cloned())
    }

    /// Whether this very shape is live, and not only one of the same handle.
    pub(crate) fn is_live(&self, entry: &Entry) -> bool {
        self.read(|view| {
            view.by_handle(&self.slots, entry.handle()).is_some_and(|live| live.created() == entry.created())
        })
    }

    /// All slots of the table in which the entry stands.
    pub(crate) fn slots_of(&self, entry: &Entry, grouping: Grouping) -> impl Iterator<Item = Slot> {
        [self.slots.handle(entry.handle())].into_iter().chain(self.lookup_slots_of(entry, grouping))
    }

    /// Those of them that serve look-ups by key and by relation.
    pub(crate) fn lookup_slots_of(&self, entry: &Entry, grouping: Grouping) -> impl Iterator<Item = Slot> {
        let in_memory = self.lookup_index == LookupIndex::Memory;
        let key = in_memory.then(|| self.slots.key(entry.key(), grouping));
        let relations = if in_memory { entry.relations() } else { &[] };
        key.into_iter().chain(relations.iter().map(|relation| Slots::reader(*relation, entry)))
    }

    /// While a batch is being published, the roster has entries that are not to be seen yet, or no more.
    /// Those are passed over, and others selected in their place.
    pub(crate) fn least_recently_used(&self, wanted: usize, excluded: &HandleSet) -> LeastRecentlyUsed {
        let mut passed_over = foldhash::HashSet::default();
        loop {
            let edition = self.roster.edition();
            let selected = Stalest::select(&self.roster, wanted, excluded, &passed_over);
            let before = passed_over.len();
            // If the roster was that of the mirror all the time, there is no need to look each one up.
            if edition.is_none() || edition != self.roster.edition() {
                let hidden = selected.iter().filter(|candidate| !self.is_live(&candidate.entry));
                passed_over.extend(hidden.map(|candidate| candidate.entry.created()));
            }
            if passed_over.len() == before {
                let shapes = selected.into_iter();
                let shapes = shapes.map(|candidate| (candidate.entry.handle().clone(), candidate.at));
                return LeastRecentlyUsed { shapes: shapes.collect() };
            }
        }
    }

    /// Takes out of the delta what is so here already: what is left is what will be done.
    pub(crate) fn leave_what_is_so(&self, delta: &mut Delta) {
        let oldest = self.roster.chunks().first().and_then(|chunk| Some(chunk.entries().first()?.created()));
        let reset = delta.reset.filter(|reset| oldest.is_some_and(|oldest| oldest <= *reset));
        delta.reset = reset;
        let live =
            |created: Seq| self.roster.get(created).filter(|_| reset.is_none_or(|last| created > last));
        delta.removed.retain(|created| live(*created).is_some());
        delta.marked.retain(|(created, state)| live(*created).is_some_and(|entry| entry.state() < *state));
        delta.added.retain(|entry| live(entry.created()).is_none());
    }

    /// How many shapes there will be when such a delta has been applied.
    pub(crate) fn counts_after(&self, mut counts: Counts, delta: &Delta) -> Counts {
        if let Some(last) = delta.reset {
            for chunk in self.roster.chunks() {
                let entries = chunk.entries();
                let leaving = entries.iter().take_while(|entry| entry.created() <= last);
                leaving.for_each(|entry| counts.remove(entry.is_indexed()));
            }
        }
        for entry in delta.removed.iter().filter_map(|created| self.roster.get(*created)) {
            counts.remove(entry.is_indexed());
        }
        delta.added.iter().for_each(|entry| counts.add(entry.is_indexed()));
        counts
    }
}
