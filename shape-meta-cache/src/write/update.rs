use std::{sync::Arc, time::Instant};

use shape_meta_core::{Batch, Change, Counts, Entry, PublishStats, Seq, SnapshotState};

use super::writer::{Cleanup, Writer};
use crate::{
    LookupIndex,
    mirror::Mirror,
    table::{Slot, SortedValues},
};

/// The number of keys that move with each change of a batch, after the grouping has changed.
const MOVES_PER_CHANGE: usize = 2;
/// The number of keys that at least move with a batch: a tenth of a millisecond. In tests fewer, so that
/// small caches are between two groupings for several batches.
const MIN_MOVES: usize = if cfg!(test) { 1 } else { 64 };
/// The number of keys that at most move with a batch, unless it has more changes: some 30 milliseconds.
const MAX_MOVES: usize = 25_000;

/// Changes to the mirror that are not published yet. They are published in one step, or not at all.
pub(crate) struct MirrorUpdate<'a> {
    mirror: &'a Mirror,
    writer: &'a mut Writer,
    /// Values that are not in the table yet. They are inserted together, sorted by their position.
    inserts: Vec<(Slot, Arc<Entry>)>,
    /// The lowest `created` among `inserts`.
    earliest_insert: Option<Seq>,
    /// Entries that are removed, but still in the entry list until the publish: they are visible until then.
    removed: foldhash::HashSet<Seq>,
    /// Entries that replace the one with the same `created` in the entry list after the publish.
    replacements: Vec<Arc<Entry>>,
    /// The ids of the slots from which a value was removed.
    vacated: Vec<u64>,
    changes: usize,
}

impl<'a> MirrorUpdate<'a> {
    pub(crate) fn new(mirror: &'a Mirror, writer: &'a mut Writer) -> Self {
        mirror.entry_list.begin_change();
        let removed = foldhash::HashSet::default();
        Self {
            mirror,
            writer,
            inserts: Vec::new(),
            earliest_insert: None,
            removed,
            replacements: Vec::new(),
            vacated: Vec::new(),
            changes: 0,
        }
    }

    /// Adds the changes of a batch, which must be committed (I2).
    pub(crate) fn apply(&mut self, batch: &Batch) {
        for change in &batch.changes {
            match change {
                Change::Add { record, state } => {
                    record.entry.advance(*state);
                    self.add(&record.entry);
                }
                Change::Remove { entry } => self.remove(entry.created()),
                Change::Mark { entry, state } => self.mark(entry.created(), *state),
                Change::Discard { .. } => {}
                Change::Reset => self.reset(),
            }
        }
    }

    pub(crate) fn add(&mut self, entry: &Arc<Entry>) {
        if self.live_entry(entry.created()).is_some() {
            return;
        }
        if !self.removed.remove(&entry.created()) {
            self.mirror.entry_list.insert(Arc::clone(entry));
        }
        self.queue_insert(entry);
    }

    fn queue_insert(&mut self, entry: &Arc<Entry>) {
        let created = entry.created();
        self.earliest_insert = Some(self.earliest_insert.map_or(created, |earliest| earliest.min(created)));
        let slots = self.mirror.slots_of(entry, self.writer.totals.groupings);
        self.inserts.extend(slots.map(|slot| (slot, Arc::clone(entry))));
        self.writer.totals.counts.add(entry.is_indexed());
        self.mirror.memory_count.add(entry);
        self.changes += 1;
    }

    /// Replaces the live entry with the same `created`, which is another shape: one of another database.
    pub(crate) fn replace(&mut self, entry: &Arc<Entry>) {
        self.remove(entry.created());
        self.removed.remove(&entry.created());
        self.replacements.push(Arc::clone(entry));
        self.queue_insert(entry);
    }

    pub(crate) fn remove(&mut self, created: Seq) {
        let Some(entry) = self.live_entry(created) else { return };
        if self.earliest_insert.is_some_and(|earliest| earliest <= created) {
            self.apply_inserts();
        }
        for slot in self.mirror.slots_of(&entry, self.writer.totals.groupings) {
            self.writer.table.remove(slot, &entry);
            self.vacated.push(slot.id);
        }
        self.removed.insert(created);
        self.writer.totals.counts.remove(entry.is_indexed());
        self.mirror.memory_count.remove(&entry);
        self.changes += 1;
    }

    /// Advances the snapshot state of a shape. Readers see it before the publish: the state is an atomic in
    /// the shared entry, and only moves forward.
    pub(crate) fn mark(&mut self, created: Seq, state: SnapshotState) {
        if let Some(entry) = self.live_entry(created) {
            entry.advance(state);
            self.changes += 1;
        }
    }

    /// Removes all shapes created at or before `last`. Returns their number.
    pub(crate) fn reset_up_to(&mut self, last: Seq) -> usize {
        let before = self.writer.totals.counts.total;
        let mut reset = Vec::new();
        let mut any_later = false;
        for chunk in self.mirror.entry_list.chunks() {
            let entries = chunk.entries();
            reset.extend(entries.iter().map(|entry| entry.created()).take_while(|created| *created <= last));
            any_later |= entries.last().is_some_and(|entry| entry.created() > last);
        }
        match any_later {
            false => self.reset(),
            true => reset.into_iter().for_each(|created| self.remove(created)),
        }
        (before - self.writer.totals.counts.total) as usize
    }

    fn reset(&mut self) {
        for chunk in self.mirror.entry_list.chunks() {
            for entry in chunk.entries().iter() {
                if self.removed.insert(entry.created()) {
                    self.mirror.memory_count.remove(entry);
                }
            }
        }
        self.inserts.clear();
        self.earliest_insert = None;
        self.writer.table.clear();
        self.writer.totals.counts = Counts::default();
        self.changes += 1;
    }

    fn apply_inserts(&mut self) {
        let slots = self.writer.table.slots() + self.inserts.len();
        self.writer.table.insert_all(SortedValues::new(slots, self.inserts.drain(..)));
        self.earliest_insert = None;
    }

    fn live_entry(&self, created: Seq) -> Option<Arc<Entry>> {
        self.mirror.entry_list.get(created).filter(|_| !self.removed.contains(&created))
    }

    /// Shows all changes to the readers, in one step. Waits for readers that are inside the table.
    /// The caller reports it to the observer, once reads do not wait for it any more.
    pub(crate) fn publish(mut self, last_seq: Seq) -> Cleanup {
        self.apply_inserts();
        self.regroup();
        self.writer.totals.last_seq = last_seq;
        self.writer.table.set_totals(self.writer.totals);
        let started_at = Instant::now();
        self.writer.table.publish();
        let published = PublishStats { changes: self.changes, took: started_at.elapsed() };
        self.writer.unsynced_changes = self.changes;

        let mut removed: Vec<_> = self.removed.into_iter().collect();
        removed.sort_unstable();
        self.mirror.entry_list.remove(&removed);
        self.mirror.definitions.remove(&removed);
        self.replacements.into_iter().for_each(|entry| self.mirror.entry_list.replace(entry));
        self.mirror.entry_list.end_change();
        self.mirror.memory_count.record_slots(self.writer.table.slots());
        Cleanup { removed: removed.len(), vacated: self.vacated, published }
    }

    /// Changes the grouping of keys if the number of shapes requires it, from one slot for each key to shared
    /// slots, or to more shared slots, and moves the keys of some shapes.
    ///
    /// The number of shapes at least doubles between two changes of the grouping, so the amortized cost of an
    /// add stays constant.
    fn regroup(&mut self) {
        if self.mirror.lookup_index == LookupIndex::Disk {
            return;
        }
        let (mirror, totals) = (self.mirror, &mut self.writer.totals);
        if totals.groupings.earlier().is_none() {
            let better = mirror.grouping_policy.better(totals.groupings.current(), totals.counts.total);
            if let Some((better, newest)) = better.zip(mirror.entry_list.newest()) {
                totals.groupings.change(better, newest);
            }
        }
        let (current, Some((earlier, newest))) = (totals.groupings.current(), totals.groupings.earlier())
        else {
            return;
        };
        let replacements: foldhash::HashMap<_, _> =
            self.replacements.iter().map(|entry| (entry.created(), entry)).collect();
        let (table, slots) = (&mut self.writer.table, &mirror.slots);
        let mut left = (MOVES_PER_CHANGE * self.changes).clamp(MIN_MOVES, MAX_MOVES.max(self.changes));
        for chunk in mirror.entry_list.chunks_up_to(newest).iter().rev() {
            let entries = chunk.entries();
            let unmoved = entries.partition_point(|entry| entry.created() <= newest);
            for entry in entries[..unmoved].iter().rev() {
                if left == 0 {
                    return self.writer.totals.groupings.moved(Some(entry.created()));
                }
                left -= 1;
                if !self.removed.contains(&entry.created()) {
                    let entry = replacements.get(&entry.created()).copied().unwrap_or(entry);
                    let slot = slots.key(entry.key(), earlier);
                    table.remove(slot, entry);
                    self.vacated.push(slot.id);
                    table.insert(slots.key(entry.key(), current), entry);
                }
            }
        }
        self.writer.totals.groupings.moved(None);
    }
}
