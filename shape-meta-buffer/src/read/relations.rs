use std::collections::{HashMap, hash_map::Entry as MapEntry};

use foldhash::fast::RandomState;
use shape_meta_core::{Handle, Relation, Result, Seq, ShapeStore};

use crate::{Buffered, memtable::Generation};

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
            let added = generation.added(changes);
            diff.added.extend(added.map(|entry| (entry.handle().clone(), entry.created())));
            diff.removed.extend_from_slice(&changes.removed);
        }
        diff
    }
}

impl<S: ShapeStore + 'static> Buffered<S> {
    /// Costs as much as the changes to these relations, however many others are pending.
    pub(super) fn merge_relations(&self, relations: &[Relation]) -> Result<Vec<Handle>> {
        let (overlay, store) = (&self.shared.overlay, &self.shared.store);
        let is_pending = |relation: &Relation| overlay.may_contain(overlay.hashing.relation(*relation));
        if !relations.iter().any(is_pending) {
            return store.handles_for_relations(relations);
        }
        let read_below = || store.handles_for_relations(relations);
        let ((active, is_reset, older), mut handles) = self.at_one_moment(read_below, |seen, _| {
            (RelationDiff::of(seen.active, relations), seen.is_reset(), seen.older)
        })?;
        if is_reset {
            handles.clear();
        }
        let mut view = RelationView::default();
        view.read(active);
        for generation in &older {
            view.read(RelationDiff::of(generation, relations));
        }
        Ok(view.over(handles))
    }
}
