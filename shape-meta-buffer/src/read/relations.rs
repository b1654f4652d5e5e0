use std::collections::{HashMap, HashSet, hash_map::Entry as MapEntry};

use foldhash::fast::RandomState;
use shape_meta_core::{Entry, Handle, Relation, Result, Seq, ShapeStore};

use super::Seen;
use crate::{
    Buffered,
    memtable::{Generation, PART, ReadInParts},
};

/// What the overlay changes about the shapes that read some relations: by handle, the shape that has it now
/// and reads one of them, or `None` if no such shape has it.
///
/// Read from the newest generation to the oldest, so the first answer for a handle stands.
#[derive(Default)]
struct RelationView(HashMap<Handle, Option<Seq>, RandomState>);

impl RelationView {
    /// Reads the changes of a generation to these relations. O(relations + changes to them).
    fn read(&mut self, changes: RelationDiff) {
        // Within a generation, a shape that was added has taken the handle from the one that was removed.
        for (handle, created) in changes.added {
            self.0.entry(handle).or_insert(Some(created));
        }
        for handle in changes.removed {
            if let MapEntry::Vacant(entry) = self.0.entry(handle) {
                entry.insert(None);
            }
        }
    }

    /// Lays the changes over the handles that the store below has.
    fn over(self, mut below: Vec<Handle>) -> Vec<Handle> {
        if !self.0.is_empty() {
            below.retain(|handle| !self.0.contains_key(handle));
        }
        let mut added: Vec<_> =
            self.0.into_iter().filter_map(|(handle, created)| Some((created?, handle))).collect();
        added.sort_unstable_by_key(|(created, _)| *created);
        below.extend(added.into_iter().map(|(_, handle)| handle));
        below
    }
}

/// What the active generation changes about the shapes that read some relations.
struct ActiveRelations<'a> {
    relations: &'a [Relation],
    /// The same, to be looked up.
    wanted: HashSet<Relation, RandomState>,
    /// The relation that is read next.
    at: usize,
    /// How many of its changes are read: of the added shapes, then of the removed ones.
    read: usize,
    view: RelationView,
}

impl<'a> ActiveRelations<'a> {
    fn new(relations: &'a [Relation]) -> Self {
        let wanted = relations.iter().copied().collect();
        Self { relations, wanted, at: 0, read: 0, view: RelationView::default() }
    }
}

impl ReadInParts for ActiveRelations<'_> {
    fn clear(&mut self) {
        (self.at, self.read) = (0, 0);
        self.view.0.clear();
    }

    fn read(&mut self, active: &Generation) -> bool {
        let is_left = self.at < self.relations.len();
        let mut left = PART;
        while let Some(relation) = self.relations.get(self.at).filter(|_| left > 0) {
            let Some(changes) = active.relation(*relation) else {
                (left, self.at, self.read) = (left - 1, self.at + 1, 0);
                continue;
            };
            for (slot, created) in changes.added.iter().skip(self.read).take(left) {
                (left, self.read) = (left - 1, self.read + 1);
                if let Some(entry) = active.added(*slot, *created) {
                    self.view.0.insert(entry.handle().clone(), Some(*created));
                }
            }
            let removed = self.read.saturating_sub(changes.added.len());
            for handle in changes.removed.iter().skip(removed).take(left) {
                (left, self.read) = (left - 1, self.read + 1);
                // A shape that was added has taken the handle from the one that was removed.
                self.view.0.entry(handle.clone()).or_insert(None);
            }
            if self.read >= changes.added.len() + changes.removed.len() {
                (left, self.at, self.read) = (left.saturating_sub(1), self.at + 1, 0);
            }
        }
        is_left
    }

    fn read_again(&mut self, active: &Generation, slot: u32) {
        let Some(slot) = active.slots().get(slot as usize) else { return };
        let is_wanted = |entry: &Entry| entry.relations().iter().any(|read| self.wanted.contains(read));
        let added = slot.added().map(|record| &record.entry).filter(|entry| is_wanted(entry));
        let is_removed = slot.removed().is_some_and(|base| is_wanted(base));
        match added {
            Some(entry) => drop(self.view.0.insert(slot.handle.clone(), Some(entry.created()))),
            None if is_removed => drop(self.view.0.insert(slot.handle.clone(), None)),
            None => drop(self.view.0.remove(&slot.handle)),
        }
    }
}

/// The changes of one generation to some relations. A shape that reads several of them is in it as often.
#[derive(Default)]
struct RelationDiff {
    added: Vec<(Handle, Seq)>,
    removed: Vec<Handle>,
}

impl RelationDiff {
    fn of(generation: &Generation, relations: &[Relation]) -> Self {
        let mut diff = Self::default();
        for changes in relations.iter().filter_map(|relation| generation.relation(*relation)) {
            let added = changes.added.iter().filter_map(|(at, created)| generation.added(*at, *created));
            diff.added.extend(added.map(|entry| (entry.handle().clone(), entry.created())));
            diff.removed.extend_from_slice(&changes.removed);
        }
        diff
    }
}

impl<S: ShapeStore + 'static> Buffered<S> {
    /// Costs as much as the changes to these relations, however many others are pending. Mutations wait for
    /// a part of them at most.
    pub(super) fn merge_relations(&self, relations: &[Relation]) -> Result<Vec<Handle>> {
        let (overlay, store) = (&self.shared.overlay, &self.shared.store);
        let is_pending = |relation: &Relation| overlay.may_contain(overlay.hashing.relation(*relation));
        if !relations.iter().any(is_pending) {
            return store.handles_for_relations(relations);
        }
        let read_below = || store.handles_for_relations(relations);
        let (seen, mut handles) =
            self.at_one_moment(read_below, |_| ActiveRelations::new(relations), || ())?;
        let Seen { active: ActiveRelations { mut view, .. }, is_reset, older } = seen;
        if is_reset {
            handles.clear();
        }
        for generation in &older {
            view.read(RelationDiff::of(generation, relations));
        }
        Ok(view.over(handles))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use shape_meta_core::{
        Change, NewShape, SnapshotState,
        conformance::{relations, shape},
    };

    use super::*;
    use crate::memtable::Hashes;

    /// Once, all of it was read under the lock: 2 s with 10,000 relations and 50,000 pending changes.
    #[test]
    fn c14_changes_to_relations_are_read_in_small_parts() {
        let mut generation = Generation::default();
        let (mut seq, mut expected) = (Seq::ZERO, Vec::new());
        for number in 0..4_000_u64 {
            // Half of them read one relation, and the others each one of their own.
            let read = if number % 2 == 0 { 1 } else { 10 + number as u32 };
            let new = NewShape { relations: relations(&[read]), ..shape(number) };
            seq = seq.next();
            let record = Arc::new(new.record(seq));
            let (entry, hashes) = (Arc::clone(&record.entry), Hashes { handle: number, key: number });
            let is_removal = number % 3 == 0;
            let change = match is_removal {
                true => Change::Remove { entry },
                false => Change::Add { record, state: SnapshotState::Pending },
            };
            generation.insert(change, hashes, seq);
            expected.push((new.handle.clone(), (!is_removal).then_some(seq)));
        }
        let read: Vec<_> = (1..5_000).map(Relation::new).collect();
        let mut active = ActiveRelations::new(&read);
        let (mut before, mut parts) = ((0, 0), 0);
        while active.read(&generation) {
            let now = (active.view.0.len(), active.at);
            assert!(now.0 - before.0 <= PART && now.1 - before.1 <= PART, "{before:?} to {now:?}");
            (before, parts) = (now, parts + 1);
        }
        assert!(parts > 9_000 / PART / 2, "{parts}");
        assert_eq!(active.view.0.len(), expected.len());
        assert!(expected.iter().all(|(handle, created)| active.view.0[handle] == *created));
    }

    /// A slot that changed after its part was read is read again.
    #[test]
    fn c1_a_slot_that_is_read_again_replaces_what_was_read() {
        let mut generation = Generation::default();
        let read = [Relation::new(1)];
        let mut active = ActiveRelations::new(&read);
        let new =
            |read: u32| Arc::new(NewShape { relations: relations(&[read]), ..shape(1) }.record(Seq::ZERO));
        let mut change = |change, seq: u64| {
            generation.insert(change, Hashes { handle: 1, key: 1 }, Seq::new(seq));
            active.read_again(&generation, 0);
            active.view.0.values().copied().collect::<Vec<_>>()
        };
        let add = |read, seq| {
            let record = new(read).with_seq(Seq::new(seq));
            Change::Add { record, state: SnapshotState::Pending }
        };
        let removal = |of: &Change| Change::Remove { entry: Arc::clone(of.entry().expect("a shape")) };
        let below = add(1, 1);
        assert_eq!(change(removal(&below), 2), [None], "the shape below is hidden");
        let added = add(1, 3);
        assert_eq!(change(added.clone(), 3), [Some(Seq::new(3))]);
        assert_eq!(change(removal(&added), 4), [None]);
        assert_eq!(change(add(2, 5), 5), [None], "the new shape does not read it");
        active.read_again(&generation, 9);
    }
}
