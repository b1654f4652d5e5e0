use std::{collections::HashSet, sync::Arc};

use shape_meta_core::{Entry, Handle, Relation, Result, ShapeStore};

use crate::{
    Buffered,
    memtable::{Generation, Lookup, State},
};

/// What the overlay changes about the shapes that read some relations.
struct RelationView {
    reset: bool,
    /// The shapes that the active generation adds.
    added: Vec<Handle>,
    /// The shapes of older generations or the store below that the active generation removes.
    removed: Vec<Handle>,
    /// The older generations, which do not change, the newest first.
    older: Vec<Arc<Generation>>,
}

impl RelationView {
    /// `relations` are sorted and distinct.
    fn of(state: &State, relations: &[Relation]) -> Self {
        Self {
            reset: state.is_reset(),
            added: added(&state.active, relations),
            removed: removed(&state.active, relations),
            older: state.older_visible().map(Arc::clone).collect(),
        }
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
        let mut sorted = relations.to_vec();
        sorted.sort_unstable();
        sorted.dedup();
        let read_below = |view: &RelationView| {
            if view.reset { Ok(Vec::new()) } else { store.handles_for_relations(relations) }
        };
        let (mut view, mut handles) =
            self.at_one_moment(|state| RelationView::of(state, &sorted), read_below)?;
        for older in view.older.iter().rev().filter(|older| older.changes_relations(&sorted)) {
            // The store below may have the changes of a flush in progress already, or not.
            handles.retain(|handle| {
                let hash = overlay.hashing.handle(handle.as_bytes());
                let found = older.handle(hash, handle.as_bytes());
                !matches!(found, Some(Lookup::Added(..) | Lookup::Tombstone))
            });
            handles.append(&mut added(older, &sorted));
        }
        if !view.removed.is_empty() {
            let removed: HashSet<&Handle> = view.removed.iter().collect();
            handles.retain(|handle| !removed.contains(handle));
        }
        handles.append(&mut view.added);
        Ok(handles)
    }
}

/// Returns the shapes that a generation adds to these relations, each once.
fn added(generation: &Generation, sorted: &[Relation]) -> Vec<Handle> {
    let mut added = Vec::new();
    for relation in sorted {
        let Some(changes) = generation.relation(*relation) else { continue };
        // A shape that reads several of the relations is taken from the first of them.
        let is_first =
            |entry: &&Arc<Entry>| sorted.iter().find(|one| entry.relations().contains(one)) == Some(relation);
        added.extend(generation.added(changes).filter(is_first).map(|entry| entry.handle().clone()));
    }
    added
}

/// Returns the shapes of older generations or the store below that a generation removes from these relations.
fn removed(generation: &Generation, sorted: &[Relation]) -> Vec<Handle> {
    let changes = sorted.iter().filter_map(|relation| generation.relation(*relation));
    changes.flat_map(|changes| &changes.removed).cloned().collect()
}
