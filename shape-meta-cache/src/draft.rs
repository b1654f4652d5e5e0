use std::{sync::Arc, time::Instant};

use shape_meta_core::{Batch, Change, Counts, Entry, Observer, PublishStats, Seq, SnapshotState};

use crate::{
    LookupIndex,
    mirror::Mirror,
    slots::{Grouping, Slot},
    table::{InOrder, Table, Totals},
};

/// What only the writer has.
pub(crate) struct Writer {
    pub(crate) table: Table,
    pub(crate) totals: Totals,
    /// Whether the store below may have committed something that is not in the mirror: set before each
    /// apply, and cleared as soon as its outcome is known.
    pub(crate) unsure: bool,
    /// What that would be, in the entries that the layer above has of it: reads of them are noted there.
    pub(crate) adding: Vec<Arc<Entry>>,
    /// Whether the store below was replaced by a repaired one, and the mirror has not been read from that yet.
    pub(crate) outdated: bool,
    /// How many changes the side of the table lacks that readers do not see.
    pub(crate) behind: usize,
}

/// Changes to the mirror that nobody sees yet. Published in one step, or not at all.
pub(crate) struct Draft<'a> {
    mirror: &'a Mirror,
    writer: &'a mut Writer,
    /// Put into the table all together: see [`Table::insert_all`].
    coming: Vec<(Slot, Arc<Entry>)>,
    earliest_coming: Option<Seq>,
    /// On the roster and not live any more; a walk may be under way, so they are struck at the end.
    gone: foldhash::HashSet<Seq>,
    /// Entries that take the place of another one with the same id, once that is not seen any more.
    replacing: Vec<Arc<Entry>>,
    /// Places from which something was taken.
    left: Vec<u64>,
    changes: usize,
}

/// What is still to be done when a draft has been published.
#[must_use = "what was removed is kept in memory until it is swept"]
pub(crate) struct Litter {
    removed: usize,
    left: Vec<u64>,
}

impl<'a> Draft<'a> {
    pub(crate) fn new(mirror: &'a Mirror, writer: &'a mut Writer) -> Self {
        mirror.roster.begin_change();
        let gone = foldhash::HashSet::default();
        Self {
            mirror,
            writer,
            coming: Vec::new(),
            earliest_coming: None,
            gone,
            replacing: Vec::new(),
            left: Vec::new(),
            changes: 0,
        }
    }

    /// The batch, which must be committed (I2).
    pub(crate) fn apply(&mut self, batch: &Batch) {
        for change in &batch.changes {
            match change {
                Change::Add { record, state } => {
                    record.entry.advance(*state);
                    self.add(&record.entry);
                }
                Change::Remove { entry } => self.remove(entry.created()),
                Change::Mark { entry, state } => self.mark(entry.created(), *state),
                Change::Reset => self.reset(),
            }
        }
    }

    pub(crate) fn add(&mut self, entry: &Arc<Entry>) {
        if self.live(entry.created()).is_some() {
            return;
        }
        if !self.gone.remove(&entry.created()) {
            self.mirror.roster.enter(Arc::clone(entry));
        }
        self.come(entry);
    }

    fn come(&mut self, entry: &Arc<Entry>) {
        let created = entry.created();
        self.earliest_coming = Some(self.earliest_coming.map_or(created, |earliest| earliest.min(created)));
        let slots = self.mirror.slots_of(entry, self.writer.totals.grouping);
        self.coming.extend(slots.map(|slot| (slot, Arc::clone(entry))));
        self.writer.totals.counts.add(entry.is_indexed());
        self.mirror.tally.add(entry);
        self.changes += 1;
    }

    /// Puts the entry in the place of the live one with the same id, which is another shape: one of another
    /// database.
    pub(crate) fn replace(&mut self, entry: &Arc<Entry>) {
        self.remove(entry.created());
        self.gone.remove(&entry.created());
        self.replacing.push(Arc::clone(entry));
        self.come(entry);
    }

    pub(crate) fn remove(&mut self, created: Seq) {
        let Some(entry) = self.live(created) else { return };
        if self.earliest_coming.is_some_and(|earliest| earliest <= created) {
            self.arrive();
        }
        for slot in self.mirror.slots_of(&entry, self.writer.totals.grouping) {
            self.writer.table.remove(slot, &entry);
            self.left.push(slot.place);
        }
        self.gone.insert(created);
        self.writer.totals.counts.remove(entry.is_indexed());
        self.mirror.tally.remove(&entry);
        self.changes += 1;
    }

    /// A state is not part of what is published: it is an atomic in the entry, and goes forward only.
    pub(crate) fn mark(&mut self, created: Seq, state: SnapshotState) {
        if let Some(entry) = self.live(created) {
            entry.advance(state);
            self.changes += 1;
        }
    }

    /// Removes all shapes whose place is not after this one, and says how many they were.
    pub(crate) fn reset_up_to(&mut self, last: Seq) -> usize {
        let before = self.writer.totals.counts.total;
        let mut leaving = Vec::new();
        let mut stays = false;
        for chunk in self.mirror.roster.chunks() {
            let entries = chunk.entries();
            leaving.extend(entries.iter().map(|entry| entry.created()).take_while(|one| *one <= last));
            stays |= entries.last().is_some_and(|entry| entry.created() > last);
        }
        match stays {
            false => self.reset(),
            true => leaving.into_iter().for_each(|created| self.remove(created)),
        }
        (before - self.writer.totals.counts.total) as usize
    }

    fn reset(&mut self) {
        for chunk in self.mirror.roster.chunks() {
            for entry in chunk.entries().iter() {
                if self.gone.insert(entry.created()) {
                    self.mirror.tally.remove(entry);
                }
            }
        }
        self.coming.clear();
        self.earliest_coming = None;
        self.writer.table.clear();
        self.writer.totals.counts = Counts::default();
        self.changes += 1;
    }

    fn arrive(&mut self) {
        let slots = self.writer.table.slots() + self.coming.len();
        self.writer.table.insert_all(InOrder::new(slots, self.coming.drain(..)));
        self.earliest_coming = None;
    }

    fn live(&self, created: Seq) -> Option<Arc<Entry>> {
        self.mirror.roster.get(created).filter(|_| !self.gone.contains(&created))
    }

    /// Shows the changes to all readers, in one step.
    pub(crate) fn publish(mut self, last_seq: Seq, observer: &dyn Observer) -> Litter {
        self.arrive();
        self.regroup();
        self.writer.totals.last_seq = last_seq;
        self.writer.table.set_totals(self.writer.totals);
        let begun = Instant::now();
        self.writer.table.publish();
        let published = PublishStats { changes: self.changes, took: begun.elapsed() };
        self.writer.behind = self.changes;

        let mut gone: Vec<_> = self.gone.into_iter().collect();
        gone.sort_unstable();
        self.mirror.roster.strike(&gone);
        self.mirror.definitions.forget(&gone);
        self.replacing.into_iter().for_each(|entry| self.mirror.roster.replace_one(entry));
        self.mirror.roster.end_change();
        self.mirror.tally.slots(self.writer.table.slots());
        // Last, so that its panic finds everything in order.
        observer.published(&published);
        Litter { removed: gone.len(), left: self.left }
    }

    /// Gathers the keys anew, when there are so many that they should share slots, or twice as many to a slot as
    /// there should be. It takes as long as adding all keys again; the number of shapes at least doubles in
    /// between, so it adds a constant to each add on average.
    fn regroup(&mut self) {
        let Totals { counts, grouping, .. } = self.writer.totals;
        if self.mirror.lookup_index == LookupIndex::Disk {
            return;
        }
        let Some(better) = self.mirror.gathering.better(grouping, counts.total) else { return };
        let replacing: foldhash::HashMap<_, _> =
            self.replacing.iter().map(|entry| (entry.created(), entry)).collect();
        let each_live = |each: &mut dyn FnMut(&Arc<Entry>)| {
            for chunk in self.mirror.roster.chunks() {
                for entry in chunk.entries().iter().filter(|entry| !self.gone.contains(&entry.created())) {
                    each(replacing.get(&entry.created()).copied().unwrap_or(entry));
                }
            }
        };
        let (table, slots) = (&mut self.writer.table, &self.mirror.slots);
        match grouping.groups() {
            Some(groups) => (0..groups).for_each(|group| table.drop_slot(Grouping::place(group))),
            None => each_live(&mut |entry| table.drop_slot(slots.key(entry.key(), grouping).place)),
        }
        each_live(&mut |entry| table.insert(slots.key(entry.key(), better), entry));
        self.writer.totals.grouping = better;
    }
}

impl Writer {
    /// Frees what was removed. The other side of the table keeps it until the next publish, and there may
    /// be none for long; so here is one, that shows nothing new. The slots that have become empty go with
    /// it: only now can be seen which.
    pub(crate) fn sweep(&mut self, Litter { removed, mut left }: Litter) {
        if removed == 0 {
            return;
        }
        left.sort_unstable();
        left.dedup();
        for place in left {
            if self.table.is_empty_slot(place) {
                self.table.drop_slot(place);
            }
        }
        self.catch_up();
    }

    /// The outcome of the latest apply is known.
    pub(crate) fn be_sure(&mut self) {
        self.unsure = false;
        self.adding.clear();
    }

    /// Does to the other side of the table what was last published. It would be done by the next publish,
    /// which then takes half as long. Shows nothing new.
    pub(crate) fn catch_up(&mut self) {
        self.table.publish();
        self.behind = 0;
    }
}
